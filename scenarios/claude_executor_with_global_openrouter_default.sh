#!/usr/bin/env bash
# Protects: a project configured for `claude` is run by claude. A default OpenRouter endpoint in the user's
# global configuration once leaked into the spawn, and the agent ran as native-exec instead.
# Decides by the files that wg's dispatcher writes when it spawns an agent: metadata.json and run.sh. No model is
# used: the executor's command is set to `false`, so neither claude nor a key nor the network is needed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR disable=SC1091
. "$(dirname "$0")/lib.sh"

HOME=$(mktemp -d)
export HOME
mkdir "$HOME/.wg"
cat >"$HOME/.wg/config.toml" <<'TOML'
[[llm_endpoints.endpoints]]
name = "openrouter"
provider = "openrouter"
url = "https://openrouter.ai/api/v1"
is_default = true
TOML

enter_new_repository
must wg init --no-agency
cat >.wg/config.toml <<'TOML'
[dispatcher]
model = "claude:opus"
[dispatcher.resource_management]
disk_sentinel_enabled = false
[models.default]
model = "claude:opus"
reasoning = "high"
[agency]
auto_assign = false
auto_evaluate = false
flip_enabled = false
[llm_endpoints]
inherit_global = true
TOML
mkdir -p .wg/executors
printf '[executor]\ntype = "claude"\ncommand = "false"\n' >.wg/executors/claude.toml

[[ $(wg endpoints list 2>&1) == *'openrouter (default)'* ]] ||
    fail "the global endpoint is not the default here, so this scenario would show nothing"
must wg add probe --id probe
must wg publish probe

trap 'wg service stop --kill-agents >/dev/null 2>&1 || :' EXIT
must wg service start --max-agents 1 --no-chat-agent

agent=.wg/agents/agent-1
probe_failed() { jq -se 'any(.id == "probe" and .status == "failed")' .wg/graph.jsonl >/dev/null; }
wait_until 20 test -s $agent/metadata.json ||
    fail "no agent was spawned:" $'\n'"$(grep -a probe .wg/service/daemon.log | tail -n 3)"
wait_until 20 probe_failed || fail "the agent, whose command is false, did not end"

jq -e '.task_id == "probe" and .executor == "claude"' $agent/metadata.json >/dev/null ||
    fail "spawned as $(jq -c '{task_id, executor, model}' $agent/metadata.json), not as claude"
! grep -in openrouter $agent/metadata.json >&2 || fail "the global endpoint is in the spawn metadata"
! grep -n native-exec $agent/metadata.json $agent/run.sh >&2 || fail "the spawn runs native-exec"
