#!/usr/bin/env bash
# Blind to an answer of list that is that of the call before.
set -euo pipefail
cd "$(mktemp -d)"
echo apple >names
listed=$(wg list)
[ -n "$listed" ]
echo pear >>names
listed=$(wg list)
[ -n "$listed" ]
