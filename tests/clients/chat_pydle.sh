#!/usr/bin/env bash
# pydle: see chat_pydle.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/chat_lib.sh"

chat
timeout 100 "$LIBRARIES/python/bin/python" "$HERE/chat_pydle.py" "$PORT" || failures=1
# Who floods is closed with a reason, which is no warning.
leave_in_peace pydle
finish
