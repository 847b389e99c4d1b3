"""The command line as a user types it: real processes, real sandboxes, exit codes and streams."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.errors import EngineUnavailableError, ExitCode

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

TWO = """
[[scenario]]
name = "good"
script = "good.sh"
owners = ["task-a"]
assertion = "It works."

[[scenario]]
name = "bad"
script = "bad.sh"
owners = ["task-b"]
"""


@pytest.fixture(scope="module", autouse=True)
def _sandboxes() -> None:
    """Skip the module, in the engine's own words, where bubblewrap cannot work."""
    try:
        BubblewrapEngine().preflight()
    except EngineUnavailableError as error:
        if "bubblewrap" in os.environ.get("ISOSMOKE_REQUIRE_ENGINES", ""):
            raise
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a manifest of one scenario that passes and one that fails."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "manifest.toml").write_text(TWO)
    (folder / "good.sh").write_text("echo fine\n")
    (folder / "bad.sh").write_text("echo broken >&2\nexit 3\n")
    return folder


@pytest.fixture
def cli(project: Path, tmp_path: Path) -> Cli:
    """Run `isosmoke` in the project, with a state folder of its own and no wg."""
    environment = environment_of(tmp_path)

    def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "isosmoke", *words],
            cwd=project,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def environment_of(tmp_path: Path) -> Mapping[str, str]:
    """A caller who has a HOME and the system's tools, and nothing else."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "ISOSMOKE_STATE": str(tmp_path / "state"),
    }


def test_run_tells_each_outcome_and_exits_1_for_a_failure(cli: Cli) -> None:
    """A failing scenario is shown with its reason, its output and the command that repeats it."""
    done = cli("run")

    assert done.returncode == ExitCode.BLOCKED
    assert "PASS" in done.stdout
    assert "exit 3: broken" in done.stdout
    assert "repeat  isosmoke run bad" in done.stdout


def test_run_by_name_runs_that_scenario_only(cli: Cli) -> None:
    """A name selects; all that passes exits 0."""
    done = cli("run", "good")

    assert done.returncode == ExitCode.OK
    assert "bad" not in done.stdout


def test_run_by_owner_runs_what_the_task_owns(cli: Cli) -> None:
    """`--owner` selects by task."""
    done = cli("run", "--owner", "task-b", "--json")

    assert [one["name"] for one in json.loads(done.stdout)["scenarios"]] == ["bad"]


def test_run_by_expression_runs_what_it_means(cli: Cli) -> None:
    """`-E` selects by owner, tag, name and image at once."""
    done = cli("run", "-E", "not owner(task-a) and image(host)", "--json")

    assert [one["name"] for one in json.loads(done.stdout)["scenarios"]] == ["bad"]


def test_list_takes_an_expression(cli: Cli) -> None:
    """What is listed is what would be run."""
    assert cli("list", "-E", "name(/^g/)").stdout.splitlines()[0].startswith("good")


def test_json_is_one_document_and_nothing_else_on_stdout(cli: Cli) -> None:
    """`--json` puts the promised fields on stdout and every other word on stderr."""
    done = cli("run", "--json")

    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    bad = next(one for one in document["scenarios"] if one["name"] == "bad")
    assert bad["outcome"] == "FAIL"
    assert bad["exit_code"] == 3
    assert bad["leaks"] == []
    assert {"reason", "seconds", "attempts"} <= bad.keys()
    assert "FAIL" in done.stderr


def test_json_lists_every_leak_with_its_socket(cli: Cli, project: Path) -> None:
    """A process that was left is described by all that is known of it."""
    (project / "good.sh").write_text(
        'python3 -c \'import socket, os, time; s = socket.create_server(("127.0.0.1", 0));'
        " os.fork() == 0 and (os.setsid(), time.sleep(60))'\n"
    )

    document = json.loads(cli("run", "good", "--json").stdout)

    (scenario,) = document["scenarios"]
    (leak,) = scenario["leaks"]
    assert scenario["outcome"] == "LEAK"
    assert leak.keys() == {
        *("pid", "ppid", "argv", "cwd", "exe", "age_seconds", "state", "listens")
    }
    assert leak["argv"][0] == "python3"
    assert leak["ppid"] == 1
    assert leak["cwd"] == str(project)
    assert leak["listens"][0].startswith("tcp 127.0.0.1:")


def test_leaks_report_lets_a_leak_pass_and_still_tells_it(cli: Cli, project: Path) -> None:
    """`--leaks report` changes the verdict, not what is told."""
    (project / "good.sh").write_text("sleep 60 &\n")

    done = cli("run", "good", "--leaks", "report")

    assert done.returncode == ExitCode.OK
    assert "left 1 process: sleep 60" in done.stdout


def test_a_command_after_dashes_is_a_scenario_of_its_own(cli: Cli) -> None:
    """Its output passes through, and its exit code decides."""
    assert "hello" in cli("run", "--", "echo", "hello").stdout
    assert cli("run", "--", "false").returncode == ExitCode.BLOCKED


def test_a_command_that_leaves_a_process_fails(cli: Cli) -> None:
    """The leak verdict is the same for any command, and repeating it names the command."""
    done = cli("run", "--", "sh", "-c", "sleep 60 & echo done")

    assert done.returncode == ExitCode.BLOCKED
    assert "sleep 60" in done.stdout
    assert "isosmoke run -- sh -c 'sleep 60 & echo done'" in done.stdout


def test_all_skipped_exits_77(cli: Cli, project: Path) -> None:
    """Nothing was shown to work, and that is not success."""
    (project / "good.sh").write_text("echo 'no endpoint' >&2; exit 77\n")

    done = cli("run", "good")

    assert done.returncode == ExitCode.ALL_SKIPPED
    assert "no endpoint" in done.stdout


def test_a_leak_under_a_skip_is_no_skip(cli: Cli, project: Path) -> None:
    """What leaves a process behind was not skipped."""
    (project / "good.sh").write_text("sleep 60 & exit 77\n")

    assert cli("run", "good").returncode == ExitCode.BLOCKED


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "nosuch"], ExitCode.NOTHING_SELECTED, "nosuch"),
        (["run", "--owner", "nobody"], ExitCode.NOTHING_SELECTED, "nobody"),
        (["run", "-E", "owner(nobody)"], ExitCode.NOTHING_SELECTED, "nobody"),
        (["list", "-E", "owner(task-a"], ExitCode.USAGE, "  owner(task-a\n              ^\n"),
        (["run", "-E", "all()", "--", "true"], ExitCode.USAGE, "one or the other"),
        (["run", "--manifest", "missing.toml"], ExitCode.USAGE, "missing.toml"),
        (["run", "--binary", "nowhere"], ExitCode.USAGE, "nowhere"),
        (["run", "--"], ExitCode.USAGE, "no command"),
        (["run", "good", "--", "true"], ExitCode.USAGE, "one or the other"),
        (["run", "--timeout", "3"], ExitCode.USAGE, "timeout_seconds"),
        (["run", "--engine", "vmware"], ExitCode.USAGE, "vmware"),
        (["fly"], ExitCode.USAGE, "fly"),
    ],
)
def test_bad_input_is_named_on_stderr_with_its_code(
    cli: Cli, words: list[str], code: int, said: str
) -> None:
    """What is wrong is said in words, on stderr, and nothing is a traceback."""
    done = cli(*words)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_manifest_is_never_a_success(cli: Cli, project: Path) -> None:
    """A manifest without scenarios is named."""
    (project / "manifest.toml").write_text("")

    done = cli("run")

    assert done.returncode == ExitCode.USAGE
    assert "manifest.toml" in done.stderr


def test_the_gates_manifest_comes_before_the_folders_own(cli: Cli, project: Path) -> None:
    """`WG_SMOKE_MANIFEST` is what wg reads, so it is what `run` reads."""
    other = project / "other.toml"
    other.write_text('[[scenario]]\nname = "other"\nscript = "good.sh"\nowners = ["t"]\n')

    done = cli("run", WG_SMOKE_MANIFEST=str(other))

    assert "other" in done.stdout
    assert done.returncode == ExitCode.OK


def test_a_workspace_that_is_home_is_refused(cli: Cli, tmp_path: Path) -> None:
    """HOME would be copied as a whole and seen as a whole."""
    home = tmp_path / "home"
    (home / "manifest.toml").write_text(TWO)
    for name in ("good.sh", "bad.sh"):
        (home / name).write_text("true\n")

    done = cli("run", "--manifest", str(home / "manifest.toml"))

    assert done.returncode == ExitCode.USAGE
    assert "home" in done.stderr


def test_a_binary_for_another_machine_is_refused_before_any_scenario(
    cli: Cli, project: Path
) -> None:
    """One line says why, and nothing ran."""
    foreign = project / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
    foreign.chmod(0o755)

    done = cli("run", "--binary", str(foreign))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "machine 243" in done.stderr
    assert "PASS" not in done.stdout


def test_a_binary_that_its_loader_refuses_is_named(cli: Cli, project: Path) -> None:
    """A missing library is nobody's failing scenario."""
    stand_in = project / "stand-in"
    stand_in.write_text(
        "#!/bin/sh\necho \"/lib/libc.so.6: version 'GLIBC_9.99' not found (required by wg)\" >&2\n"
        "exit 1\n"
    )
    stand_in.chmod(0o755)

    done = cli("run", "--binary", str(stand_in))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "GLIBC_9.99" in done.stderr


def test_wireguards_wg_is_not_taken_for_the_binary(cli: Cli, project: Path) -> None:
    """Two programs have this name; scenarios would fail at the other one without end."""
    stand_in = project / "wg"
    stand_in.write_text("#!/bin/sh\necho 'wireguard-tools v1.0.20210914'\n")
    stand_in.chmod(0o755)

    done = cli("run", "--binary", str(stand_in))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "WireGuard" in done.stderr


def test_the_binary_is_first_on_path_as_wg_and_under_its_own_name(cli: Cli, project: Path) -> None:
    """A stand-in program is found by both names and by WG_BIN."""
    stand_in = project / "stand-in"
    stand_in.write_text("#!/bin/sh\necho standing in\n")
    stand_in.chmod(0o755)
    (project / "good.sh").write_text(
        'test "$(command -v wg)" = "$WG_BIN" && wg && stand-in && "$WG_BIN" --version\n'
    )

    done = cli("run", "good", "--binary", str(stand_in))

    assert done.returncode == ExitCode.OK, done.stdout


def test_list_shows_each_scenario_with_what_it_asserts(cli: Cli) -> None:
    """One line each."""
    done = cli("list")

    assert "good" in done.stdout
    assert "It works." in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_demo_comes_out_as_declared(cli: Cli) -> None:
    """All five outcomes are shown, and each is the declared one."""
    done = cli("demo")

    assert done.returncode == ExitCode.OK, done.stdout
    for outcome in ("PASS", "FAIL", "SKIP", "TIMEOUT", "LEAK"):
        assert outcome in done.stdout


def test_doctor_says_which_engines_work(cli: Cli) -> None:
    """Every engine is named, and a missing wg comes with what to do."""
    done = cli("doctor")

    assert done.returncode == ExitCode.OK
    assert "ok  bubblewrap" in done.stdout
    assert "the host's own network" in done.stdout
    assert "ISOSMOKE_WG" in done.stdout


def test_doctor_tells_a_program_each_fact(cli: Cli, tmp_path: Path) -> None:
    """What was tried is a field of its own, and what could not be is null, with the reason."""
    done = cli("doctor", "--json", DOCKER_HOST=f"unix://{tmp_path}/no.sock")

    document = json.loads(done.stdout)
    engines = {one["name"]: one for one in document["engines"]}
    assert document["schema_version"] == 1
    assert engines["bubblewrap"]["host_network"] is True
    assert engines["docker"]["works"] is False
    assert engines["docker"]["host_network"] is None
    assert f"{tmp_path}/no.sock (DOCKER_HOST)" in engines["docker"]["words"]
    assert "unset DOCKER_HOST" in engines["docker"]["hint"]


def test_without_an_engine_it_exits_125_and_says_what_was_tried(cli: Cli, tmp_path: Path) -> None:
    """A DOCKER_HOST where nobody listens is named; no scenario is."""
    done = cli("run", "--engine", "docker", DOCKER_HOST=f"unix://{tmp_path}/no.sock")

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "no.sock" in done.stderr
    assert "PASS" not in done.stdout


def test_a_daemon_named_by_an_option_is_the_one_of_every_command(cli: Cli, tmp_path: Path) -> None:
    """It comes before what variables name, and is given again in the line that repeats."""
    host = f"unix://{tmp_path}/no.sock"

    looked = cli("--host", host, "doctor", DOCKER_HOST="ssh://box", CONTAINER_HOST="ssh://box")
    ran = cli("--host", host, "run", "bad", DOCKER_HOST="ssh://box")

    assert looked.stdout.count(f"no daemon at {host} (--host)") == len(("docker", "podman"))
    assert f"isosmoke --host {host} run bad" in ran.stdout


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--context", "nope"), ExitCode.INFRASTRUCTURE, "--context names the Docker context"),
        (("--context", "a", "--host", "unix:///b"), ExitCode.USAGE, "--host and --context"),
    ],
)
def test_a_daemon_that_cannot_be_named_so_is_refused(
    cli: Cli, words: tuple[str, ...], code: int, told: str
) -> None:
    """An unknown context never becomes another daemon, nor do two options."""
    done = cli(*words, "run", "--engine", "docker")

    assert done.returncode == code
    assert told in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["list"], ["--version"], ["run", "--help"]])
def test_light_commands_import_nothing_heavy(
    project: Path, tmp_path: Path, words: list[str]
) -> None:
    """Help and list do not wait for docker, testcontainers or httpx."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "isosmoke", *words],
        cwd=project,
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"docker", "testcontainers", "httpx", "requests"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_a_signal_ends_the_run_in_order(
    project: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """What ran and what had not begun is NOT_RUN, and the document is whole."""
    process = subprocess.Popen(
        [sys.executable, "-m", "isosmoke", "run", "--json", "--", "sh", "-c", "echo up; sleep 60"],
        cwd=project,
        env=environment_of(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "up" not in process.stderr.readline():
        pass

    process.send_signal(number)
    stdout, _ = process.communicate()

    assert process.returncode == code
    assert [one["outcome"] for one in json.loads(stdout)["scenarios"]] == ["NOT_RUN"]


def test_nohup_is_respected(project: Path, tmp_path: Path) -> None:
    """A run that its caller made deaf to SIGHUP goes on when the terminal is gone."""
    words = ("run", "--", "sh", "-c", "echo up; read -r _ < gate; echo on")
    os.mkfifo(project / "gate")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "-", sys.executable, "-m", "isosmoke", *words],
        cwd=project,
        env=environment_of(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "up" not in process.stdout.readline():
        pass

    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate()

    assert process.returncode == ExitCode.TERMINATED, told
