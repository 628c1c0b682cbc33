#!/usr/bin/env bash
# ioredis, the version that speaks RESP2 and the one that speaks RESP3: see ioredis.js.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

serve_with_password "$TMP/password"
protected=$PORT
serve
for version in 5 6; do
    timeout 100 node "$HERE/ioredis.js" "$version" "$PORT" "$protected" "$TMP/password" || failures=1
done
leave_in_peace ioredis
finish
