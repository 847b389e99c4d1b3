#!/usr/bin/env bash
# Blind to nothing: output, state and status of each call count.
set -euo pipefail
cd "$(mktemp -d)"
if wg check; then exit 1; fi
said=$(wg put apple)
[ "$said" = "stored apple" ]
[ "$(cat names)" = apple ]
listed=$(wg list)
[ "$listed" = apple ]
wg check
