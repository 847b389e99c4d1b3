#!/usr/bin/env bash
# Protects: a dispatcher started on a new graph supervises only itself. It once started a chat supervisor for a
# task that did not exist, which respawned its handler endlessly; a supervisor without its daemon would do the same.
# Decides: after a start, a second start and a restart, the recorded daemon is the only one, and any supervisor is
# its parent; there is no chat, no agent and no task. After a stop, no process remains.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "$0")/lib.sh"

enter_new_repository
must wg init --no-agency
# wg needs a route to start. It must not be claude: if its command is missing, wg never starts a chat supervisor.
must wg config --local --model pi:unused:unused
graph="$(pwd -P)/.wg"
service="$graph/service"

processes() { pgrep -af -- "--dir $graph service (supervise|daemon) " || :; }
none_left() { [[ -z $(processes) ]]; }
is_one_tree() {
    local daemon supervisor
    daemon=$(jq -r .pid "$service/state.json" 2>/dev/null) || return 1
    [[ $(pgrep -f -- "--dir $graph service daemon ") == "$daemon" ]] || return 1
    supervisor=$(pgrep -f -- "--dir $graph service supervise ") || return 0 # --no-supervise, or an older wg
    [[ $(ps -o ppid= -p "$daemon" | tr -d ' ') == "$supervisor" ]]
}

boots_clean() {
    wait_until 15 is_one_tree || fail "after $1, no single tree:" $'\n'"$(processes)"
    wait_until 15 test -s "$service/registry.json" || fail "after $1, the dispatcher never ticked"
    ! grep -a 'orphan supervisor' "$service/daemon.log" >&2 || fail "after $1, a chat supervisor without a chat"
    [[ ! -e $graph/chat ]] || fail "after $1, an unexpected chat: $(ls "$graph/chat")"
    [[ ! -s $graph/graph.jsonl ]] || fail "after $1, an unexpected task: $(<"$graph/graph.jsonl")"
    jq -e '.agents == {}' "$service/registry.json" >/dev/null ||
        fail "after $1, an unexpected agent: $(jq -c .agents "$service/registry.json")"
}

must wg service start --max-agents 1
boots_clean start
wg service start --max-agents 1 >again.log 2>&1 || : # an error or no effect, but never a second tree
boots_clean 'a second start'
before=$(jq -r .pid "$service/state.json")
must wg service restart
boots_clean restart
[[ $(jq -r .pid "$service/state.json") != "$before" ]] || fail "the restart kept the daemon $before"

must wg service stop
wait_until 15 none_left || fail "after stop, left over:" $'\n'"$(processes)"
