#!/usr/bin/env bash
# Blind to the exit status of put: that of a command in [ ] is lost.
set -euo pipefail
cd "$(mktemp -d)"
[ "$(wg put apple)" = "stored apple" ]
[ "$(cat names)" = apple ]
