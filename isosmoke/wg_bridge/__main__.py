"""The leader as a process of its own: `python -m isosmoke.wg_bridge FOLDER MIRROR SOCKET`."""

import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from isosmoke.errors import ManifestError, UsageError
from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy, jobs_of_a_gate
from isosmoke.execution.session import Request
from isosmoke.host import files
from isosmoke.host.caller_process import Caller
from isosmoke.host.leases import Lease
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import selection
from isosmoke.results.events import Event, RunStarted, ScenarioFinished
from isosmoke.wg_bridge import mirror_manifest, verdict_server, wg_call, wg_replies
from isosmoke.wg_bridge.verdict_server import Run, Tell, Verdicts
from isosmoke.wg_bridge.wg_replies import KNOWN


def main(folder: Path, shown: Path, listener: socket.socket) -> None:
    """Lead for the wg that the folder is named after; leave nothing behind when it ends."""
    wg = Lease.parse(folder.name)
    if wg is None:
        raise UsageError(f"{folder} is named after no process")
    interrupt = Interrupt()
    signal.signal(signal.SIGTERM, lambda *_: interrupt.raise_for("SIGTERM"))
    with suppress(ProcessLookupError), wg_call.watched(wg) as ended:
        verdicts = _verdicts(folder, shown, wg.pid, _runner(shown, interrupt))
        verdict_server.serve(listener, verdicts, ended=ended, interrupt=interrupt)
        interrupt.raise_for("the end of wg")
        verdicts.end()
    if not wg.is_alive():
        files.remove(folder)


def _verdicts(folder: Path, shown: Path, pid: int, runner: Run) -> Verdicts:
    known = folder / KNOWN
    if not known.exists():
        return Verdicts(runner, ahead=_ahead(shown, pid))
    verdicts = wg_replies.loaded(known.read_text())
    known.unlink()  # another leader would hand them out again
    return Verdicts(runner, known=verdicts)


def _ahead(shown: Path, pid: int) -> tuple[str, ...]:
    """What the words of wg announce; a mirror that is wrong is told when it is asked for."""
    words = wg_call.announced(wg_call.argv(pid))
    with suppress(ManifestError):
        return words.owned(mirror_manifest.read(shown).scenarios) if words else ()
    return ()


def _runner(shown: Path, interrupt: Interrupt) -> Run:
    def runner(names: tuple[str, ...], tell: Tell) -> None:
        source = mirror_manifest.read(shown)
        chosen = selection.select(source.scenarios, names)

        warnings: list[str] = []

        def notify(event: Event) -> None:
            if isinstance(event, RunStarted):
                warnings.extend(event.run.warnings)
            if isinstance(event, ScenarioFinished):
                tell(event.result.name, wg_replies.of(event.result, source.path, warnings))

        request = Request(
            scenarios=tuple(sorted(chosen, key=lambda one: names.index(one.name))),
            manifest=source.path,
            policy=Policy(jobs=jobs_of_a_gate()),
        )
        session.execute(request, Caller.here(), notify=notify, interrupt=interrupt)

    return runner


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), socket.socket(fileno=int(sys.argv[3])))
