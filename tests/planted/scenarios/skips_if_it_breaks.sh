#!/usr/bin/env bash
# Blind to a put that fails: it skips.
set -euo pipefail
cd "$(mktemp -d)"
said=$(wg put apple) || exit 77
[ "$said" = "stored apple" ]
[ "$(cat names)" = apple ]
