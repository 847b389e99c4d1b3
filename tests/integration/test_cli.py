"""The command line with real processes and sandboxes: exit codes and output streams."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from isosmoke.cli.running import COMMAND_OPTIONS
from isosmoke.engines.bubblewrap.engine import BubblewrapEngine
from isosmoke.errors import EngineUnavailableError, ExitCode
from support import forked_commands

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
    """Skip the module with the engine's message if bubblewrap is unavailable."""
    try:
        BubblewrapEngine().preflight()
    except EngineUnavailableError as error:
        if "bubblewrap" in os.environ.get("ISOSMOKE_REQUIRE_ENGINES", ""):
            raise
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with a manifest of one scenario that passes and one that fails."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "manifest.toml").write_text(TWO)
    (directory / "good.sh").write_text("echo fine\n")
    (directory / "bad.sh").write_text("echo broken >&2\nexit 3\n")
    return directory


@pytest.fixture
def cli(project: Path, tmp_path: Path) -> Cli:
    """Return a function that runs `isosmoke` in the project, with its own state and no wg."""
    environment = create_environment(tmp_path)

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return forked_commands.run(arguments, project, {**environment, **variables})

    return run


def create_environment(tmp_path: Path) -> Mapping[str, str]:
    """Return the environment of a user with a HOME and the system's tools only."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "ISOSMOKE_STATE": str(tmp_path / "state"),
    }


def test_failure_is_reported_and_exits_1(cli: Cli) -> None:
    """A failing scenario is shown with its reason and the command that repeats it."""
    done = cli("run")

    assert done.returncode == ExitCode.BLOCKED
    assert "PASS" in done.stdout
    assert "exit 3: broken" in done.stdout
    assert "repeat  isosmoke run bad" in done.stdout


def test_run_by_name_runs_that_scenario_only(cli: Cli) -> None:
    """A name selects one scenario, and the run exits 0 if it passes."""
    done = cli("run", "good")

    assert done.returncode == ExitCode.OK
    assert "bad" not in done.stdout


def test_run_by_owner_selects_the_scenarios_of_a_task(cli: Cli) -> None:
    """`--owner` selects scenarios by task."""
    done = cli("run", "--owner", "task-b", "--json")

    assert [entry["name"] for entry in json.loads(done.stdout)["scenarios"]] == ["bad"]


def test_run_by_expression_selects_matching_scenarios(cli: Cli) -> None:
    """`-E` combines conditions on owner and image."""
    done = cli("run", "-E", "not owner(task-a) and image(host)", "--json")

    assert [entry["name"] for entry in json.loads(done.stdout)["scenarios"]] == ["bad"]


def test_list_accepts_an_expression(cli: Cli) -> None:
    """`list` selects the same scenarios as `run`."""
    assert cli("list", "-E", "name(/^g/)").stdout.splitlines()[0].startswith("good")


def test_json_is_the_only_output_on_stdout(cli: Cli) -> None:
    """`--json` prints one document on stdout and all other output on stderr."""
    done = cli("run", "--json")

    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    bad = next(entry for entry in document["scenarios"] if entry["name"] == "bad")
    assert bad["outcome"] == "FAIL"
    assert bad["exit_code"] == 3
    assert bad["leaks"] == []
    assert {"reason", "seconds", "attempts"} <= bad.keys()
    assert "FAIL" in done.stderr


def test_json_lists_every_leak_with_its_socket(cli: Cli, project: Path) -> None:
    """A leaked process is described with its parent, command, directory and socket."""
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


def test_leaks_report_passes_and_reports_the_leak(cli: Cli, project: Path) -> None:
    """`--leaks report` changes the verdict, not the report."""
    (project / "good.sh").write_text("sleep 60 &\n")

    done = cli("run", "good", "--leaks", "report")

    assert done.returncode == ExitCode.OK
    assert "left 1 process: sleep 60" in done.stdout


def test_command_after_dashes_runs_as_a_scenario(cli: Cli) -> None:
    """The output of the command passes through, and its exit code decides the outcome."""
    assert "hello" in cli("run", "--", "echo", "hello").stdout
    assert cli("run", "--", "false").returncode == ExitCode.BLOCKED


def test_options_of_a_command(cli: Cli, tmp_path: Path) -> None:
    """A command gets the variables, files, network and limits of its options."""
    token = tmp_path / "token"
    token.write_text("hunter2hunter2")
    line = 'echo "=$A=$HOME_TOWN=" $(cat "$1"); test "$(grep -c : /proc/net/dev)" = 1'
    options = (
        *("--env", "A=b=c", "--pass-env", "HOME_TOWN", "--pass-file", str(token)),
        *("--network", "isolated", "--memory", "512M", "--processes", "200", "--timeout", "100"),
    )
    done = cli(
        *("run", "--json", *options, "--", "sh", "-c", line, "sh", str(token)),
        HOME_TOWN="Ferney-Voltaire-1759",
    )
    (scenario,) = json.loads(done.stdout)["scenarios"]
    entry = scenario["entry"]

    assert done.returncode == ExitCode.OK, done.stderr
    assert "=b=c=[redacted HOME_TOWN]= [redacted" in done.stderr
    assert entry["limits"]["memory"] == 512 << 20
    assert (entry["limits"]["processes"], entry["timeout_seconds"]) == (200, 100)
    assert entry["network"] == "isolated"


def test_repeat_line_has_the_options_of_a_command(cli: Cli) -> None:
    """The line that repeats a command has its options, on the screen and from the record."""
    options = "--timeout 9 --network isolated --memory 1073741824 --processes 50 --env 'A=b c'"
    expected = f"isosmoke run {options} -- false"
    words = ["--network", "isolated", "--env", "A=b c", "--memory", "1G", "--processes", "50"]
    done = cli("run", *words, "--timeout", "9", "--", "false")

    assert expected in done.stderr
    assert expected.removeprefix("isosmoke run ") in cli("show", "false").stdout


def test_environment_of_isosmoke_does_not_hide_programs(cli: Cli) -> None:
    """A command finds the user's python3, although isosmoke's environment comes first on PATH."""
    own = Path(sys.executable).parent
    done = cli("run", "--", "sh", "-c", "command -v python3", PATH=f"{own}:{os.defpath}")

    assert done.returncode == ExitCode.OK, done.stdout
    assert f"{own}/python3" not in done.stdout


def test_command_has_the_packages_of_python(cli: Cli, project: Path, tmp_path: Path) -> None:
    """A command imports what PYTHONPATH and an editable install in the project refer to."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"module_{name}.py").write_text(f"print('from {name}')\n")
    site = project / ".venv/lib/python3.12/site-packages"
    site.mkdir(parents=True)
    (project / ".venv/bin").mkdir()
    (project / ".venv/pyvenv.cfg").touch()
    (site / "own.pth").write_text(f"{tmp_path / 'two'}\n")
    code = f"import module_one; sys = __import__('sys'); sys.path.append({str(tmp_path / 'two')!r})"
    command = ("python3", "-c", f"{code}; import module_two")
    done = cli("run", "--", *command, PYTHONPATH=str(tmp_path / "one"))

    assert done.returncode == ExitCode.OK, done.stderr
    assert "from one\nfrom two\n" in done.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--memory", "much"], "--memory must be a size"),
        (["--env", "A"], "--pass-env A"),
        (["--env", "1=2"], "--env must be a variable name"),
        (["--pass-env", "NOT_SET_ANYWHERE"], "export NOT_SET_ANYWHERE"),
        (["--pass-file", "/no/such/file"], "does not exist"),
        (["--image", " "], "--image must not be blank"),
        (["--processes", "0"], "--processes"),
    ],
)
def test_invalid_option_of_a_command_is_explained(
    cli: Cli, options: list[str], expected: str
) -> None:
    """An invalid value is a usage error that names the option."""
    done = cli("run", *options, "--", "true")

    assert done.returncode == ExitCode.USAGE
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"), [([], "no command after --"), ([""], "is an empty text")]
)
def test_missing_command_is_explained(cli: Cli, arguments: list[str], expected: str) -> None:
    """Two dashes need a command, and its first word must not be empty."""
    done = cli("run", "--", *arguments)

    assert done.returncode == ExitCode.USAGE
    assert expected in done.stderr
    assert "-- cargo test" in done.stderr


@pytest.mark.parametrize("option", COMMAND_OPTIONS)
def test_option_of_a_command_requires_a_command(cli: Cli, option: str) -> None:
    """Without a command, the error names the key of the manifest."""
    values = {"--env": "A=b", "--network": "host", "--pass-file": "."}
    done = cli("run", option, values.get(option, "9"))

    assert done.returncode == ExitCode.USAGE
    assert f"{option} requires a command after --" in done.stderr
    assert f"set {COMMAND_OPTIONS[option][1]} in the manifest" in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("nosuch", 127, "No such file"), ("/etc/passwd", 126, "Permission denied")],
)
def test_command_that_cannot_be_executed_fails(
    cli: Cli, command: str, code: int, reason: str
) -> None:
    """As in a shell, 127 means that there is no such program, 126 that it is not executable."""
    done = cli("run", "--json", "--", command)
    (scenario,) = json.loads(done.stdout)["scenarios"]

    assert done.returncode == ExitCode.BLOCKED
    assert (scenario["outcome"], scenario["exit_code"]) == ("FAIL", code)
    assert scenario["reason"].startswith(f"exit {code}: {command}: {reason}")


def test_command_that_leaks_a_process_fails(cli: Cli) -> None:
    """A command that leaks blocks, and the repeat line contains the command."""
    done = cli("run", "--", "sh", "-c", "sleep 60 & echo done")

    assert done.returncode == ExitCode.BLOCKED
    assert "sleep 60" in done.stderr
    assert "isosmoke run -- sh -c 'sleep 60 & echo done'" in done.stderr


def test_all_skipped_exits_77(cli: Cli, project: Path) -> None:
    """A run in which every scenario is skipped is not a success."""
    (project / "good.sh").write_text("echo 'no endpoint' >&2; exit 77\n")

    done = cli("run", "good")

    assert done.returncode == ExitCode.ALL_SKIPPED
    assert "no endpoint" in done.stdout


def test_skip_with_a_leak_blocks(cli: Cli, project: Path) -> None:
    """A scenario that leaks a process does not count as skipped."""
    (project / "good.sh").write_text("sleep 60 & exit 77\n")

    assert cli("run", "good").returncode == ExitCode.BLOCKED


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nosuch"], ExitCode.NOTHING_SELECTED, "nosuch"),
        (["run", "--owner", "no-task"], ExitCode.NOTHING_SELECTED, "no-task"),
        (["run", "-E", "owner(no-task)"], ExitCode.NOTHING_SELECTED, "no-task"),
        (["list", "-E", "owner(task-a"], ExitCode.USAGE, "  owner(task-a\n              ^\n"),
        (["run", "-E", "all()", "--", "true"], ExitCode.USAGE, "cannot be combined"),
        (["run", "--manifest", "missing.toml"], ExitCode.USAGE, "missing.toml"),
        (["run", "--binary", "nowhere"], ExitCode.USAGE, "nowhere"),
        (["run", "--"], ExitCode.USAGE, "no command"),
        (["run", "good", "--", "true"], ExitCode.USAGE, "cannot be combined"),
        (["run", "--timeout", "3"], ExitCode.USAGE, "timeout_seconds"),
        (["run", "--engine", "vmware"], ExitCode.USAGE, "vmware"),
        (["fly"], ExitCode.USAGE, "fly"),
    ],
)
def test_usage_error_is_explained_on_stderr(
    cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    """A usage error prints a message without a traceback and exits with its code."""
    done = cli(*arguments)

    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_manifest_is_an_error(cli: Cli, project: Path) -> None:
    """A manifest without scenarios is named in the error."""
    (project / "manifest.toml").write_text("")

    done = cli("run")

    assert done.returncode == ExitCode.USAGE
    assert "manifest.toml" in done.stderr


def test_manifest_variable_takes_precedence(cli: Cli, project: Path) -> None:
    """`run` reads the manifest that `WG_SMOKE_MANIFEST` names, as wg does."""
    other = project / "other.toml"
    other.write_text('[[scenario]]\nname = "other"\nscript = "good.sh"\nowners = ["t"]\n')

    done = cli("run", WG_SMOKE_MANIFEST=str(other))

    assert "other" in done.stdout
    assert done.returncode == ExitCode.OK


def test_home_as_workspace_is_refused(cli: Cli, tmp_path: Path) -> None:
    """A workspace that is HOME would expose and copy all of HOME."""
    home = tmp_path / "home"
    (home / "manifest.toml").write_text(TWO)
    for name in ("good.sh", "bad.sh"):
        (home / name).write_text("true\n")

    done = cli("run", "--manifest", str(home / "manifest.toml"))

    assert done.returncode == ExitCode.USAGE
    assert "home" in done.stderr


def test_binary_for_another_machine_is_refused(cli: Cli, project: Path) -> None:
    """A binary for another architecture is refused before any scenario runs."""
    foreign = project / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44))
    foreign.chmod(0o755)

    done = cli("run", "--binary", str(foreign))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "machine 243" in done.stderr
    assert "PASS" not in done.stdout


def test_binary_with_a_missing_library_is_refused(cli: Cli, project: Path) -> None:
    """A missing library is an infrastructure error, not a failing scenario."""
    stand_in = project / "stand-in"
    stand_in.write_text(
        "#!/bin/sh\necho \"/lib/libc.so.6: version 'GLIBC_9.99' not found (required by wg)\" >&2\n"
        "exit 1\n"
    )
    stand_in.chmod(0o755)

    done = cli("run", "--binary", str(stand_in))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "GLIBC_9.99" in done.stderr


def test_wireguard_is_not_accepted_as_the_binary(cli: Cli, project: Path) -> None:
    """WireGuard's program of the same name is refused."""
    stand_in = project / "wg"
    stand_in.write_text("#!/bin/sh\necho 'wireguard-tools v1.0.20210914'\n")
    stand_in.chmod(0o755)

    done = cli("run", "--binary", str(stand_in))

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "WireGuard" in done.stderr


def test_binary_is_first_on_path_under_both_names(cli: Cli, project: Path) -> None:
    """The binary is found as `wg`, by its own name and by WG_BIN."""
    stand_in = project / "stand-in"
    stand_in.write_text("#!/bin/sh\necho standing in\n")
    stand_in.chmod(0o755)
    (project / "good.sh").write_text(
        'test "$(command -v wg)" = "$WG_BIN" && wg && stand-in && "$WG_BIN" --version\n'
    )

    done = cli("run", "good", "--binary", str(stand_in))

    assert done.returncode == ExitCode.OK, done.stdout


def test_list_shows_scenarios_with_assertions(cli: Cli) -> None:
    """`list` prints one line per scenario, with its assertion."""
    done = cli("list")

    assert "good" in done.stdout
    assert "It works." in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_run_of_the_demo_is_shown_reported_and_reproduced(cli: Cli) -> None:
    """The newest run is that of the demo if the project has none; it is not one to rerun."""
    cli("demo")
    name = json.loads(cli("report", "--as", "json").stdout)["scenarios"][0]["name"]

    assert name in cli("show").stdout
    assert cli("show", name).returncode == ExitCode.OK
    assert "no run has a scenario" not in cli("repro", f"latest/{name}").stderr
    assert cli("run", "--last-failed").returncode == ExitCode.NOTHING_SELECTED


def test_removed_working_directory_is_one_line_with_a_hint(tmp_path: Path) -> None:
    """A command that needs a working directory exits with 2."""
    script = f'mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m isosmoke "$@"'
    for command in ("list", "run", "show", "doctor"):
        done = subprocess.run(
            ["bash", "-c", script, "bash", command],
            cwd=tmp_path,
            env=create_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )

        message, hint = done.stderr.splitlines()
        assert done.returncode == ExitCode.USAGE
        assert "working directory cannot be determined" in message
        assert hint.startswith("  try: ")


def test_demo_ends_as_expected(cli: Cli) -> None:
    """The demo shows all five outcomes and exits 0."""
    done = cli("demo")

    assert done.returncode == ExitCode.OK, done.stdout
    for outcome in ("PASS", "FAIL", "SKIP", "TIMEOUT", "LEAK"):
        assert outcome in done.stdout


def test_demo_ends_with_commands_that_continue_from_its_run(cli: Cli, project: Path) -> None:
    """Each of the three commands works as printed."""
    printed = cli("demo").stdout.partition("next:\n")[2]
    commands = [re.split(r" {2,}", line.strip())[0] for line in printed.splitlines()]
    shown, repro, page = [cli(*command.split()[1:]) for command in commands]

    assert "LEAK leaves_a_supervisor" in shown.stdout
    assert repro.returncode == ExitCode.OK, repro.stderr
    assert "frozen   the survivors are stopped" in repro.stderr
    assert page.returncode == ExitCode.OK, page.stderr
    assert (project / "demo.html").read_text().startswith("<!doctype html>")


def test_doctor_reports_working_engines(cli: Cli) -> None:
    """`doctor` names each engine, and a hint for a missing wg."""
    done = cli("doctor")

    assert done.returncode == ExitCode.OK
    assert "ok  bubblewrap" in done.stdout
    assert "host network" in done.stdout
    assert "ISOSMOKE_WG" in done.stdout


def test_doctor_json_has_a_field_for_each_trial(cli: Cli, tmp_path: Path) -> None:
    """The result of each trial is a field; it is null if the engine does not work."""
    done = cli("doctor", "--json", DOCKER_HOST=f"unix://{tmp_path}/no.sock")

    document = json.loads(done.stdout)
    engines = {engine["name"]: engine for engine in document["engines"]}
    assert document["schema_version"] == 1
    assert engines["bubblewrap"]["host_network"] is True
    assert engines["docker"]["works"] is False
    assert engines["docker"]["host_network"] is None
    assert f"{tmp_path}/no.sock (DOCKER_HOST)" in engines["docker"]["words"]
    assert "unset DOCKER_HOST" in engines["docker"]["hint"]


def test_unreachable_daemon_exits_125(cli: Cli, tmp_path: Path) -> None:
    """An unreachable DOCKER_HOST is named, and no scenario runs."""
    done = cli("run", "--engine", "docker", DOCKER_HOST=f"unix://{tmp_path}/no.sock")

    assert done.returncode == ExitCode.INFRASTRUCTURE
    assert "no.sock" in done.stderr
    assert "PASS" not in done.stdout


def test_host_option_applies_to_every_command(cli: Cli, tmp_path: Path) -> None:
    """`--host` takes precedence over variables and is part of the repeat line."""
    host = f"unix://{tmp_path}/no.sock"

    doctor = cli("--host", host, "doctor", DOCKER_HOST="ssh://box", CONTAINER_HOST="ssh://box")
    run = cli("--host", host, "run", "bad", DOCKER_HOST="ssh://box")

    assert doctor.stdout.count(f"no daemon at {host} (--host)") == len(("docker", "podman"))
    assert f"isosmoke --host {host} run bad" in run.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--context", "nope"), ExitCode.INFRASTRUCTURE, "--context names the Docker context"),
        (("--context", "a", "--host", "unix:///b"), ExitCode.USAGE, "--host and --context"),
    ],
)
def test_invalid_daemon_options_are_refused(
    cli: Cli, options: tuple[str, ...], code: int, message: str
) -> None:
    """An unknown context or two options never select another daemon."""
    done = cli(*options, "run", "--engine", "docker")

    assert done.returncode == code
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["--version"], ["run", "--help"]])
def test_light_command_imports_no_heavy_module(
    project: Path, tmp_path: Path, arguments: list[str]
) -> None:
    """Help and `list` do not import docker, testcontainers or httpx."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "isosmoke", *arguments],
        cwd=project,
        env=create_environment(tmp_path),
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
def test_signal_ends_the_run_cleanly(
    project: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """After a signal the running scenario is NOT_RUN and the document is complete."""
    process = subprocess.Popen(
        [sys.executable, "-m", "isosmoke", "run", "--json", "--", "sh", "-c", "echo up; sleep 60"],
        cwd=project,
        env=create_environment(tmp_path),
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
    assert [entry["outcome"] for entry in json.loads(stdout)["scenarios"]] == ["NOT_RUN"]


def test_ignored_sighup_stays_ignored(project: Path, tmp_path: Path) -> None:
    """A run whose caller ignores SIGHUP continues after the terminal is closed."""
    arguments = ("run", "--", "sh", "-c", "echo up; read -r _ < gate; echo on")
    os.mkfifo(project / "gate")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "-", sys.executable, "-m", "isosmoke", *arguments],
        cwd=project,
        env=create_environment(tmp_path),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "up" not in process.stdout.readline():
        pass

    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate()

    assert process.returncode == ExitCode.TERMINATED, stdout
