"""Real scenarios end as declared, on every engine, for every user, through every entry point."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

import isosmoke
from isosmoke.manifest import loader
from support import available
from support.corpus import CORPUS, DECLARED, TAG


@pytest.fixture
def root() -> Iterator[Path]:
    """Copy the corpus into a directory that every user can read, unlike pytest's own."""
    directory = Path(mkdtemp(prefix="isosmoke-corpus-"))
    directory.chmod(0o755)
    shutil.copytree(CORPUS, directory / "corpus", copy_function=shutil.copyfile)
    yield directory
    shutil.rmtree(directory)


def test_every_scenario_declares_its_outcome_once() -> None:
    """Each scenario declares one outcome, each script has a scenario, and every outcome occurs."""
    scenarios = loader.load(CORPUS / "manifest.toml").scenarios
    counts = [sum(tag.startswith(TAG) for tag in scenario.tags) for scenario in scenarios]
    assert set(counts) == {1}
    assert {scenario.script for scenario in scenarios} == {
        path.name for path in CORPUS.glob("*.sh")
    }
    assert set(DECLARED.values()) == {"PASS", "SKIP", "LEAK", "FAIL", "TIMEOUT", "ERROR"}


@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_corpus_ends_as_declared_in_python(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`isosmoke.run_scenarios` gives every scenario its declared outcome."""
    available.require_engine(name)
    for variable in set(os.environ) - {*available.DAEMON_VARIABLES, "ISOSMOKE_STATE", "HOME"}:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PATH", available.PATH)
    manifest = root / "corpus" / "manifest.toml"
    run = isosmoke.run_scenarios(manifest, working=root / "corpus", engine=name, jobs=2)
    assert {scenario.name: str(scenario.outcome) for scenario in run.scenarios} == DECLARED
    assert not run.passed


@pytest.mark.parametrize("user", available.USERS)
@pytest.mark.parametrize("name", available.ENGINE_NAMES)
def test_corpus_ends_as_declared_on_command_line(name: str, user: str, root: Path) -> None:
    """`python -m isosmoke run --json` reports the declared outcomes, with matching details."""
    account = available.USERS[user]()
    account.require_engine(name)
    account.create_directories(root / "own")
    account.give_ownership(root / "corpus")
    arguments = ("run", "--manifest", "manifest.toml", "--engine", name, "--jobs", "2", "--json")
    result = account.run(*arguments, folder=root / "own", working=root / "corpus")
    assert result.stdout, result.stderr
    scenarios = {entry["name"]: entry for entry in json.loads(result.stdout)["scenarios"]}
    assert {name: entry["outcome"] for name, entry in scenarios.items()} == DECLARED, result.stderr
    assert result.returncode == 1
    for check in (_check_endings, _check_leaks, _check_output):
        check(scenarios)
    assert "\N{ESCAPE}" not in result.stderr


def test_corpus_ends_as_declared_in_merged_shards(root: Path) -> None:
    """Three shards of the corpus, merged, have the declared outcomes in manifest order."""
    account = available.current_user()
    account.require_engine("bubblewrap")
    account.create_directories(root / "own")
    for number in (1, 2, 3):
        arguments = ("run", "--manifest", "manifest.toml", "--jobs", "2", "--shard", f"{number}/3")
        account.run(
            *arguments, "--output", f"../{number}", folder=root / "own", working=root / "corpus"
        )
    shards = ("../1", "../2", "../3")
    result = account.run("merge", "--json", *shards, folder=root / "own", working=root / "corpus")
    assert result.stdout, result.stderr
    scenarios = {entry["name"]: entry for entry in json.loads(result.stdout)["scenarios"]}
    outcomes = [(name, entry["outcome"]) for name, entry in scenarios.items()]
    assert outcomes == [*DECLARED.items()], result.stderr
    assert result.returncode == 1
    for check in (_check_endings, _check_leaks, _check_output):
        check(scenarios)


@pytest.mark.parametrize("user", available.USERS)
def test_corpus_ends_as_declared_in_imported_system(user: str, root: Path) -> None:
    """A complete Debian in a plain directory has the same outcomes, and needs no daemon."""
    source = os.environ.get("ISOSMOKE_ROOTFS")
    if not source:
        pytest.skip("set ISOSMOKE_ROOTFS to an archive of isosmoke/debian, by docker export")
    account = available.USERS[user]()
    account.require_engine("bubblewrap")
    account.create_directories(root / "own")
    file = root / "corpus/manifest.toml"
    file.write_text(file.read_text().replace("[defaults]", '[defaults]\nimage = "whole"', 1))
    account.give_ownership(root / "corpus")
    account.run("image", "import", source, "whole", folder=root / "own", working=root)
    arguments = ("run", "--manifest", "manifest.toml", "--jobs", "2", "--json")
    result = account.run(*arguments, folder=root / "own", working=root / "corpus")
    assert result.stdout, result.stderr
    scenarios = {entry["name"]: entry for entry in json.loads(result.stdout)["scenarios"]}
    assert {
        name: entry["outcome"] for name, entry in scenarios.items()
    } == _get_declared_outcomes(), result.stderr


def _get_declared_outcomes() -> dict[str, str]:
    """Return the outcomes on a system with every program that the corpus names."""
    return {
        scenario.name: tag.removeprefix(TAG)
        for scenario in loader.load(CORPUS / "manifest.toml").scenarios
        for tag in scenario.tags
        if tag.startswith(TAG)
    }


Scenarios = dict[str, dict[str, Any]]


def _check_endings(scenarios: Scenarios) -> None:
    assert scenarios["exits_143"]["exit_code"] == 143
    assert scenarios["exits_143"]["signal"] is None
    assert scenarios["dies_by_a_signal"]["signal"] == "SIGSEGV"
    assert "no model answers" in scenarios["skips"]["reason"]
    assert "no-such-program-anywhere" in scenarios["needs_what_is_missing"]["reason"]
    assert "expected 5, got 4" in scenarios["fails"]["reason"]


def _check_leaks(scenarios: Scenarios) -> None:
    (daemon,) = scenarios["leaves_a_daemon"]["leaks"]
    assert daemon["ppid"] == 1
    assert [listener.split()[0] for listener in daemon["listens"]] == ["tcp", "unix"]
    assert [leak["argv"] for leak in scenarios["reaches_for_the_keeper"]["leaks"]] == [
        ["sleep", "600"]
    ]
    assert [leak["argv"] for leak in scenarios["leaves_one_and_fails"]["leaks"]] == [
        ["sleep", "600"]
    ]
    (headless,) = scenarios["leaves_one_without_a_main_thread"]["leaks"]
    assert headless["argv"] == ["python3", "-"]
    assert headless["state"] not in "TZXx"
    assert headless["cwd"] == daemon["cwd"]
    assert headless["exe"] == daemon["exe"]
    assert [listener.split()[0] for listener in headless["listens"]] == ["tcp"]
    assert [leak["state"] for leak in scenarios["leaves_a_stopped_one"]["leaks"]] == ["T"]
    assert [leak["argv"] for leak in scenarios["leaves_an_allowed_one"]["tolerated"]] == [
        ["sleep", "601"]
    ]
    for name in ("sits_at_the_process_limit", "forks_without_end"):
        assert 20 < len(scenarios[name]["leaks"]) < 40


def _check_output(scenarios: Scenarios) -> None:
    assert scenarios["prints_100_megabytes"]["output"]["size"] == 100 * 1024**2
    assert scenarios["ends_without_a_newline"]["output"]["last_lines"] == ["the last word"]
    assert scenarios["relies_on_its_interrupt_trap"]["output"]["last_lines"] == ["cleaned up"]
