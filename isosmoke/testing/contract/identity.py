"""The user that a script runs as, and the privileges that it has."""

import os

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Broke
from isosmoke.testing.bench import HOME, Bench, Seen, Terms, run
from isosmoke.testing.contract.checks import check, expect, expect_pass
from isosmoke.testing.contract.keeper import the_keeper_cannot_be_opened


@check
def the_user_is_the_caller(engine: Engine, bench: Bench) -> None:
    """Files that it makes belong to the caller, and so does its HOME."""
    code = f"import os; print(os.getuid(), os.geteuid(), os.getgid(), os.stat('{HOME}').st_uid)"
    seen = expect_pass(engine, bench.python(code), "python3 cannot be run")
    wanted = [str(one) for one in (os.getuid(), os.getuid(), os.getgid(), os.getuid())]
    expect(that=seen.words == wanted, words=f"user and group are {seen.words}, not {wanted}")


@check
def the_script_has_no_privilege(engine: Engine, bench: Bench) -> None:
    """It holds no capability and can gain none, by setuid programs or otherwise."""
    status = _status(engine, bench)
    held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    expect(that=set(held.values()) == {"0" * 16}, words=f"capabilities are held: {held}")
    expect(that=status["NoNewPrivs"] == "1", words="privileges can be gained")


@check
def a_named_capability_is_the_only_one(engine: Engine, bench: Bench) -> None:
    """A script has what its job names and no more; an engine that cannot give it says so."""
    chown, bit = Terms(capabilities=("CHOWN",)), f"{1:016x}"
    seen = run(engine, bench.job(("cat", "/proc/self/status"), chown))
    if isinstance(seen.ending, Broke):
        expect(that="capabilit" in seen.ending.message, words=f"it broke: {seen.ending.message}")
        return
    status = _fields(seen)
    held = {name: status[name] for name in ("CapPrm", "CapEff")}
    expect(that=set(held.values()) == {bit}, words=f"capabilities are held: {held}")
    expect(that=status["NoNewPrivs"] == "1", words="privileges can be gained")
    the_keeper_cannot_be_opened(engine, bench, chown)


@check
def the_script_starts_like_any_program(engine: Engine, bench: Bench) -> None:
    """No signal is ignored or blocked, it leads its session, and its stdin is empty."""
    status = _status(engine, bench)
    masks = {name: status[name] for name in ("SigBlk", "SigIgn")}
    expect(that=set(masks.values()) == {"0" * 16}, words=f"signals are masked: {masks}")
    code = "import os, sys; sys.exit(os.getsid(0) != os.getpid() or sys.stdin.read() != '')"
    expect_pass(engine, bench.python(code), "it leads no session, or its stdin is not empty")


def _status(engine: Engine, bench: Bench) -> dict[str, str]:
    return _fields(expect_pass(engine, bench.job(("cat", "/proc/self/status")), "no /proc"))


def _fields(seen: Seen) -> dict[str, str]:
    lines = (line.partition(":") for line in seen.output.decode().splitlines())
    return {name: value.strip() for name, _, value in lines}
