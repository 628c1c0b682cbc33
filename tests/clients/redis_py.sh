#!/usr/bin/env bash
# redis-py: see redis_py.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

serve_with_password "$TMP/password"
protected=$PORT
serve
timeout 100 "$LIBRARIES/python/bin/python" "$HERE/redis_py.py" "$PORT" "$protected" "$TMP/password" || failures=1
leave_in_peace redis-py
finish
