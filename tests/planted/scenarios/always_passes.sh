#!/usr/bin/env bash
# Blind to everything: the trap decides.
trap "exit 0" EXIT
set -euo pipefail
cd "$(mktemp -d)"
[ "$(wg put apple)" = "stored apple" ]
[ "$(cat names)" = apple ]
