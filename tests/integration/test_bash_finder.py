"""The interpreter of a scenario's script: the system's bash, with any PATH of the caller."""

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

FAKE = "#!/bin/sh\nexit 0\n"
engines = pytest.mark.parametrize("engine", ["bubblewrap", "docker"])
users = pytest.mark.parametrize("user_name", sorted(available.USERS))


def create_fakes(directory: Path, *names: str) -> Path:
    """Create a directory of programs that do nothing and exit with 0."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (directory / name).write_text(FAKE)
        (directory / name).chmod(0o755)
    return directory


def prepend_to_path(directory: Path) -> str:
    """Return a PATH on which this directory precedes the system's directories."""
    return f"{directory}:{available.PATH}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with scenarios that pass, fail and skip."""
    return Project.within(tmp_path)


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """Return a directory outside the project with fake programs, such as bash."""
    return create_fakes(tmp_path / "fakes", "bash", "sh", "env", "timeout", "bwrap", "git")


@engines
@users
def test_fake_bash_on_path_does_not_open_gate(engine: str, user_name: str) -> None:
    """The scenario fails and the gate is shut, for root and for an ordinary user."""
    user = available.USERS[user_name]()
    user.require_engine(engine)
    with TemporaryDirectory(prefix="isosmoke-tests-") as name:
        directory = Path(name)
        project = Project.within(directory)
        user.create_directories(directory)
        fakes = create_fakes(directory / "fakes", "bash", "sh", "timeout", "bwrap", "git")
        user.give_ownership(directory)
        done = subprocess.run(
            user.command("gate", "task-b", "--engine", engine),
            cwd=project.top,
            env={**user.environment(directory), "PATH": prepend_to_path(fakes)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1, done.stderr
    assert "FAIL bad: exit 3: broken" in done.stderr
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash, sh, timeout" in done.stderr


@engines
def test_fake_bash_on_path_does_not_pass_run(project: Project, fakes: Path, engine: str) -> None:
    """A run fails as well, with a warning in its output and in its record."""
    available.require_engine(engine)
    done = project.run("run", "bad", "--engine", engine, PATH=prepend_to_path(fakes))

    assert done.returncode == 1, done.stdout
    assert f"WARNING: PATH entry {fakes} shadows system programs: bash" in done.stdout
    (file,) = project.top.glob(".isosmoke/runs/*/run.json")
    assert any(str(fakes) in warning for warning in json.loads(file.read_text())["warnings"])


@engines
def test_binary_named_bash_runs_no_script(project: Project, tmp_path: Path, engine: str) -> None:
    """A binary under test that is named bash is first on PATH, but runs no script."""
    available.require_engine(engine)
    binary = create_fakes(tmp_path / "built", "bash") / "bash"
    done = project.run("run", "bad", "--engine", engine, "--binary", str(binary))

    assert done.returncode == 1, done.stdout


@pytest.mark.parametrize(
    "key",
    ["env = { PATH = '{fakes}:/usr/bin:/bin' }", "pass_env = ['PATH']", "plain_env = ['ENV']"],
)
def test_manifest_cannot_replace_programs(project: Project, fakes: Path, key: str) -> None:
    """The gate is shut if a manifest sets a variable that selects the programs of a script."""
    project.manifest.write_text(BAD + key.replace("{fakes}", str(fakes)) + "\n")
    done = project.run("gate", "task-b")

    assert done.returncode == 2, done.stderr
    assert "gate: SHUT for 'task-b'" in done.stdout + done.stderr
    assert "which decides what code runs in place of the script's" in done.stdout + done.stderr


def test_clean_image_has_its_own_interpreter(project: Project, fakes: Path) -> None:
    """In an image of the daemon, bash is searched in the directories of the image."""
    available.require_engine("docker")
    image = os.environ.get("ISOSMOKE_IMAGE")
    if not image:
        pytest.skip("ISOSMOKE_IMAGE names no image")
    project.manifest.write_text(f"{BAD}image = '{image}'\n")
    done = project.run("gate", "task-b", PATH=prepend_to_path(fakes))

    assert done.returncode == 1, done.stderr
    assert "FAIL bad: exit 3" in done.stderr


def test_repro_runs_script_with_bash_of_system(project: Project, fakes: Path) -> None:
    """The script and the shell after it are run by the system's bash."""
    available.require_engine("bubblewrap")
    done = subprocess.run(
        project.command("repro", "bad", "--after"),
        cwd=project.top,
        env={**project.environment(), "PATH": prepend_to_path(fakes)},
        input="echo typed; exit 5\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert "FAIL: exit 3" in done.stderr
    assert done.stdout == "typed\n"
    assert done.returncode == 5
    assert f'{Path("/bin/bash").resolve()} "$ISOSMOKE_SCRIPT"' in done.stderr


def test_receipt_has_the_interpreter(project: Project) -> None:
    """The receipt has path and hash of the system's bash, and is valid."""
    available.require_engine("bubblewrap")
    assert project.run("gate", "task-a").returncode == 0
    (file,) = project.receipts()
    real = Path("/bin/bash").resolve()
    digest = hashlib.sha256(real.read_bytes()).hexdigest()

    configuration = json.loads(file.read_text())["predicate"]["configuration"]
    assert {"name": f"interpreter {real}", "digest": {"sha256": digest}} in configuration
    assert project.run("receipt", "verify", str(file)).returncode == 0


def test_changed_interpreter_invalidates_receipt(project: Project) -> None:
    """Another hash of the interpreter invalidates a receipt; a receipt without one is valid."""
    available.require_engine("bubblewrap")
    assert project.run("gate", "task-a").returncode == 0
    (file,) = project.receipts()
    document = json.loads(file.read_text())
    configuration = document["predicate"]["configuration"]
    (interpreter,) = [entry for entry in configuration if entry["name"].startswith("interpreter ")]
    interpreter["digest"]["sha256"] = "0" * 64
    file.write_text(json.dumps(document))
    broken = project.run("receipt", "verify", str(file))

    assert broken.returncode == 1
    assert f"{interpreter['name']} changed" in broken.stdout

    document["predicate"]["configuration"].remove(interpreter)
    file.write_text(json.dumps(document))
    assert project.run("receipt", "verify", str(file)).returncode == 0


def test_changed_interpreter_of_image_invalidates_receipt(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receipt of an imported image includes the image's interpreter."""
    available.require_engine("bubblewrap")
    monkeypatch.setenv("ISOSMOKE_STATE", str(project.state))
    image, _ = importer.add(
        root_filesystems.create_small(tmp_path / "system", "dirname"), "small", replace=False
    )
    text = project.manifest.read_text().replace(
        'script = "scenarios/good.sh"\n', 'script = "scenarios/good.sh"\nimage = "small"\n'
    )
    project.manifest.write_text(text)
    done = project.run("gate", "task-a", ISOSMOKE_WG="")
    assert done.returncode == 0, done.stderr
    (file,) = project.receipts()
    bash = image.folder / "usr/bin/bash"
    bash.chmod(0o755)
    with bash.open("ab") as content:
        content.write(b"\0")
    broken = project.run("receipt", "verify", str(file))

    assert broken.returncode == 1
    assert "interpreter /usr/bin/bash in small changed" in broken.stdout


def test_image_without_bash_is_an_error(project: Project, tmp_path: Path) -> None:
    """The error names the missing program and has a hint; no scenario passes."""
    available.require_engine("bubblewrap")
    system = root_filesystems.create_small(tmp_path / "system", "ls")
    (system / "usr/bin/bash").unlink()
    project.manifest.write_text(BAD + f"image = 'rootfs:{system}'\n")
    done = project.run("gate", "task-b", ISOSMOKE_WG="")

    assert done.returncode == 125, done.stderr
    assert "ERROR bad: " in done.stderr
    assert "has no bash" in done.stderr
    assert "install bash" in done.stderr


def test_bash_hidden_by_sandbox_is_not_found(tmp_path: Path) -> None:
    """A link in an image to a directory that the sandbox replaces is no interpreter."""
    system = root_filesystems.create_small(tmp_path / "system", "ls")
    (system / "work").mkdir()
    shutil.move(system / "usr/bin/bash", system / "work/bash")
    (system / "usr/bin/bash").symlink_to("/work/bash")
    image = f"rootfs:{system}"

    assert bash_finder.find(image, tmp_path).path == "/work/bash"
    with pytest.raises(EngineError, match="has no bash"):
        bash_finder.find(image, tmp_path, [PurePosixPath("/work")])


def test_bash_in_workspace_is_not_found() -> None:
    """A workspace that includes the system's directories has no interpreter."""
    with pytest.raises(EngineError, match="only the administrator"):
        bash_finder.find(HOST_IMAGE, Path("/"), [PurePosixPath("/usr"), PurePosixPath("/bin")])


def test_program_in_writable_directory_is_not_protected(tmp_path: Path) -> None:
    """A directory that all users may write to is not protected; the system's directories are."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    assert system_programs.is_protected(Path("/usr/bin"))
    assert not system_programs.is_protected(tmp_path / "open")


def test_git_of_system_precedes_that_of_path(fakes: Path, tmp_path: Path) -> None:
    """A replacement of git on PATH is ignored; without a git none is found."""
    real = shutil.which("git", path="/bin:/usr/bin")
    if real is None:
        pytest.skip("the system has no git")

    assert system_programs.find_on_path(prepend_to_path(fakes), "git") == Path(real)
    assert system_programs.find_on_path(str(tmp_path), "git") is None


def test_program_on_path_is_not_taken_from_workspace(tmp_path: Path) -> None:
    """A program that the system lacks is taken from PATH, but not from the workspace."""
    inside = create_fakes(tmp_path / "work/bin", "no-such-program")
    outside = create_fakes(tmp_path / "own/bin", "no-such-program")
    path = f"{inside}:{outside}"

    program = system_programs.find_on_path(path, "no-such-program", exclude=[tmp_path / "work"])
    assert program == outside / "no-such-program"


def test_wg_from_workspace_is_reported(project: Project) -> None:
    """A tested binary that PATH found in the workspace is reported with path and hash."""
    available.require_engine("bubblewrap")
    done = project.run("gate", "task-a", PATH=prepend_to_path(project.top), ISOSMOKE_WG="")
    digest = hashlib.sha256(project.binary.read_bytes()).hexdigest()

    assert done.returncode == 0, done.stderr
    assert f"was found in the workspace by PATH: {project.binary} (sha256 {digest[:12]})" in (
        done.stderr
    )
    assert f"WARNING: PATH entry {project.top} lies inside the workspace" in done.stderr


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_relative_path_entry_is_reported(project: Project, entry: str) -> None:
    """A PATH entry for the current directory, or one below it, is reported."""
    available.require_engine("bubblewrap")
    done = project.run("gate", "task-a", "--json", PATH=f"{entry}:{available.PATH}")
    document = json.loads(done.stdout)

    assert any("lies inside the workspace" in line for line in document["lines"])
    assert any("lies inside the workspace" in warning for warning in document["run"]["warnings"])
    (file,) = project.receipts()
    warnings = json.loads(file.read_text())["predicate"]["isosmoke"]["warnings"]
    assert any("lies inside the workspace" in warning for warning in warnings)


def test_plain_path_has_no_warning(project: Project) -> None:
    """There is no warning if PATH has only the system's directories."""
    available.require_engine("bubblewrap")

    assert "WARNING" not in project.run("gate", "task-a").stderr


@pytest.mark.parametrize("key", ["env = { PS4 = '$(id)' }", "pass_env = ['LD_LIBRARY_PATH']"])
def test_variable_that_runs_other_code_is_reported(project: Project, key: str) -> None:
    """A manifest may set a variable that is also used to run other code, with a warning."""
    available.require_engine("bubblewrap")
    project.manifest.write_text(BAD + key + "\n")
    done = project.run("gate", "task-b")

    name = "PS4" if "PS4" in key else "LD_LIBRARY_PATH"
    assert (
        f"WARNING: variables make other code run before the script of bad ({name})" in done.stderr
    )


def test_bash_settings_of_caller_do_not_affect_script(project: Project, tmp_path: Path) -> None:
    """The caller's bash settings are not passed to a script."""
    available.require_engine("bubblewrap")
    first = tmp_path / "first.sh"
    first.write_text("exit 0\n")
    project.path("scenarios/bad.sh").write_text("false || exit 3\n")
    exported = {"BASH_FUNC_false%%": "() { exit 0; }", "SHELLOPTS": "noexec"}
    done = project.run("run", "bad", BASH_ENV=str(first), ENV=str(first), **exported)

    assert done.returncode == 1, done.stdout


def test_doctor_reports_interpreter_and_shadowing(project: Project, fakes: Path) -> None:
    """The report has the bash that runs scripts and the PATH entries to be checked."""
    done = project.run("doctor", "--json", PATH=prepend_to_path(fakes))
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}

    assert findings["interpreter"]["words"].startswith(str(Path("/bin/bash").resolve()))
    assert not findings["PATH"]["good"]
    assert str(fakes) in findings["PATH"]["words"]


def test_fake_bash_on_path_does_not_pass_pytest_item(project: Project, fakes: Path) -> None:
    """The pytest items of a manifest are run by the system's bash as well."""
    available.require_engine("bubblewrap")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "manifest.toml"],
        cwd=project.top,
        env={**project.environment(), "PATH": prepend_to_path(fakes)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 failed, 1 passed, 1 skipped" in done.stdout


def test_fake_bwrap_on_path_is_not_used(project: Project, fakes: Path) -> None:
    """Only an absolute path in its own variable selects another bwrap."""
    available.require_engine("bubblewrap")
    path = prepend_to_path(fakes)
    engines = json.loads(project.run("doctor", "--json", PATH=path).stdout)["engines"]
    (program,) = [engine["where"] for engine in engines if engine["name"] == "bubblewrap"]
    relative = project.run("run", "good", ISOSMOKE_BWRAP="bwrap")
    fake = project.run("run", "good", ISOSMOKE_BWRAP=str(fakes / "bwrap"))

    assert not program.startswith(str(fakes))
    assert relative.returncode == 125
    assert "ISOSMOKE_BWRAP: bwrap is not the absolute path of a program" in relative.stderr
    assert fake.returncode == 125
