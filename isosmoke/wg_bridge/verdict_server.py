"""Server that runs the scenarios of one wg process and answers its shims until wg ends."""

import select
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Thread

from isosmoke.errors import IsosmokeError
from isosmoke.interrupt import Interrupt
from isosmoke.wg_bridge import replies_to_wg
from isosmoke.wg_bridge.replies_to_wg import WgReply
from isosmoke.wg_bridge.scenario_shim import END

ReportVerdict = Callable[[str, WgReply], None]
"""A function that receives the name of a scenario and its verdict."""

RunScenarios = Callable[[tuple[str, ...], ReportVerdict], None]
"""A function that runs the named scenarios and reports each verdict as soon as it is known."""


class Verdicts:
    """Known and pending verdicts, each of which is used once.

    The first request also starts the scenarios in `ahead`. Only one run takes place at a time.
    """

    def __init__(
        self,
        run: RunScenarios,
        *,
        ahead: Iterable[str] = (),
        known: Mapping[str, WgReply] | None = None,
    ) -> None:
        self._run = run
        self._ahead = tuple(ahead)
        self._pending: dict[str, Future[WgReply]] = {}
        self._lock = Lock()
        self._runs = ThreadPoolExecutor(1, thread_name_prefix="run")
        for name, verdict in (known or {}).items():
            self._expect(name).set_result(verdict)

    def hand_out(self, name: str) -> WgReply:
        """Wait for the verdict of a scenario and return it; run the scenario if none is pending."""
        with self._lock:
            if name not in self._pending:
                self._start(name)
            pending = self._pending.pop(name)
        return pending.result()

    def end(self) -> None:
        """Wait for the current run, which an interrupt has stopped, and start no other."""
        self._runs.shutdown(cancel_futures=True)

    def _start(self, name: str) -> None:
        names = tuple(dict.fromkeys((name, *self._ahead)))
        self._ahead = ()
        self._runs.submit(self._settle, {name: self._expect(name) for name in names})

    def _expect(self, name: str) -> Future[WgReply]:
        return self._pending.setdefault(name, Future())

    def _settle(self, futures: Mapping[str, Future[WgReply]]) -> None:
        """Run scenarios, and set an error for each that got no verdict, so that no caller hangs."""
        error = IsosmokeError("the run ended without a verdict")
        try:
            self._run(tuple(futures), lambda name, verdict: futures[name].set_result(verdict))
        except IsosmokeError as failure:
            error = failure
        except Exception as bug:  # noqa: BLE001 - a shim waits for the report of any error
            error = IsosmokeError(f"internal error: {bug!r}")
        for name, future in futures.items():
            if not future.done():
                future.set_result(replies_to_wg.create_error_reply(name, error))


def serve(listener: socket.socket, verdicts: Verdicts, *, ended: int, interrupt: Interrupt) -> None:
    """Answer each connection until `ended` is readable or the interrupt is raised."""
    poll = select.poll()
    for source in (listener, ended, interrupt):
        poll.register(source, select.POLLIN)
    while {fd for fd, _ in poll.poll()} == {listener.fileno()}:
        connection, _ = listener.accept()
        Thread(target=_answer, args=(connection, verdicts), daemon=True).start()


def _answer(connection: socket.socket, verdicts: Verdicts) -> None:
    with connection, suppress(OSError):  # a shim that has ended needs no answer
        name = connection.makefile(encoding="utf-8", errors="replace").readline().strip()
        verdict = verdicts.hand_out(name)
        connection.sendall(f"{verdict.code}\n{verdict.text}".encode() + END)
