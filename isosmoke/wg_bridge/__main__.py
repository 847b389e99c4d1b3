"""Entry point of the leader: `python -m isosmoke.wg_bridge DIRECTORY MIRROR SOCKET`."""

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from isosmoke.errors import ManifestError, UsageError
from isosmoke.gate import receipt_writer
from isosmoke.history import gate_records
from isosmoke.host.caller_process import Caller
from isosmoke.host.files import trees
from isosmoke.host.leases import Lease
from isosmoke.interrupt import Interrupt, prompt_handlers
from isosmoke.manifest import loader
from isosmoke.wg_bridge import calling_wg, replies_to_wg, verdict_server
from isosmoke.wg_bridge.bridged_run import BridgedRun
from isosmoke.wg_bridge.calling_wg import Announcement
from isosmoke.wg_bridge.replies_to_wg import KNOWN, RECEIPT
from isosmoke.wg_bridge.verdict_server import ReportVerdict, Verdicts


def main(directory: Path, mirror: Path, listener: socket.socket) -> None:
    """Serve the wg that the directory is named after, and remove the directory when wg ends."""
    wg = Lease.parse(directory.name)
    if wg is None:
        raise UsageError(f"{directory} is not named after a process")
    interrupt = Interrupt()
    signal.signal(signal.SIGTERM, lambda *_: interrupt.raise_for("SIGTERM"))
    with prompt_handlers(), suppress(ProcessLookupError), calling_wg.watch_process(wg) as ended:
        call = calling_wg.parse_announcement(calling_wg.read_argv(wg.pid))
        verdicts = _create_verdicts(directory, mirror, call, interrupt)
        verdict_server.serve(listener, verdicts, ended=ended, interrupt=interrupt)
        interrupt.raise_for("the end of wg")
        verdicts.end()
    if not wg.is_alive():
        _record_end(directory / RECEIPT)
        trees.remove(directory)


def _record_end(named: Path) -> None:
    """Record that wg has ended with the receipt that a file names, if there is one."""
    with suppress(OSError, UsageError):  # an audit then has only the time of the receipt
        receipt = Path(os.fsdecode(named.read_bytes()))
        gate_records.save_end(receipt, receipt_writer.format_now())


def _create_verdicts(
    directory: Path, mirror: Path, call: Announcement | None, interrupt: Interrupt
) -> Verdicts:
    def run(names: tuple[str, ...], report: ReportVerdict) -> None:
        source = loader.load(mirror)
        bridged = BridgedRun(source=source, names=names, call=call, report=report)
        bridged.execute(Caller.current(), interrupt)

    known = directory / KNOWN
    if not known.exists():
        return Verdicts(run, ahead=_list_announced(mirror, call))
    verdicts = replies_to_wg.load_replies(known.read_text())
    known.unlink()  # another leader would use them again
    return Verdicts(run, known=verdicts)


def _list_announced(mirror: Path, call: Announcement | None) -> tuple[str, ...]:
    """Return the scenarios that a call of wg announces; empty if the mirror is invalid.

    The error of an invalid mirror is reported on the first request.
    """
    with suppress(ManifestError):
        return call.select_names(loader.load(mirror).scenarios) if call else ()
    return ()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), socket.socket(fileno=int(sys.argv[3])))
