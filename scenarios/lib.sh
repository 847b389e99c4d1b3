# shellcheck shell=bash
# Shared functions of the scenarios; this file is sourced, not run.

fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
skip() { printf 'SKIP: %s\n' "$*" >&2; exit 77; }

# must COMMAND...: run it silently; if it fails, fail the scenario with the end of its output.
must() { "$@" >must.log 2>&1 || fail "$*: $(tail -n 3 must.log)"; }

# wait_until SECONDS COMMAND...: poll until COMMAND succeeds; fail after SECONDS.
wait_until() {
    local deadline=$((SECONDS + $1)); shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# enter_new_repository: create an empty git repository and change into it.
enter_new_repository() {
    cd "$(mktemp -d)" || fail "no temporary directory"
    must git init -q
    must git -c user.name=smoke -c user.email=smoke@localhost commit -q --allow-empty -m start
}

# Newer wg has no nex route: neither `wg init` nor the daemon starts nex; only the command `wg nex` exists.
nex_is_a_route() { [[ $(wg init --help) == *--endpoint* ]]; }

# reach_nex: set the default endpoint and model; skip the scenario if the endpoint does not respond.
reach_nex() {
    : "${ISOSMOKE_NEX_ENDPOINT:=https://lambda01.tail334fe6.ts.net:30000}" "${ISOSMOKE_NEX_MODEL:=qwen3-coder}"
    curl -fsS -m 10 -o /dev/null "$ISOSMOKE_NEX_ENDPOINT/v1/models" ||
        skip "no model endpoint at $ISOSMOKE_NEX_ENDPOINT/v1/models"
}
