"""No symbolic link of a repository makes isosmoke write, lock, read or remove elsewhere."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from isosmoke.authoring import new_scenario, setup
from isosmoke.errors import IsosmokeError, UsageError
from isosmoke.history import gate_records
from isosmoke.host import files
from isosmoke.manifest.models import Manifest, Scenario
from isosmoke.wg_bridge import mirror_manifest, scenario_shim
from support import available
from support.git_repositories import Git
from support.project import Project

TARGETS: Mapping[str, Callable[[Path], str]] = {
    "itself": lambda _: ".",
    "inside": lambda _: "scenarios",
    "outside": lambda folder: str(folder / "outside"),
    "home": lambda folder: str(folder / "home"),
    "dangling": lambda folder: str(folder / "outside/missing"),
    "file": lambda folder: str(folder / "outside/.gitignore"),
}
"""Where a link of a prepared repository leads."""

PLACES = (".isosmoke", ".isosmoke/runs", ".isosmoke/receipts", ".isosmoke/bypasses.jsonl")

COMMANDS = (
    ("run", "good", "--engine", "bubblewrap"),
    ("gate", "task-a", "--engine", "bubblewrap"),
    ("done", "task-a"),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a `.gitignore` of its own, beside another folder of its user."""
    project = Project.within(tmp_path)
    Git(project.top).commit("all", _gitignore="mine\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.gitignore").write_text("precious\n")
    return project


def link(project: Project, place: str, target: str) -> None:
    """Make a link of the project, and the folders that it lies in."""
    path = project.path(place)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)


def untouched(project: Project) -> dict[str, bytes]:
    """All that must be the same after a command: everything but isosmoke's state."""
    found = available.listing(project.top.parent)
    return {path: line for path, line in found.items() if path.partition("/")[0] != "state"}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("target", TARGETS)
def test_no_command_follows_a_link_in_place_of_the_records(
    project: Project, target: str, words: tuple[str, ...]
) -> None:
    """Each is refused with the link's path, and nothing of the user's has changed by a byte."""
    available.engine("bubblewrap")
    link(project, ".isosmoke", TARGETS[target](project.top.parent))
    before = untouched(project)

    done = project.run(*words)

    assert done.returncode == 2, done.stderr
    assert str(project.path(".isosmoke")) in done.stderr
    assert untouched(project) == before


@pytest.mark.parametrize("place", PLACES[1:])
def test_no_gate_follows_a_link_among_the_records(project: Project, place: str) -> None:
    """A link in the folder of records shuts the gate before anything is run."""
    available.engine("bubblewrap")
    link(project, place, str(project.top.parent / "outside"))
    before = untouched(project)

    done = project.run("gate", "task-a", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert str(project.path(place)) in done.stderr
    assert {path for path in untouched(project) if "outside" in path} == {
        path for path in before if "outside" in path
    }


@pytest.mark.parametrize("place", [".isosmoke", ".isosmoke/bypasses.jsonl"])
def test_a_bypass_that_would_be_recorded_through_a_link_is_refused(
    project: Project, place: str
) -> None:
    """The gate stays shut, and no line is appended to a file of the user's."""
    link(project, place, str(project.top.parent / "outside/.gitignore"))
    before = untouched(project)

    done = project.run("gate", "task-a", "--skip-smoke")

    assert done.returncode == 2, done.stderr
    assert untouched(project) == before


@pytest.mark.parametrize("words", [("runs",), ("show",), ("logs", "good"), ("audit",)])
def test_no_record_is_read_through_a_link(project: Project, words: tuple[str, ...]) -> None:
    """Prepared runs and receipts elsewhere speak for nobody."""
    link(project, ".isosmoke", str(project.top.parent / "outside"))
    project.path(".wg").mkdir()
    project.path(".wg/graph.jsonl").write_text('{"kind": "task", "id": "task-a"}\n')

    done = project.run(*words)

    assert done.returncode == 2, done.stdout + done.stderr
    assert str(project.path(".isosmoke")) in done.stderr


def test_an_existing_gitignore_is_kept(project: Project) -> None:
    """What a project has put into the folder of records is not replaced."""
    available.engine("bubblewrap")
    project.path(".isosmoke").mkdir()
    project.path(".isosmoke/.gitignore").symlink_to("../.gitignore")

    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 0
    assert project.path(".gitignore").read_text() == "mine\n"
    assert project.path(".isosmoke/.gitignore").is_symlink()


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_lock_is_no_other_file(project: Project, make: Callable[[Path, Path], None]) -> None:
    """A lock file that is a link, or a second name, of a file does not empty it."""
    available.engine("bubblewrap")
    project.path(".isosmoke/runs").mkdir(parents=True)
    make(project.path("wg"), project.path(".isosmoke/runs/.lock"))
    before = project.binary.read_bytes()

    done = project.run("run", "good", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert project.binary.read_bytes() == before


def test_old_runs_are_not_removed_through_a_link(project: Project) -> None:
    """The folder of runs leads to another project's: its runs are not forgotten."""
    available.engine("bubblewrap")
    runs = project.top.parent / "outside/runs"
    for number in range(30):
        (runs / f"20200101-000000-{number:04x}").mkdir(parents=True)
    link(project, ".isosmoke/runs", str(runs))
    before = available.listing(runs)

    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 2
    assert available.listing(runs) == before


def test_a_bypass_is_not_appended_to_a_second_name(tmp_path: Path) -> None:
    """A list of bypasses that is a hard link of a file leaves that file as it is."""
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/bypasses.jsonl").hardlink_to(tmp_path / "mine")
    record = gate_records.BypassRecord(
        task="a", agent=None, user="me", folder="/", at="2026-01-01T00:00:00Z", repository=None
    )

    with pytest.raises(UsageError, match="second name"):
        gate_records.keep_bypass([tmp_path / "home"], record)

    assert (tmp_path / "mine").read_text() == "mine\n"


def test_a_receipt_is_not_read_through_a_link(tmp_path: Path) -> None:
    """A receipt that is a link to a prepared one is refused by its name."""
    home = tmp_path / ".isosmoke"
    kept = gate_records.keep_receipt([home], "run", "text")
    kept.with_name("other.json").symlink_to(kept)

    with pytest.raises(UsageError, match=r"other\.json"):
        gate_records.receipts([home])


def test_repro_shows_no_folder_in_place_of_the_records(project: Project) -> None:
    """A sandbox is not made where the link would hide the whole project in it."""
    available.engine("bubblewrap")
    link(project, ".isosmoke", ".")

    done = project.run("repro", "good", "--engine", "bubblewrap")

    assert done.returncode == 2, done.stderr
    assert str(project.path(".isosmoke")) in done.stderr


def test_repro_saves_nothing_through_a_link(project: Project) -> None:
    """The folder of scripts leads out of the project: nothing is made there."""
    available.engine("bubblewrap")
    scripts = project.path("scenarios").rename(project.top.parent / "outside/scenarios")
    project.path("scenarios").symlink_to(scripts)
    before = untouched(project)

    done = subprocess.run(
        project.command("repro", "--engine", "bubblewrap", "--save", "typed", "--owner", "a"),
        cwd=project.top,
        env=project.environment(),
        input="true\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "scenarios" in done.stderr
    assert untouched(project) == before


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("manifest.toml", "outside/other.toml"),
        ("manifest.toml", "project/.git/other.toml"),
        ("scenarios", "outside/scenarios"),
        ("scenarios", "project/.git/scenarios"),
    ],
)
def test_new_adds_nothing_through_a_link_that_leads_out(
    project: Project, place: str, target: str
) -> None:
    """A manifest or a folder of scripts that is elsewhere, or git's own, stays as it is."""
    moved = project.path(place).rename(project.top.parent / target)
    project.path(place).symlink_to(moved)
    before = untouched(project)

    done = project.run("new", "fresh", "--owner", "a", "--assertion", "It holds.")

    assert done.returncode == 2, done.stderr
    assert place in done.stderr
    assert untouched(project) == before


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("AGENTS.md", "outside/.gitignore"),
        ("AGENTS.md", "outside/missing.md"),
        ("AGENTS.md", "project/missing.md"),
        ("AGENTS.md", "project/notes.md"),
        ("AGENTS.md", "project/.git/AGENTS.md"),
        ("CLAUDE.md", "outside/CLAUDE.md"),
        ("CLAUDE.md", "project/CLAUDE.md"),
        ("tests", "outside"),
        ("tests", "outside/missing"),
        ("tests/smoke", "outside"),
        ("tests/smoke/manifest.toml", "outside/missing.toml"),
        ("tests/smoke/manifest.toml", "project/missing.toml"),
        ("tests/smoke/scenarios", "outside"),
        ("tests/smoke/scenarios/binary_starts.sh", "outside/missing.sh"),
    ],
)
def test_init_writes_nothing_through_a_link_that_leads_out(
    tmp_path: Path, place: str, target: str
) -> None:
    """Whatever of its files is a link to another place, nothing is written at all."""
    project = Git(tmp_path / "project").top
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.gitignore").write_text("precious\n")
    (project / "notes.md").write_text("mine\n")
    (project / place).parent.mkdir(parents=True, exist_ok=True)
    (project / place).symlink_to(tmp_path / target)
    before = available.listing(tmp_path)

    with pytest.raises(IsosmokeError, match=Path(place).name):
        setup.carry_out(setup.plan(project))

    assert available.listing(tmp_path) == before


def test_a_link_of_a_repository_to_another_one_leads_out(tmp_path: Path) -> None:
    """That the other folder is a repository too does not make it the same project."""
    one, other = (Git(tmp_path / name).top for name in ("one", "other"))
    (one / "tests").symlink_to(other)

    assert new_scenario.project(one / "tests/manifest.toml") == one
    with pytest.raises(UsageError, match="tests"):
        files.resolve_in_project(one / "tests/manifest.toml", one)


def test_a_manifest_that_its_user_reaches_through_a_link_is_written(tmp_path: Path) -> None:
    """A path that the user types may have links in it, above the project."""
    top = Git(tmp_path / "one").top
    (tmp_path / "way").symlink_to(top)

    path = tmp_path / "way/manifest.toml"

    assert files.resolve_in_project(path, new_scenario.project(path)) == top / "manifest.toml"


@pytest.mark.parametrize("place", [".isosmoke", ".isosmoke/bridge.toml", ".isosmoke/bridge.sh"])
def test_no_mirror_is_written_through_a_link(project: Project, place: str) -> None:
    """The bridge makes no file where a link of the repository leads."""
    target = "outside" if place == ".isosmoke" else "outside/missing"
    link(project, place, str(project.top.parent / target))
    before = untouched(project)

    done = project.run("bridge")

    assert done.returncode == 2, done.stderr
    assert str(project.path(place)) in done.stderr
    assert untouched(project) == before


def test_a_mirror_replaces_a_second_name(tmp_path: Path) -> None:
    """What isosmoke once wrote and somebody else keeps under another name is not changed there."""
    source = Manifest(
        path=tmp_path / "manifest.toml", scenarios=(Scenario(name="a", script="a.sh"),)
    )
    mirror_manifest.write(source, tmp_path / "bridge.toml", tmp_path)
    (tmp_path / "kept").hardlink_to(tmp_path / "bridge.toml")
    before = (tmp_path / "kept").read_bytes()

    mirror_manifest.write(
        Manifest(path=source.path, scenarios=()), tmp_path / "bridge.toml", tmp_path
    )

    assert (tmp_path / "kept").read_bytes() == before


def test_a_bundle_is_not_begun_in_a_prepared_file(project: Project) -> None:
    """A link under the name that an unfinished bundle once had leaves its target alone."""
    available.engine("bubblewrap")
    assert project.run("run", "good", "--engine", "bubblewrap").returncode == 0
    outside = project.top.parent / "outside/.gitignore"
    project.path(".good.isosmoke.tar.gz.unfinished").symlink_to(outside)

    done = project.run("bundle", "good")

    assert done.returncode == 0, done.stderr
    assert outside.read_text() == "precious\n"
    assert project.path("good.isosmoke.tar.gz").is_file()


def test_a_sweep_leaves_what_a_link_in_the_scratch_folder_leads_to(project: Project) -> None:
    """Neither the link nor the empty folders in its target are taken for a dead run's."""
    outside = project.top.parent / "outside"
    (outside / "work-0/work").mkdir(parents=True)
    project.state.mkdir()
    (project.state / "scratch").mkdir()
    (project.state / "scratch/dead").symlink_to(outside)
    before = untouched(project)

    done = project.run("sweep")

    assert done.returncode == 0, done.stderr
    assert untouched(project) == before


def test_a_sweep_does_not_follow_a_link_in_place_of_the_scratch_folder(project: Project) -> None:
    """The folder for scratch is another user's link: nothing in its target is removed."""
    project.state.mkdir()
    (project.state / "scratch").symlink_to(project.top.parent / "outside")
    before = untouched(project)

    done = project.run("sweep")

    assert done.returncode == 2, done.stderr
    assert str(project.state / "scratch") in done.stderr
    assert untouched(project) == before


def test_a_link_is_removed_and_not_its_target(tmp_path: Path) -> None:
    """To remove a link to a folder is to remove the link."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")

    files.remove(tmp_path / "link")

    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_shim_does_not_use_a_folder_behind_a_link(tmp_path: Path) -> None:
    """The private folder of a wg that is a link already is an error."""
    (tmp_path / f"{scenario_shim.lease(os.getpid())}.bridge").symlink_to(tmp_path)

    with pytest.raises(FileExistsError):
        scenario_shim.folder_for(str(tmp_path), os.getpid())


def test_remove_of_what_is_gone_is_harmless(tmp_path: Path) -> None:
    """Two sweeps at once may both try: the second finds nothing and says nothing."""
    files.remove(tmp_path / "gone")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there before stays when the new text cannot be put in its place."""
    (tmp_path / "taken").mkdir()

    assert files.write(tmp_path / "one", "1").read_text() == "1"
    assert files.write(tmp_path / "one", "2").read_text() == "2"
    with pytest.raises(IsADirectoryError):
        files.write(tmp_path / "taken", "text")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "taken"]
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names what was to be written, not the unfinished file beside it."""
    with pytest.raises(FileNotFoundError) as caught:
        files.write(tmp_path / "missing" / "file", "text")

    assert caught.value.filename == str(tmp_path / "missing" / "file")


def test_only_one_process_holds_a_directory_that_others_may_share(tmp_path: Path) -> None:
    """Shared locks go together, and exclude one that is not shared."""
    with (
        files.lock_directory(tmp_path, shared=True),
        files.lock_directory(tmp_path, shared=True, wait=False),
        pytest.raises(BlockingIOError),
        files.lock_directory(tmp_path, wait=False),
    ):
        pass

    with files.lock_directory(tmp_path, wait=False):
        pass


def test_a_lock_file_keeps_its_content(tmp_path: Path) -> None:
    """A lock file is created where it is missing, and never written to."""
    (tmp_path / "there").write_text("text")
    for name in ("there", "new"):
        with files.lock(tmp_path / name):
            pass

    assert [(tmp_path / one).read_text() for one in ("there", "new")] == ["text", ""]


@pytest.mark.parametrize("kind", ["junit", "jsonl"])
@pytest.mark.parametrize("place", ["report", "folder/report"])
def test_a_report_does_not_follow_a_link_out_of_the_repository(
    project: Project, place: str, kind: str
) -> None:
    """A repository may have a link where a report usually goes: nothing is run, nothing written."""
    outside = project.top.parent / "outside"
    (outside / "report").write_text("precious")
    first, _, rest = place.partition("/")
    link(project, first, str(outside / "report" if not rest else outside))
    before = untouched(project)

    done = project.run("run", "good", "--report", f"{kind}={place}")

    assert done.returncode == 2, done.stderr
    assert f"{project.path(place)} leads through a symbolic link" in done.stderr
    assert untouched(project) == before


def test_a_past_report_does_not_follow_a_link_out_of_the_repository(project: Project) -> None:
    """The report of a past run is not written there either."""
    available.engine("bubblewrap")
    outside = project.top.parent / "outside/report"
    outside.write_text("precious")
    project.run("run", "good", "--engine", "bubblewrap")
    link(project, "report", str(outside))

    done = project.run("report", "--as", "junit", "-o", "report")

    assert done.returncode == 2, done.stderr
    assert outside.read_text() == "precious"


def test_a_report_follows_a_link_that_is_the_users_own(project: Project) -> None:
    """Outside of a repository, and from one file of a repository to another, links are followed."""
    available.engine("bubblewrap")
    own = project.top.parent / "own.xml"
    own.symlink_to(project.top.parent / "outside/report.xml")
    link(project, "link.xml", "report.xml")
    project.path("report.xml").write_text("before")
    words = ("--report", f"junit={own}", "--report", "html=link.xml")

    done = project.run("run", "good", "--engine", "bubblewrap", *words)

    assert done.returncode == 0, done.stderr
    assert "<testsuite" in (project.top.parent / "outside/report.xml").read_text()
    assert own.is_symlink()
    assert "<html" in project.path("report.xml").read_text()
