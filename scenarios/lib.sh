# shellcheck shell=bash
# What the scenarios share; sourced, never run.

fail() { printf 'FAIL: %s\n' "$*" >&2; exit 1; }
skip() { printf 'SKIP: %s\n' "$*" >&2; exit 77; }

# must COMMAND...: run it in silence; if it fails, so does the scenario, with its last words.
must() { "$@" >must.log 2>&1 || fail "$*: $(tail -n 3 must.log)"; }

# wait_until SECONDS COMMAND...: poll until COMMAND holds; false once SECONDS have passed.
wait_until() {
    local deadline=$((SECONDS + $1)); shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# enter_new_repository: an empty git repository becomes the working folder.
enter_new_repository() {
    cd "$(mktemp -d)" || fail "no temporary folder"
    must git init -q
    must git -c user.name=smoke -c user.email=smoke@localhost commit -q --allow-empty -m start
}

# Newer wg has no nex route: neither `wg init` nor the daemon starts nex, only the command `wg nex` is left.
nex_is_a_route() { [[ $(wg init --help) == *--endpoint* ]]; }

# reach_nex: give endpoint and model their defaults; skip unless the endpoint answers now.
reach_nex() {
    : "${ISOSMOKE_NEX_ENDPOINT:=https://lambda01.tail334fe6.ts.net:30000}" "${ISOSMOKE_NEX_MODEL:=qwen3-coder}"
    curl -fsS -m 10 -o /dev/null "$ISOSMOKE_NEX_ENDPOINT/v1/models" ||
        skip "no model endpoint at $ISOSMOKE_NEX_ENDPOINT/v1/models"
}
