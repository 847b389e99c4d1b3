"""Real scenarios come out as declared, on every engine, for every user, by every way in."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from isosmoke.execution import session
from isosmoke.execution.scheduler import Policy
from isosmoke.execution.session import Request
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.manifest import loader
from support import available
from support.corpus import CORPUS, DECLARED, TAG


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can look into, as pytest's own cannot be; the corpus is in it."""
    folder = Path(mkdtemp(prefix="isosmoke-corpus-"))
    folder.chmod(0o755)
    shutil.copytree(CORPUS, folder / "corpus", copy_function=shutil.copyfile)
    yield folder
    shutil.rmtree(folder)


def test_every_scenario_declares_its_outcome_once() -> None:
    """Each scenario has one declaration, each script a scenario, and every outcome occurs."""
    scenarios = loader.load(CORPUS / "manifest.toml").scenarios
    counts = [sum(tag.startswith(TAG) for tag in one.tags) for one in scenarios]
    assert set(counts) == {1}
    assert {one.script for one in scenarios} == {one.name for one in CORPUS.glob("*.sh")}
    assert set(DECLARED.values()) == {"PASS", "SKIP", "LEAK", "FAIL", "TIMEOUT", "ERROR"}


@pytest.mark.parametrize("name", available.NAMES)
def test_corpus_comes_out_as_declared_in_python(name: str, place: Path) -> None:
    """`isosmoke.execution.session.execute` gives every scenario its declared outcome."""
    available.engine(name)
    caller = Caller(
        uid=available.me().uid,
        gid=Caller.here().gid,
        user=Caller.here().user,
        home=Path.home(),
        working=place / "corpus",
        environment={"PATH": available.PATH},
    )
    loaded = loader.load(place / "corpus" / "manifest.toml")
    request = Request(
        scenarios=loaded.scenarios, manifest=loaded.path, engine=name, policy=Policy(jobs=2)
    )
    result = session.execute(request, caller, notify=lambda _: None, interrupt=Interrupt())
    assert {one.name: str(one.outcome) for one in result.scenarios} == DECLARED


@pytest.mark.parametrize("user", available.USERS)
@pytest.mark.parametrize("name", available.NAMES)
def test_corpus_comes_out_as_declared_on_the_command_line(
    name: str, user: str, place: Path
) -> None:
    """`python -m isosmoke run --json` tells the declared outcomes, and details that fit them."""
    who = available.USERS[user]()
    who.must_have(name)
    who.settle_in(place / "own")
    who.take_over(place / "corpus")
    words = ("run", "--manifest", "manifest.toml", "--engine", name, "--jobs", "2", "--json")
    done = who.run(*words, folder=place / "own", working=place / "corpus")
    assert done.stdout, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)["scenarios"]}
    assert {one: told[one]["outcome"] for one in told} == DECLARED, done.stderr
    assert done.returncode == 1
    for check in (_endings_are_told, _leaks_are_told, _output_is_kept):
        check(told)
    assert "\N{ESCAPE}" not in done.stderr


@pytest.mark.parametrize("user", available.USERS)
def test_corpus_comes_out_as_declared_in_an_imported_system(user: str, place: Path) -> None:
    """A whole Debian that is no more than a folder changes no outcome; it needs no daemon."""
    source = os.environ.get("ISOSMOKE_ROOTFS")
    if not source:
        pytest.skip("set ISOSMOKE_ROOTFS to an archive of isosmoke/debian, by docker export")
    who = available.USERS[user]()
    who.must_have("bubblewrap")
    who.settle_in(place / "own")
    file = place / "corpus/manifest.toml"
    file.write_text(file.read_text().replace("[defaults]", '[defaults]\nimage = "whole"', 1))
    who.take_over(place / "corpus")
    who.run("image", "import", source, "whole", folder=place / "own", working=place)
    words = ("run", "--manifest", "manifest.toml", "--jobs", "2", "--json")
    done = who.run(*words, folder=place / "own", working=place / "corpus")
    assert done.stdout, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)["scenarios"]}
    assert {one: told[one]["outcome"] for one in told} == _declared_anywhere(), done.stderr


def _declared_anywhere() -> dict[str, str]:
    """What comes out where every program is that the corpus names."""
    return {
        one.name: tag.removeprefix(TAG)
        for one in loader.load(CORPUS / "manifest.toml").scenarios
        for tag in one.tags
        if tag.startswith(TAG)
    }


Told = dict[str, dict[str, Any]]


def _endings_are_told(told: Told) -> None:
    assert told["exits_143"]["exit_code"] == 143
    assert told["exits_143"]["signal"] is None
    assert told["dies_by_a_signal"]["signal"] == "SIGSEGV"
    assert "no model answers" in told["skips"]["reason"]
    assert "no-such-program-anywhere" in told["needs_what_is_missing"]["reason"]
    assert "expected 5, got 4" in told["fails"]["reason"]


def _leaks_are_told(told: Told) -> None:
    (daemon,) = told["leaves_a_daemon"]["leaks"]
    assert daemon["ppid"] == 1
    assert [one.split()[0] for one in daemon["listens"]] == ["tcp", "unix"]
    assert [one["argv"] for one in told["reaches_for_the_keeper"]["leaks"]] == [["sleep", "600"]]
    assert [one["argv"] for one in told["leaves_one_and_fails"]["leaks"]] == [["sleep", "600"]]
    (headless,) = told["leaves_one_without_a_main_thread"]["leaks"]
    assert headless["argv"] == ["python3", "-"]
    assert headless["state"] not in "TZXx"
    assert headless["cwd"] == daemon["cwd"]
    assert headless["exe"] == daemon["exe"]
    assert [one.split()[0] for one in headless["listens"]] == ["tcp"]
    assert [one["state"] for one in told["leaves_a_stopped_one"]["leaks"]] == ["T"]
    assert [one["argv"] for one in told["leaves_an_allowed_one"]["tolerated"]] == [["sleep", "601"]]
    for name in ("sits_at_the_process_limit", "forks_without_end"):
        assert 20 < len(told[name]["leaks"]) < 40


def _output_is_kept(told: Told) -> None:
    assert told["prints_100_megabytes"]["output"]["size"] == 100 * 1024**2
    assert told["ends_without_a_newline"]["output"]["last_lines"] == ["the last word"]
    assert told["relies_on_its_interrupt_trap"]["output"]["last_lines"] == ["cleaned up"]
