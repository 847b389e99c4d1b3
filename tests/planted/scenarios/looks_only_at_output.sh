#!/usr/bin/env bash
# Blind to the work of put.
set -euo pipefail
cd "$(mktemp -d)"
said=$(wg put apple)
[ "$said" = "stored apple" ]
