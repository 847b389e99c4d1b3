"""Entry point of the leader: `python -m isosmoke.wg_bridge DIRECTORY MIRROR SOCKET`."""

import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from isosmoke.errors import ManifestError, UsageError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy, count_gate_jobs
from isosmoke.execution.session import Request
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.host.leases import Lease
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader, selection
from isosmoke.results.events import Event, RunStarted, ScenarioFinished
from isosmoke.wg_bridge import verdict_server, wg_call, wg_replies
from isosmoke.wg_bridge.verdict_server import ReportVerdict, RunScenarios, Verdicts
from isosmoke.wg_bridge.wg_replies import KNOWN


def main(directory: Path, mirror: Path, listener: socket.socket) -> None:
    """Serve the wg that the directory is named after, and remove the directory when wg ends."""
    wg = Lease.parse(directory.name)
    if wg is None:
        raise UsageError(f"{directory} is not named after a process")
    interrupt = Interrupt()
    signal.signal(signal.SIGTERM, lambda *_: interrupt.raise_for("SIGTERM"))
    with suppress(ProcessLookupError), wg_call.watch_process(wg) as ended:
        verdicts = _create_verdicts(directory, mirror, wg.pid, _create_runner(mirror, interrupt))
        verdict_server.serve(listener, verdicts, ended=ended, interrupt=interrupt)
        interrupt.raise_for("the end of wg")
        verdicts.end()
    if not wg.is_alive():
        files.remove(directory)


def _create_verdicts(directory: Path, mirror: Path, pid: int, runner: RunScenarios) -> Verdicts:
    known = directory / KNOWN
    if not known.exists():
        return Verdicts(runner, ahead=_list_announced(mirror, pid))
    verdicts = wg_replies.load_replies(known.read_text())
    known.unlink()  # another leader would use them again
    return Verdicts(runner, known=verdicts)


def _list_announced(mirror: Path, pid: int) -> tuple[str, ...]:
    """Return the scenarios that wg's arguments announce; empty if the mirror is invalid.

    The error of an invalid mirror is reported on the first request.
    """
    call = wg_call.parse_announcement(wg_call.read_argv(pid))
    with suppress(ManifestError):
        return call.select_names(loader.load(mirror).scenarios) if call else ()
    return ()


def _create_runner(mirror: Path, interrupt: Interrupt) -> RunScenarios:
    def run(names: tuple[str, ...], report: ReportVerdict) -> None:
        source = loader.load(mirror)
        selected = selection.select(source.scenarios, names)
        warnings: list[str] = []

        def notify(event: Event) -> None:
            if isinstance(event, RunStarted):
                warnings.extend(event.run.warnings)
            if isinstance(event, ScenarioFinished):
                reply = wg_replies.create_reply(event.result, source.path, warnings)
                report(event.result.name, reply)

        request = Request(
            scenarios=tuple(sorted(selected, key=lambda scenario: names.index(scenario.name))),
            manifest=source.path,
            policy=Policy(jobs=count_gate_jobs()),
        )
        session.execute(request, Caller.current(), notify=notify, interrupt=interrupt)

    return run


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), socket.socket(fileno=int(sys.argv[3])))
