#!/usr/bin/env bash
# Protects: old and new graphs stay usable. `priority` was once a name ("high") and is now a number; a reader that
# accepts only one of the two forms loses the whole graph.
# Decides: rows of both forms are read with the correct value, and a write keeps each value.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "$0")/lib.sh"

enter_new_repository
must wg init --no-agency

cat >>.wg/graph.jsonl <<'ROWS'
{"kind":"task","id":"number","title":"A number","status":"open","priority":42}
{"kind":"task","id":"zero","title":"The smallest number","status":"open","priority":0}
{"kind":"task","id":"high","title":"A name","status":"open","priority":"high"}
{"kind":"task","id":"low","title":"Another name","status":"open","priority":"low"}
{"kind":"task","id":"raised","title":"Raised below","status":"open","priority":7}
ROWS

# expect WHAT WANT <TASKS: check that the priorities in a list of tasks, sorted by id, are WANT.
expect() {
    local got
    got=$(jq -c '[sort_by(.id)[] | "\(.id)=\(.priority)"] | join(" ")')
    [[ $got == "\"$2\"" ]] || fail "$1: want $2, got $got"
}

wg list --json >list.json 2>list.log || fail "wg list cannot read the graph: $(tail -n 3 list.log)"
expect 'read by wg list' 'high=50 low=5 number=42 raised=7 zero=0' <list.json

must wg reprioritize raised critical
jq -s . .wg/graph.jsonl >graph.json
expect 'written to the graph' 'high=50 low=5 number=42 raised=100 zero=0' <graph.json
