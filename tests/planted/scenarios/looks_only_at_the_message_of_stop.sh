#!/usr/bin/env bash
# Blind to the work of serve stop: its trap ends the service.
set -euo pipefail
cd "$(mktemp -d)"
trap "kill \$service 2>/dev/null || :" EXIT
said=$(wg --at . serve start)
[ "$said" = started ]
service=$(cat pid)
kill -0 "$service"
said=$(wg serve stop)
[ "$said" = stopped ]
