#!/usr/bin/env bash
# Protects: the first minute with a self-hosted model. A user sets up a project for nex, opens the TUI and sends
# two messages; users once got no answer to the first.
# Decides: the model's answer to each message is in wg's conversation file and on the screen.
# Needs a live model, never a stub: a server that speaks the OpenAI protocol, its base URL (without /v1) in
# ISOSMOKE_NEX_ENDPOINT (default: lambda01), its model in ISOSMOKE_NEX_MODEL (default: qwen3-coder).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "$0")/lib.sh"

reach_nex
enter_new_repository
if nex_is_a_route; then
    must wg init --no-agency --model "nex:$ISOSMOKE_NEX_MODEL" --endpoint "$ISOSMOKE_NEX_ENDPOINT"
    must wg chat create
else
    must wg init --no-agency
    must wg config --local --model claude:unused # wg creates a chat only if a route is set
    must wg chat create --command "$(command -v wg) nex -m $ISOSMOKE_NEX_MODEL -e $ISOSMOKE_NEX_ENDPOINT"
fi

on_tmux() { tmux -L smoke "$@"; }
screen() { on_tmux capture-pane -p; }
letters() { LC_ALL=C tr -cd '[:alnum:]'; }
is_ready() { [[ $(screen) =~ $'\n>' ]]; }
answer_to() { # print the model's answer to message $1
    cat .wg/chat/*/conversation.jsonl 2>/dev/null | jq -rs --arg message "$1" '
        (map(.role == "user" and any(.content[]?; .text? == $message)) | rindex(true)) as $asked
        | select($asked) | .[$asked + 1:][] | select(.role == "assistant").content[]?.text? // empty'
}
is_answered() { [[ $(answer_to "$1") == *[![:space:]]* ]]; }
is_shown() { # compare the end of the answer without line breaks
    local end
    end=$(answer_to "$1" | letters | tail -c 12)
    [[ $(screen | letters) == *"$end"* ]]
}

say() { # say MESSAGE: type it into the TUI and wait for the answer
    on_tmux send-keys -l "$1"
    on_tmux send-keys Enter
    wait_until 75 is_answered "$1" || fail "'$1' was not answered; the screen:" $'\n'"$(screen)"
    wait_until 15 is_shown "$1" || fail "the answer to '$1' is not on the screen:" $'\n'"$(screen)"
}

on_tmux new-session -d -x 120 -y 40 'wg tui'
server=$(on_tmux display-message -p '#{pid}')
is_over() { ! kill -0 "$server" 2>/dev/null; }
trap 'on_tmux kill-server 2>/dev/null || :; wait_until 10 is_over || :' EXIT
wait_until 30 is_ready || fail "the TUI shows no prompt:" $'\n'"$(screen)"
say 'hi'
say 'and this is my second message'
