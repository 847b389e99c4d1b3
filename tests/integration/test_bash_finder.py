"""A scenario's script is run by the system's bash, whatever comes first on the caller's PATH."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest

from isosmoke.errors import EngineError
from isosmoke.host import system_programs
from isosmoke.rootfs_images import importer
from isosmoke.runner import bash_finder
from isosmoke.sandbox.spec import HOST_IMAGE
from support import available, root_filesystems
from support.project import BAD, Project

LIAR = "#!/bin/sh\nexit 0\n"
engines = pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
users = pytest.mark.parametrize("who", sorted(available.USERS))


def lying(folder: Path, *names: str) -> Path:
    """A directory of programs that do nothing and say that all is well."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(LIAR)
        (folder / name).chmod(0o755)
    return folder


def first_on_path(folder: Path) -> str:
    """A PATH on which this directory comes before the system's."""
    return f"{folder}:{available.PATH}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with scenarios that pass, fail and skip."""
    return Project.within(tmp_path)


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A directory outside the project with a bash, and more, that does nothing."""
    return lying(tmp_path / "fakes", "bash", "sh", "env", "timeout", "bwrap", "git")


@engines
@users
def test_fake_bash_first_on_path_opens_no_gate(engine: str, who: str) -> None:
    """The scenario fails and the gate is shut, as root and as an ordinary user."""
    user = available.USERS[who]()
    user.must_have(engine)
    with TemporaryDirectory(prefix="isosmoke-tests-") as name:
        place = Path(name)
        project = Project.within(place)
        user.settle_in(place)
        fakes = lying(place / "fakes", "bash", "sh", "timeout", "bwrap", "git")
        user.take_over(place)
        done = subprocess.run(
            user.command("gate", "task-b", "--engine", engine),
            cwd=project.top,
            env={**user.environment(place), "PATH": first_on_path(fakes)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1, done.stderr
    assert "FAIL bad: exit 3: broken" in done.stderr
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash, sh, timeout" in done.stderr


@engines
def test_fake_bash_first_on_path_passes_no_run(project: Project, fakes: Path, engine: str) -> None:
    """A plain run fails as well, says what shadows the system, and has it in its record."""
    available.engine(engine)
    done = project.run("run", "bad", "--engine", engine, PATH=first_on_path(fakes))

    assert done.returncode == 1, done.stdout
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash" in done.stdout
    (file,) = project.top.glob(".isosmoke/runs/*/run.json")
    assert any(str(fakes) in one for one in json.loads(file.read_text())["warnings"])


@engines
def test_bash_of_the_binarys_folder_runs_no_script(
    project: Project, tmp_path: Path, engine: str
) -> None:
    """A binary under test that is named bash, and so lies first on PATH, runs no script."""
    available.engine(engine)
    binary = lying(tmp_path / "built", "bash") / "bash"
    done = project.run("run", "bad", "--engine", engine, "--binary", str(binary))

    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize("key", ["env = { PATH = '{fakes}:/usr/bin:/bin' }", "pass_env = ['PATH']"])
def test_path_of_a_scenario_chooses_no_interpreter(project: Project, fakes: Path, key: str) -> None:
    """What a manifest says of PATH is the script's, not its interpreter's."""
    available.engine("bubblewrap")
    project.manifest.write_text(BAD + key.replace("{fakes}", str(fakes)) + "\n")
    done = project.run("gate", "task-b", PATH=first_on_path(fakes))

    assert done.returncode == 1, done.stderr
    assert "FAIL bad: exit 3" in done.stderr


def test_clean_image_has_its_own_interpreter(project: Project, fakes: Path) -> None:
    """In an image that the daemon has, bash is looked for in the image's own directories."""
    available.engine("docker")
    image = os.environ.get("ISOSMOKE_IMAGE")
    if not image:
        pytest.skip("ISOSMOKE_IMAGE names no image")
    keys = f"image = '{image}'\nenv = {{ PATH = '{project.top}/fakes:/usr/bin:/bin' }}\n"
    lying(project.path("fakes"), "bash")
    project.manifest.write_text(BAD + keys)
    done = project.run("gate", "task-b", PATH=first_on_path(fakes))

    assert done.returncode == 1, done.stderr
    assert "FAIL bad: exit 3" in done.stderr


def test_repro_runs_the_script_by_the_system(project: Project, fakes: Path) -> None:
    """The script runs first, and the shell after it is a shell."""
    available.engine("bubblewrap")
    done = subprocess.run(
        project.command("repro", "bad", "--after"),
        cwd=project.top,
        env={**project.environment(), "PATH": first_on_path(fakes)},
        input="echo typed; exit 5\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert "FAIL: exit 3" in done.stderr
    assert done.stdout == "typed\n"
    assert done.returncode == 5
    assert f'{Path("/bin/bash").resolve()} "$ISOSMOKE_SCRIPT"' in done.stderr


def test_receipt_binds_the_interpreter(project: Project) -> None:
    """Path and hash of the system's bash are in the receipt, and it holds."""
    available.engine("bubblewrap")
    assert project.run("gate", "task-a").returncode == 0
    (file,) = project.receipts()
    real = Path("/bin/bash").resolve()
    digest = hashlib.sha256(real.read_bytes()).hexdigest()

    configuration = json.loads(file.read_text())["predicate"]["configuration"]
    assert {"name": f"interpreter {real}", "digest": {"sha256": digest}} in configuration
    assert project.run("receipt", "verify", str(file)).returncode == 0


def test_receipt_names_an_interpreter_that_changed(project: Project) -> None:
    """Another hash of the interpreter breaks a receipt; one that names none holds as before."""
    available.engine("bubblewrap")
    assert project.run("gate", "task-a").returncode == 0
    (file,) = project.receipts()
    document = json.loads(file.read_text())
    named = document["predicate"]["configuration"]
    (bound,) = [one for one in named if one["name"].startswith("interpreter ")]
    bound["digest"]["sha256"] = "0" * 64
    file.write_text(json.dumps(document))
    broken = project.run("receipt", "verify", str(file))

    assert broken.returncode == 1
    assert f"{bound['name']} changed" in broken.stdout

    document["predicate"]["configuration"].remove(bound)
    file.write_text(json.dumps(document))
    assert project.run("receipt", "verify", str(file)).returncode == 0


def test_receipt_names_an_interpreter_of_an_image_that_changed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is kept by name is bound by what runs its scripts, too."""
    available.engine("bubblewrap")
    monkeypatch.setenv("ISOSMOKE_STATE", str(project.state))
    kept, _ = importer.add(
        root_filesystems.small(tmp_path / "system", "dirname"), "small", replace=False
    )
    text = project.manifest.read_text().replace(
        'script = "scenarios/good.sh"\n', 'script = "scenarios/good.sh"\nimage = "small"\n'
    )
    project.manifest.write_text(text)
    done = project.run("gate", "task-a", ISOSMOKE_WG="")
    assert done.returncode == 0, done.stderr
    (file,) = project.receipts()
    bash = kept.folder / "usr/bin/bash"
    bash.chmod(0o755)
    with bash.open("ab") as content:
        content.write(b"\0")
    broken = project.run("receipt", "verify", str(file))

    assert broken.returncode == 1
    assert "interpreter /usr/bin/bash in small changed" in broken.stdout


def test_image_without_bash_is_an_error_in_words(project: Project, tmp_path: Path) -> None:
    """What is missing, where it was looked for and what to do are said; nothing passes."""
    available.engine("bubblewrap")
    system = root_filesystems.small(tmp_path / "system", "ls")
    (system / "usr/bin/bash").unlink()
    project.manifest.write_text(BAD + f"image = 'rootfs:{system}'\n")
    done = project.run("gate", "task-b", ISOSMOKE_WG="")

    assert done.returncode == 125, done.stderr
    assert "ERROR bad: " in done.stderr
    assert "has no bash" in done.stderr
    assert "install bash" in done.stderr


def test_bash_that_the_sandbox_hides_is_none(tmp_path: Path) -> None:
    """A link of an image into what the sandbox shows otherwise leads to no interpreter."""
    system = root_filesystems.small(tmp_path / "system", "ls")
    (system / "work").mkdir()
    shutil.move(system / "usr/bin/bash", system / "work/bash")
    (system / "usr/bin/bash").symlink_to("/work/bash")
    image = f"rootfs:{system}"

    assert bash_finder.find(image, tmp_path).path == "/work/bash"
    with pytest.raises(EngineError, match="has no bash"):
        bash_finder.find(image, tmp_path, [PurePosixPath("/work")])


def test_bash_inside_the_workspace_is_none() -> None:
    """A workspace that the system's directories lie in has no interpreter of its own."""
    with pytest.raises(EngineError, match="nobody but the administrator"):
        bash_finder.find(HOST_IMAGE, Path("/"), [PurePosixPath("/usr"), PurePosixPath("/bin")])


def test_program_that_its_user_could_replace_is_not_protected(tmp_path: Path) -> None:
    """A directory that everybody may write to protects nothing; the system's own does."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    assert system_programs.is_protected(Path("/usr/bin"))
    assert not system_programs.is_protected(tmp_path / "open")


def test_git_of_the_system_comes_before_that_of_path(fakes: Path, tmp_path: Path) -> None:
    """What isosmoke asks of git no stand-in on PATH answers; without a git there is none."""
    real = shutil.which("git", path="/bin:/usr/bin")
    if real is None:
        pytest.skip("the system has no git")

    assert system_programs.find_for(first_on_path(fakes), "git") == Path(real)
    assert system_programs.find_for(str(tmp_path), "git") is None


def test_program_that_only_a_path_has_is_not_taken_from_the_workspace(tmp_path: Path) -> None:
    """Where the system has none of that name, an entry outside the workspace may have it."""
    inside = lying(tmp_path / "work/bin", "no-such-program")
    outside = lying(tmp_path / "own/bin", "no-such-program")
    path = f"{inside}:{outside}"

    found = system_programs.find_for(path, "no-such-program", apart=[tmp_path / "work"])
    assert found == outside / "no-such-program"


def test_wg_that_path_brings_from_the_workspace_is_named(project: Project) -> None:
    """What is tested is named by path and hash where the workspace itself supplies it."""
    available.engine("bubblewrap")
    done = project.run("gate", "task-a", PATH=first_on_path(project.top), ISOSMOKE_WG="")
    digest = hashlib.sha256(project.binary.read_bytes()).hexdigest()

    assert done.returncode == 0, done.stderr
    assert f"comes from the workspace by PATH: {project.binary} (sha256 {digest[:12]})" in (
        done.stderr
    )
    assert f"WARNING: PATH entry {project.top} lies inside the workspace" in done.stderr


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_relative_entry_is_one_of_the_workspace(project: Project, entry: str) -> None:
    """An entry that means the current directory, or one below it, is named."""
    available.engine("bubblewrap")
    done = project.run("gate", "task-a", "--json", PATH=f"{entry}:{available.PATH}")
    document = json.loads(done.stdout)

    assert any("lies inside the workspace" in one for one in document["lines"])
    assert any("lies inside the workspace" in one for one in document["run"]["warnings"])
    (file,) = project.receipts()
    kept = json.loads(file.read_text())["predicate"]["isosmoke"]["warnings"]
    assert any("lies inside the workspace" in one for one in kept)


def test_plain_path_has_no_warning(project: Project) -> None:
    """With nothing but the system's programs nothing is said."""
    available.engine("bubblewrap")

    assert "WARNING" not in project.run("gate", "task-a").stderr


@pytest.mark.parametrize("key", ["env = { BASH_ENV = '/x' }", "pass_env = ['LD_PRELOAD']"])
def test_variable_that_runs_other_code_first_is_named(project: Project, key: str) -> None:
    """A manifest may hand bash another file to run; that is not silent."""
    available.engine("bubblewrap")
    project.manifest.write_text(BAD + key + "\n")
    done = project.run("gate", "task-b")

    name = "BASH_ENV" if "BASH_ENV" in key else "LD_PRELOAD"
    assert (
        f"WARNING: variables make other code run before the script of bad ({name})" in done.stderr
    )


def test_exported_functions_and_bash_variables_of_the_caller_reach_no_script(
    project: Project, tmp_path: Path
) -> None:
    """A caller's own bash settings change nothing of what a script does."""
    available.engine("bubblewrap")
    first = tmp_path / "first.sh"
    first.write_text("exit 0\n")
    project.path("scenarios/bad.sh").write_text("false || exit 3\n")
    exported = {"BASH_FUNC_false%%": "() { exit 0; }", "SHELLOPTS": "noexec"}
    done = project.run("run", "bad", BASH_ENV=str(first), ENV=str(first), **exported)

    assert done.returncode == 1, done.stdout


def test_doctor_names_the_interpreter_and_what_shadows_it(project: Project, fakes: Path) -> None:
    """It tells which bash runs scripts, and which PATH entry is to be looked at."""
    done = project.run("doctor", "--json", PATH=first_on_path(fakes))
    findings = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}

    assert findings["interpreter"]["words"].startswith(str(Path("/bin/bash").resolve()))
    assert not findings["PATH"]["good"]
    assert str(fakes) in findings["PATH"]["words"]


def test_fake_bash_first_on_path_passes_no_item_of_pytest(project: Project, fakes: Path) -> None:
    """The items that pytest makes of a manifest run by the system's bash as well."""
    available.engine("bubblewrap")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "manifest.toml"],
        cwd=project.top,
        env={**project.environment(), "PATH": first_on_path(fakes)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 failed, 1 passed, 1 skipped" in done.stdout


def test_fake_bwrap_first_on_path_is_not_used(project: Project, fakes: Path) -> None:
    """Only the variable that is meant for it names another bwrap, by an absolute path."""
    available.engine("bubblewrap")
    path = first_on_path(fakes)
    found = json.loads(project.run("doctor", "--json", PATH=path).stdout)["engines"]
    (words,) = [one["where"] for one in found if one["name"] == "bubblewrap"]
    relative = project.run("run", "good", ISOSMOKE_BWRAP="bwrap")
    lying = project.run("run", "good", ISOSMOKE_BWRAP=str(fakes / "bwrap"))

    assert not words.startswith(str(fakes))
    assert relative.returncode == 125
    assert "ISOSMOKE_BWRAP: bwrap is not the absolute path of a program" in relative.stderr
    assert lying.returncode == 125
