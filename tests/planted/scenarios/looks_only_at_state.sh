#!/usr/bin/env bash
# Blind to the output of put.
set -euo pipefail
cd "$(mktemp -d)"
wg put apple
[ "$(cat names)" = apple ]
