"""The corpus has its declared outcomes if every attempt of this machine goes through bytes."""

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from isosmoke.execution import session
from isosmoke.execution.places.performer import LocalPlace
from isosmoke.execution.request import Request
from isosmoke.execution.scheduler import Policy
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from isosmoke.results.records import creation
from support import available
from support.corpus import CORPUS, DECLARED

COMPARED = ("outcome", "exit_code", "signal", "environment", "script_sha256")


@dataclass(slots=True)
class RecordingPlace(LocalPlace):
    """This machine as a place, with every order and answer."""

    texts: list[bytes] = field(default_factory=list)

    def attempt(self, order: bytes, secrets: bytes = b"", avoided: Collection[str] = ()) -> bytes:
        """Make the attempt from the bytes of its order and its secrets alone."""
        record = LocalPlace.attempt(self, order, secrets, avoided)
        self.texts += (order, record)
        return record


def test_corpus_is_equal_through_bytes(tmp_path: Path) -> None:
    """Outcomes, endings, environments and leaks are those of the direct form."""
    available.require_engine("bubblewrap")
    shutil.copytree(CORPUS, tmp_path / "corpus", copy_function=shutil.copyfile)
    loaded = loader.load(tmp_path / "corpus/manifest.toml")
    caller = Caller(
        uid=Caller.current().uid,
        gid=Caller.current().gid,
        user=Caller.current().user,
        home=Path.home(),
        working=tmp_path / "corpus",
        environment={"PATH": available.PATH, "UNUSED_TOKEN": "not-sent-to-any-place"},
    )
    interrupt = Interrupt()
    place = RecordingPlace(slots=4, interrupt=interrupt)
    request = Request(scenarios=loaded.scenarios, manifest=loaded.path, policy=Policy(jobs=4))

    results = {
        name: session.execute(
            Request(
                scenarios=request.scenarios,
                manifest=request.manifest,
                policy=request.policy,
                place=chosen,
            ),
            caller,
            notify=lambda _: None,
            interrupt=interrupt,
        )
        for name, chosen in (("direct", None), ("bytes", place))
    }

    records = {name: creation.record_run(result) for name, result in results.items()}
    outcomes = {item.name: str(item.outcome) for item in records["bytes"].scenarios}
    assert outcomes == DECLARED
    assert records["bytes"].engine == records["direct"].engine
    for direct, through in zip(
        records["direct"].scenarios, records["bytes"].scenarios, strict=True
    ):
        for key in COMPARED[:3]:
            assert getattr(direct, key) == getattr(through, key), direct.name
        first, second = direct.attempts[0], through.attempts[0]
        for key in COMPARED[3:]:
            assert getattr(first, key) == getattr(second, key), direct.name
        assert second.losses == ()
        assert len(first.leaks) == len(second.leaks) or "fork" in direct.name
        assert (
            Path(second.output.log or "/missing").exists()
            == Path(first.output.log or "/missing").exists()
        )
    assert all(json.loads(text) for text in place.texts)
    assert not any(b"not-sent-to-any-place" in text for text in place.texts)
