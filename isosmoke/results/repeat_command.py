"""The command line that does again what a run did."""

from collections.abc import Callable, Sequence
from pathlib import PurePath

from isosmoke.results.run_record import RunRecord

Repeat = Callable[[str], tuple[str, ...]]
"""Returns the command line that repeats a scenario, given its name."""

_SEVERAL = "+"  # joins the names of engines where each scenario got the one that suits its image


def command(
    *words: str,
    manifest: str = "",
    binary: str = "",
    engine: str = "",
    daemon: Sequence[str] = (),
) -> tuple[str, ...]:
    """`isosmoke run` with what is given, then `words`: names, or `--` and a command."""
    options = {"--manifest": manifest, "--binary": binary, "--engine": engine}
    given = [word for name, value in options.items() if value for word in (name, value)]
    return ("isosmoke", *daemon, "run", *given, *words)


def engine(run: RunRecord) -> str:
    """The engine that every scenario of `run` had, empty where there were several."""
    return only_engine(run.engine)


def only_engine(text: str) -> str:
    """Return the engine that a record or a receipt names, empty where it names several."""
    return "" if _SEVERAL in text else text


def of(run: RunRecord, name: str) -> tuple[str, ...]:
    """What repeats the scenario `name` of `run`, typed in the folder of that run."""
    return command(
        *(("--", *run.command) if run.command else (name,)),
        manifest=str(PurePath(run.working, run.manifest)) if run.manifest else "",
        binary=run.binary.path if run.binary else "",
        engine=engine(run),
        daemon=run.daemon,
    )
