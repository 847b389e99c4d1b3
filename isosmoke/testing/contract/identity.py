"""Checks of the user that a script runs as, and of its privileges."""

import os

from isosmoke.engines.base import Engine
from isosmoke.results.outcome import Broke
from isosmoke.sandbox.spec import CAPABILITIES
from isosmoke.testing.bench import HOME, Bench, JobOptions, JobResult, run
from isosmoke.testing.contract.checks import check, expect, expect_pass
from isosmoke.testing.contract.keeper import the_keeper_cannot_be_opened


@check
def the_user_is_the_caller(engine: Engine, bench: Bench) -> None:
    """Check that a script runs as the caller, who owns its HOME."""
    code = f"import os; print(os.getuid(), os.geteuid(), os.getgid(), os.stat('{HOME}').st_uid)"
    result = expect_pass(engine, bench.python(code), "python3 cannot be run")
    expected = [str(number) for number in (os.getuid(), os.getuid(), os.getgid(), os.getuid())]
    expect(
        that=result.words == expected, message=f"user and group are {result.words}, not {expected}"
    )


@check
def the_script_has_no_privilege(engine: Engine, bench: Bench) -> None:
    """Check that a script has no capability and can gain none, by setuid or otherwise."""
    status = _read_status(engine, bench)
    held = {name: status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    expect(that=set(held.values()) == {"0" * 16}, message=f"the script has capabilities: {held}")
    expect(that=status["NoNewPrivs"] == "1", message="privileges can be gained")


@check
def a_named_capability_is_the_only_one(engine: Engine, bench: Bench) -> None:
    """Check that a script has exactly its job's capabilities, or that the engine refuses them."""
    for names in (("CHOWN",), ("SETUID", "SETGID")):
        _check_capabilities(engine, bench, names)


def _check_capabilities(engine: Engine, bench: Bench, names: tuple[str, ...]) -> None:
    options = JobOptions(capabilities=names)
    mask = f"{sum(1 << CAPABILITIES[name] for name in names):016x}"
    result = run(engine, bench.job(("cat", "/proc/self/status"), options))
    if isinstance(result.ending, Broke):
        expect(
            that="capabilit" in result.ending.message,
            message=f"the engine failed: {result.ending.message}",
        )
        return
    status = _parse_status(result)
    held = {name: status[name] for name in ("CapPrm", "CapEff")}
    expect(that=set(held.values()) == {mask}, message=f"the script has capabilities: {held}")
    expect(that=status["NoNewPrivs"] == "1", message="privileges can be gained")
    the_keeper_cannot_be_opened(engine, bench, options)


@check
def the_script_starts_like_any_program(engine: Engine, bench: Bench) -> None:
    """Check that a script leads its session, masks no signal, and has an empty stdin."""
    status = _read_status(engine, bench)
    masks = {name: status[name] for name in ("SigBlk", "SigIgn")}
    expect(that=set(masks.values()) == {"0" * 16}, message=f"signals are masked: {masks}")
    code = "import os, sys; sys.exit(os.getsid(0) != os.getpid() or sys.stdin.read() != '')"
    expect_pass(
        engine, bench.python(code), "the script leads no session, or its stdin is not empty"
    )


def _read_status(engine: Engine, bench: Bench) -> dict[str, str]:
    return _parse_status(expect_pass(engine, bench.job(("cat", "/proc/self/status")), "no /proc"))


def _parse_status(result: JobResult) -> dict[str, str]:
    lines = (line.partition(":") for line in result.output.decode().splitlines())
    return {name: value.strip() for name, _, value in lines}
