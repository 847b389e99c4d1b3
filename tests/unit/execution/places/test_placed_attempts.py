"""A lost worker is never a verdict: the attempt is made again, and at last is an error."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from isosmoke.errors import UsageError
from isosmoke.execution.places import answer, known_secrets, order, passed_secrets
from isosmoke.execution.places.answer import Answer
from isosmoke.execution.places.known_secrets import KnownSecrets
from isosmoke.execution.places.order import Order, OrderError
from isosmoke.execution.places.place import LostError
from isosmoke.execution.places.placed_attempts import PlacedAttempts
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.interrupt import Interrupt
from isosmoke.keeper.exchange import StoppedError
from isosmoke.manifest.models import Scenario
from isosmoke.results.outcome import Broke, Exited, Outcome, Stopped
from isosmoke.results.run_results import Attempt, LostOrder
from isosmoke.runner.job_builder import RunContext

PASSED = Attempt(ending=Exited(0))
LOST = LostOrder(worker="tls://w", reason="it was killed", phase="started")

Reply = Callable[[Order], bytes]


def passes(received: Order) -> bytes:
    """Return a complete record of a pass."""
    return answer.encode(received.nonce, Answer(attempt=PASSED, log=b"out\n", is_gone=True))


def loses(_: Order) -> bytes:
    """Lose the worker."""
    raise LostError(LOST)


def is_interrupted(_: Order) -> bytes:
    """Stop as the client does on Ctrl-C."""
    raise StoppedError("SIGINT")


def cuts(received: Order) -> bytes:
    """Return half a record."""
    return passes(received)[:200]


def answers_another(received: Order) -> bytes:
    """Return a complete record of a pass for another order."""
    return passes(replace(received, nonce="0"))


def refuses(received: Order) -> bytes:
    """Say that there is no room for the content of the order."""
    return answer.encode_refusal(received.nonce, "no room")


def leaves(received: Order) -> bytes:
    """Return a record whose sandbox may still exist."""
    attempt = replace(PASSED, leftovers=("box (remove it: rm box)",))
    return answer.encode(received.nonce, Answer(attempt=attempt, log=None, is_gone=False))


@dataclass(slots=True)
class FakePlace:
    """A place that plays one reply for each order."""

    replies: list[Reply]
    slots: int = 1
    orders: list[Order] = field(default_factory=list)
    secrets: list[bytes] = field(default_factory=list)
    avoided: list[Sequence[str]] = field(default_factory=list)
    is_pinned: bool = False

    def publish(self, context: RunContext, known: KnownSecrets) -> Mapping[Path, str]:
        """Return no trees."""
        return {}

    def add_path(self, path: Path, emptied: Collection[str] = (), *, owners: bool = True) -> str:
        """Return the name of a file or directory as its digest."""
        return path.name

    def explain_distrust(self) -> str:
        """Return that no worker is pinned, unless this place is."""
        return "" if self.is_pinned else "no worker of here is pinned to receive them"

    def attempt(self, order_: bytes, secrets: bytes = b"", avoided: Collection[str] = ()) -> bytes:
        """Play the next reply."""
        self.avoided.append(tuple(avoided))
        received = order.decode(order_)
        self.orders.append(received)
        self.secrets.append(secrets)
        return self.replies.pop(0)(received)


def scenario(**keys: object) -> Scenario:
    """Return a scenario with these keys."""
    entry = {"name": "one", "script": "one.sh", **keys}
    return Scenario.validate(entry).place(Path("/scenarios"))


def create_attempts(directory: Path, place: FakePlace, *known: Scenario) -> PlacedAttempts:
    """Return the attempts of a run in a place; `known` are other scenarios of the manifest."""
    environment = {"PATH": "/bin", "SHARED": "1", "OTHER": "2"}
    caller = Caller(
        uid=1, gid=1, user="u", home=directory, working=directory, environment=environment
    )
    return PlacedAttempts(
        place=place,
        context=RunContext(caller, Workspace((directory,), (), directory), None),
        engine="auto",
        record=directory / "record",
        interrupt=Interrupt(),
        known=known_secrets.find(None, known, caller),
    )


def test_pass_is_recorded_with_its_log(tmp_path: Path) -> None:
    """The record of a worker is the attempt, and its log is kept."""
    attempt = create_attempts(tmp_path, FakePlace([passes])).run(scenario(), 1)

    assert attempt.outcome is Outcome.PASS
    assert attempt.log == tmp_path / "record/one/output-1.log"
    assert attempt.log.read_bytes() == b"out\n"


@pytest.mark.parametrize("lose", [loses, cuts, answers_another, leaves, refuses])
def test_lost_attempt_is_made_again(lose: Reply, tmp_path: Path) -> None:
    """Anything but a complete record is a loss; each order has a nonce that no other had."""
    place = FakePlace([lose, lose, passes])
    attempts = create_attempts(tmp_path, place)
    attempt = attempts.run(scenario(), 1)

    assert attempt.outcome is Outcome.PASS
    assert len(attempt.losses) == 2
    assert len({received.nonce for received in place.orders}) == 3
    assert len(attempts.notes) == 2


@pytest.mark.parametrize("lose", [loses, cuts, answers_another, leaves, refuses])
def test_three_losses_are_an_error(lose: Reply, tmp_path: Path) -> None:
    """After the third lost worker, the attempt is an error of the infrastructure."""
    attempt = create_attempts(tmp_path, FakePlace([lose] * 3 + [passes])).run(scenario(), 1)

    assert isinstance(attempt.ending, Broke)
    assert attempt.reason.startswith("lost 3 workers: ")


def test_worker_that_lost_an_attempt_is_avoided(tmp_path: Path) -> None:
    """Each order names the workers that lost the attempt before."""
    place = FakePlace([loses, loses, passes])
    create_attempts(tmp_path, place).run(scenario(), 1)

    assert place.avoided == [(), (LOST.worker,), (LOST.worker, LOST.worker)]


def test_interrupt_is_no_loss(tmp_path: Path) -> None:
    """An interrupted attempt is not made again."""
    attempt = create_attempts(tmp_path, FakePlace([is_interrupted])).run(scenario(), 1)

    assert attempt.ending == Stopped("SIGINT")


def test_order_has_only_usable_variables(tmp_path: Path) -> None:
    """A variable that no key of the scenario names stays with the caller."""
    place = FakePlace([passes])
    create_attempts(tmp_path, place).run(scenario(plain_env=["SHARED"]), 1)

    assert place.orders[0].caller_facts.environment == {"PATH": "/bin", "SHARED": "1"}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"pass_env": ["OTHER"]}, "OTHER"),
        ({"pass_files": ["~/.netrc"]}, "netrc"),
        ({"locks": ["global:db"]}, "global:db"),
    ],
)
def test_scenario_for_this_machine_is_refused(
    keys: Mapping[str, object], named: str, tmp_path: Path
) -> None:
    """Secrets for unpinned workers and locks of all machines are refused before anything starts."""
    attempts = create_attempts(tmp_path, FakePlace([]))
    with pytest.raises(UsageError, match=named):
        attempts.check([scenario(**keys)])


def test_plain_files_are_sent(tmp_path: Path) -> None:
    """An order names the content of open files, but not that of a device."""
    (tmp_path / "data").write_text("text")
    place = FakePlace([passes])
    create_attempts(tmp_path, place).run(scenario(plain_files=["~/data", "/dev/null"]), 1)

    assert place.orders[0].caller_facts.trees == {str(tmp_path / "data"): "data"}
    assert place.orders[0].digests == ("data",)


def test_missing_open_file_is_an_error(tmp_path: Path) -> None:
    """A worker does not show its own file in place of one that the caller does not have."""
    attempts = create_attempts(tmp_path, FakePlace([]))
    missing = scenario(plain_files=["~/missing"])
    attempts.check([missing])
    attempt = attempts.run(missing, 1)

    assert attempt.outcome is Outcome.ERROR
    assert "missing of plain_files does not exist" in attempt.reason


def test_root_filesystem_with_a_secret_is_refused(tmp_path: Path) -> None:
    """The secret file of any scenario is not sent as a part of a root filesystem."""
    (tmp_path / "root/usr").mkdir(parents=True)
    (tmp_path / "root/token").write_text("secret")
    other = scenario(name="two", pass_files=["~/root/token"])
    attempts = create_attempts(tmp_path, FakePlace([], is_pinned=True), other)
    opened = scenario(image=f"rootfs:{tmp_path}/root")
    with pytest.raises(UsageError, match="token, which is secret, is part of the root filesystem"):
        attempts.check([opened])


@pytest.mark.parametrize("secret", ["~/open/token", "~/link"])
def test_open_directory_with_a_secret_is_refused(secret: str, tmp_path: Path) -> None:
    """The secret file of any scenario is not sent as a part of another's open directory."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open/token").write_text("secret")
    (tmp_path / "link").symlink_to("open/token")
    place = FakePlace([], is_pinned=True)
    attempts = create_attempts(tmp_path, place, scenario(pass_files=[secret]))
    with pytest.raises(UsageError, match="token, which is secret, is part of ~/open"):
        attempts.check([scenario(plain_files=["~/open"])])


def test_other_name_of_a_secret_is_refused(tmp_path: Path) -> None:
    """A hard link to a secret file is the secret file."""
    (tmp_path / "open").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/token").write_text("secret")
    (tmp_path / "open/other").hardlink_to(tmp_path / "keys/token")
    attempts = create_attempts(tmp_path, FakePlace([]), scenario(pass_files=["~/keys"]))
    with pytest.raises(UsageError, match="other, which is secret, is part of ~/open"):
        attempts.check([scenario(plain_files=["~/open"])])


@pytest.mark.parametrize("opened", ["~", "~/state/cluster/own"])
def test_keys_of_a_cluster_are_never_open(
    opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open directory that contains them, or that they contain, is refused."""
    (tmp_path / "state/cluster/own").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    attempts = create_attempts(tmp_path, FakePlace([], is_pinned=True))
    with pytest.raises(UsageError, match="which is secret, is part of ~"):
        attempts.check([scenario(plain_files=[opened])])


@pytest.mark.parametrize(
    "keys",
    [
        {"plain_env": ["SHARED"]},
        {"requires": {"endpoints": ["http://localhost/${SHARED}"]}},
    ],
)
def test_variable_that_is_secret_elsewhere_is_refused(
    keys: Mapping[str, object], tmp_path: Path
) -> None:
    """The secret variable of another scenario of the manifest is in no order."""
    other = scenario(name="two", pass_env=["SHARED"])
    attempts = create_attempts(tmp_path, FakePlace([], is_pinned=True), other)
    with pytest.raises(UsageError, match="SHARED openly, which is secret in another scenario"):
        attempts.check([scenario(**keys)])


def test_required_variable_that_is_secret_elsewhere_has_no_value(tmp_path: Path) -> None:
    """The order says only that it is set; the value of an empty one is no secret."""
    place = FakePlace([passes])
    other = scenario(name="two", pass_env=["SHARED"])
    attempts = create_attempts(tmp_path, place, other)
    requiring = scenario(requires={"env": ["SHARED", "OTHER"]})
    attempts.check([requiring])
    attempts.run(requiring, 1)

    expected = {"PATH": "/bin", "SHARED": "set", "OTHER": "2"}
    assert place.orders[0].caller_facts.environment == expected


def test_secrets_are_in_no_order(tmp_path: Path) -> None:
    """A pinned worker receives variables and files apart from the order, which has neither."""
    (tmp_path / "token").write_text("the file's secret")
    place = FakePlace([passes], is_pinned=True)
    attempts = create_attempts(tmp_path, place)
    passing = scenario(pass_env=["OTHER"], pass_files=["~/token", "~/missing"])
    attempts.check([passing])
    attempts.run(passing, 1)

    assert "OTHER" not in place.orders[0].caller_facts.environment
    with passed_secrets.unpacked(place.secrets[0]) as passed:
        found = {path.name: source for path, source in passed.sources.items()}
        assert found["token"].read_text() == "the file's secret"
        assert not found["missing"].exists()
        assert dict(passed.variables) == {"OTHER": "2"}
    assert not found["token"].exists()


def test_directory_of_secrets_arrives_as_it_is(tmp_path: Path) -> None:
    """Modes are kept, and so is a link to a path that a sandbox does not have."""
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "private").write_text("secret")
    (keys / "private").chmod(0o600)
    (keys / "elsewhere").symlink_to("/nowhere/else")
    place = FakePlace([passes], is_pinned=True)
    create_attempts(tmp_path, place).run(scenario(pass_files=["~/keys"]), 1)

    with passed_secrets.unpacked(place.secrets[0]) as passed:
        (source,) = passed.sources.values()
        assert (source / "private").read_text() == "secret"
        assert (source / "private").stat().st_mode & 0o777 == 0o600
        assert (source / "elsewhere").readlink() == Path("/nowhere/else")


def test_secrets_that_are_too_large_are_an_error(tmp_path: Path) -> None:
    """A directory of secrets that is too large to be sent is an error of the attempt."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(passed_secrets.MAX_BYTES + 1)
    place = FakePlace([], is_pinned=True)
    attempt = create_attempts(tmp_path, place).run(scenario(pass_files=["~/large"]), 1)

    assert attempt.outcome is Outcome.ERROR
    assert "too large for a worker" in attempt.reason


def test_secret_that_is_not_set_is_no_obstacle(tmp_path: Path) -> None:
    """Nothing is sent for a variable that the caller does not have: the worker skips or runs it."""
    place = FakePlace([passes])
    attempts = create_attempts(tmp_path, place)
    attempts.check([scenario(pass_env=["TOKEN"])])
    attempts.run(scenario(pass_env=["TOKEN"]), 1)

    assert "TOKEN" not in place.orders[0].caller_facts.environment


def test_order_survives_bytes(tmp_path: Path) -> None:
    """An order is the same after decoding, with paths that are no text."""
    place = FakePlace([passes])
    create_attempts(tmp_path, place).run(scenario(locks=["a"]), 4, alone=True)
    (sent,) = place.orders
    strange = replace(sent, folder="/\udcff")

    assert order.decode(strange.encode()) == strange
    assert strange.scenario.locks == ("a",)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"protocol": 1, "isosmoke": "0"}'])
def test_other_bytes_are_no_order(content: bytes) -> None:
    """Bytes of another version, or of anything else, are refused."""
    with pytest.raises(OrderError):
        order.decode(content)
