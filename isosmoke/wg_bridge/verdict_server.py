"""Runs the scenarios of one wg and answers its shims, until that wg ends."""

import select
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Thread

from isosmoke.errors import IsosmokeError
from isosmoke.interrupt import Interrupt
from isosmoke.wg_bridge import wg_replies
from isosmoke.wg_bridge.scenario_shim import END
from isosmoke.wg_bridge.wg_replies import Verdict

Tell = Callable[[str, Verdict], None]
Run = Callable[[tuple[str, ...], Tell], None]
"""Runs the named scenarios and tells the verdict of each as soon as it is known."""


class Verdicts:
    """Verdicts that are known, or on their way; each is handed out once.

    The first that is asked for brings the `ahead` with it. Runs follow one another.
    """

    def __init__(
        self, run: Run, *, ahead: Iterable[str] = (), known: Mapping[str, Verdict] | None = None
    ) -> None:
        self._run = run
        self._ahead = tuple(ahead)
        self._coming: dict[str, Future[Verdict]] = {}
        self._lock = Lock()
        self._runs = ThreadPoolExecutor(1, thread_name_prefix="run")
        for name, one in (known or {}).items():
            self._expect(name).set_result(one)

    def hand_out(self, name: str) -> Verdict:
        """The verdict of a scenario, which is run now unless it has been or is."""
        with self._lock:
            if name not in self._coming:
                self._start(name)
            coming = self._coming.pop(name)
        return coming.result()

    def end(self) -> None:
        """Wait for the run that is on, which an interrupt has stopped; begin no other."""
        self._runs.shutdown(cancel_futures=True)

    def _start(self, name: str) -> None:
        names = tuple(dict.fromkeys((name, *self._ahead)))
        self._ahead = ()
        self._runs.submit(self._settle, {one: self._expect(one) for one in names})

    def _expect(self, name: str) -> Future[Verdict]:
        return self._coming.setdefault(name, Future())

    def _settle(self, futures: Mapping[str, Future[Verdict]]) -> None:
        """Run, and let nobody wait for a verdict that did not come."""
        error = IsosmokeError("the run ended without it")
        try:
            self._run(tuple(futures), lambda name, one: futures[name].set_result(one))
        except IsosmokeError as told:
            error = told
        except Exception as bug:  # noqa: BLE001 - whatever it is, a shim waits to hear of it
            error = IsosmokeError(f"isosmoke broke: {bug!r}")
        for name, future in futures.items():
            if not future.done():
                future.set_result(wg_replies.trouble(name, error))


def serve(listener: socket.socket, verdicts: Verdicts, *, ended: int, interrupt: Interrupt) -> None:
    """Answer whoever connects, until `ended` can be read or the interrupt is raised."""
    poll = select.poll()
    for one in (listener, ended, interrupt):
        poll.register(one, select.POLLIN)
    while {fd for fd, _ in poll.poll()} == {listener.fileno()}:
        line, _ = listener.accept()
        Thread(target=_answer, args=(line, verdicts), daemon=True).start()


def _answer(line: socket.socket, verdicts: Verdicts) -> None:
    with line, suppress(OSError):  # a shim that is gone needs no answer
        name = line.makefile(encoding="utf-8", errors="replace").readline().strip()
        told = verdicts.hand_out(name)
        line.sendall(f"{told.code}\n{told.words}".encode() + END)
