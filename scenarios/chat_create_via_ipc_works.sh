#!/usr/bin/env bash
# Protects: the basis of every chat front end. A request on the daemon's socket opens a chat, a message is sent
# in the same way, and the model's answer is returned.
# Decides: create_chat is acknowledged and the chat is in the graph; the model answers "hi" within 30 s. Its answer
# is in the handler's conversation, unlike the dispatcher's own canned "Message received".
# Needs a live model, never a stub: a server that speaks the OpenAI protocol, its base URL (without /v1) in
# ISOSMOKE_NEX_ENDPOINT (default: lambda01), its model in ISOSMOKE_NEX_MODEL (default: qwen3-coder).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "$0")/lib.sh"

reach_nex
enter_new_repository
must wg init --no-agency
must wg config --local --model claude:unused # wg needs a route to start; the chat has its own

handler=
stop() {
    wg service stop --kill-agents >/dev/null 2>&1 || :
    [[ -z $handler ]] || kill "$handler" 2>/dev/null || :
    wait
}
trap stop EXIT
must wg service start --max-agents 1

ask_daemon() { # send a line of JSON to its socket, and print the line that it replies
    python3 -c 'import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(10); s.connect(".wg/service/daemon.sock"); s.sendall(sys.stdin.buffer.readline())
    print(s.makefile().readline())'
}
wait_until 15 test -S .wg/service/daemon.sock || fail "the daemon opened no socket"
reply=$(jq -cn --arg model "nex:$ISOSMOKE_NEX_MODEL" --arg endpoint "$ISOSMOKE_NEX_ENDPOINT" \
    '{cmd: "create_chat", name: "smoke", executor: "native", $model, $endpoint}' | ask_daemon) ||
    fail "the daemon did not reply to create_chat"
id=$(jq -e 'select(.ok).chat_id' <<<"$reply") || fail "create_chat was refused: $reply"
jq -se --arg id ".chat-$id" 'any(.id == $id)' .wg/graph.jsonl >/dev/null || fail ".chat-$id is not in the graph"

is_registered() { [[ -e .wg/chat/sessions.json && $(<.wg/chat/sessions.json) == *"\"chat-$id\""* ]]; }
has_handler() { compgen -G '.wg/chat/*/.handler.pid' >/dev/null; }
wait_until 15 is_registered || fail "chat-$id got no session"
if ! nex_is_a_route; then # the daemon does not start the handler of this chat, so start it as wg would
    wg nex --chat "chat-$id" -m "$ISOSMOKE_NEX_MODEL" -e "$ISOSMOKE_NEX_ENDPOINT" >nex.log 2>&1 &
    handler=$!
fi
wait_until 15 has_handler || fail "no handler for chat-$id:" $'\n'"$(grep -a Coordinator- .wg/service/daemon.log | tail -n 3)"

# On a timeout `wg chat` exits 0 and prints nothing.
answer=$(wg chat --coordinator "$id" --timeout 30 hi 2>chat.log) || fail "wg chat: $(tail -n 3 chat.log)"
[[ $answer == *[![:space:]]* ]] || fail "no answer within 30 s: $(tail -n 3 chat.log)"
said=$(cat .wg/chat/*/conversation.jsonl | jq -r 'select(.role == "assistant").content[]?.text? // empty')
[[ $said == *"${answer%%$'\n'*}"* ]] || fail "answered, but not by the model: $answer"
