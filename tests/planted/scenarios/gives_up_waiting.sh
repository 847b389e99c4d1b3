#!/usr/bin/env bash
# Blind to a put that never ends, and to anything else about it.
cd "$(mktemp -d)" || exit 99
timeout 2 wg put apple || :
