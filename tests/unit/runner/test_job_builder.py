"""The job of a scenario: its environment, mounts, limits and working directory."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from isosmoke.engines.bubblewrap import group_places
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.keeper import KEEPER_FILE
from isosmoke.manifest.key_meaning import collect_meanings
from isosmoke.manifest.models import Scenario, Settings
from isosmoke.runner import job_builder, mounts
from isosmoke.runner.environment import redact_environment
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import (
    BINARIES,
    KEEPER,
    CopyOnWrite,
    Fresh,
    Job,
    Mount,
    ReadOnly,
    ResourceLimits,
    SandboxSpec,
)

UNKNOWN_UID = 4_000_123

OTHER_SETTINGS: Mapping[str, object] = {
    "timeout_seconds": 7,
    "image": "debian",
    "requires": {"commands": ["git"]},
    "leaks": "report",
    "services": [{"name": "db", "image": "postgres:16", "ports": [5432]}],
    "network": "isolated",
    "locks": ["port"],
    "env": {"NAME": "value"},
    "pass_env": ["SHELL"],
    "pass_files": ["~/secret"],
    "plain_env": ["EDITOR"],
    "plain_files": ["~/plain"],
    "tags": ["slow"],
    "retries": 1,
    "weight": 2,
    "settle_seconds": 1,
    "grace_seconds": 1,
    "limits": {"memory": 1 << 30, "processes": 64, "open_files": 128},
    "capabilities": ["NET_RAW"],
    "cache": ["cargo"],
    "new_namespaces": True,
}
"""A value other than the default for each setting of a scenario."""
SECRET = "hunter2"  # noqa: S105 - must not be passed on

SECRETS = dict.fromkeys(
    (
        *("AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK"),
        *("WG_DIR", "WG_TASK_ID", "WG_AGENT_ID", "WG_WORKTREE_PATH", "LD_PRELOAD", "BASH_ENV"),
        *("GIT_DIR", "TMUX", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "PYTHONPATH", "ENV"),
    ),
    SECRET,
)


@dataclass(slots=True)
class CallerProject:
    """A caller in a project, both created for the test."""

    root: Path
    uid: int = UNKNOWN_UID
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    with_binary: bool = True
    directories: tuple[str, ...] = ("project",)

    def job(self, argv: tuple[str, ...] = ("bash", "one.sh"), **keys: object) -> Job:
        """Return the job of a scenario with these keys."""
        scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys})
        return job_builder.build_job(scenario, argv, self.context())

    def context(self) -> RunContext:
        """Return the context that all scenarios share."""
        return RunContext(
            caller=Caller(
                uid=self.uid,
                gid=self.uid,
                user="alice",
                home=self.root / "home",
                working=self.root / "project",
                environment=self.environment,
            ),
            workspace=Workspace(
                tuple(self.root / directory for directory in self.directories),
                (self.root / "objects",),
                self.root / "project/sub",
            ),
            binary=self.binary() if self.with_binary else None,
        )

    def binary(self) -> Binary:
        """Return a binary that is already stored."""
        return Binary(self.root / "wg", "0" * 64, self.root / "store")


@pytest.fixture
def caller_project(tmp_path: Path) -> CallerProject:
    """Return a caller whose home directory and project exist."""
    for name in ("home", "project/sub", "objects", "store"):
        (tmp_path / name).mkdir(parents=True)
    return CallerProject(tmp_path)


def list_targets(job: Job) -> dict[str, Mount]:
    """Return the visible mount of each target: the last one mounted there."""
    return {str(mount.target): mount for mount in job.spec.sort_mounts()}


def test_job_has_settings_of_scenario(caller_project: CallerProject) -> None:
    """Command, durations, network, image and limits are those of the scenario."""
    job = caller_project.job(
        ("bash", "x.sh"),
        timeout_seconds=30,
        grace_seconds=1.5,
        settle_seconds=0.5,
        network="isolated",
        limits={"memory": "1M", "processes": 9, "open_files": 8, "output": 7},
    )

    assert job.argv == ("bash", "x.sh")
    assert (job.timeout, job.grace, job.settle) == (30, 1.5, 0.5)
    assert job.folder == PurePosixPath(caller_project.root / "project/sub")
    assert (job.spec.label, job.spec.image, job.spec.network) == ("one", "host", "isolated")
    assert (job.spec.uid, job.spec.gid) == (UNKNOWN_UID, UNKNOWN_UID)
    assert job.spec.limits == ResourceLimits(memory=1 << 20, processes=9, open_files=8)


@pytest.mark.parametrize("image", ["host", "debian"])
def test_secrets_of_caller_are_not_passed(caller_project: CallerProject, image: str) -> None:
    """Only the variables that every sandbox needs are passed from the caller's environment."""
    passed = {"PATH": "/usr/bin", "TZ": "UTC", "COLORTERM": "truecolor", "RUSTUP_TOOLCHAIN": "1"}
    caller_project.environment = {
        **SECRETS,
        **passed,
        "TERM": "screen",
        "LANG": "de_DE",
        "HOME": SECRET,
    }
    environment = caller_project.job(image=image).environment

    assert SECRET not in "".join(environment.values())
    assert not set(environment) & set(SECRETS)
    assert {name: environment[name] for name in ("TZ", "COLORTERM", "RUSTUP_TOOLCHAIN")} == {
        name: passed[name] for name in ("TZ", "COLORTERM", "RUSTUP_TOOLCHAIN")
    }


def test_environment_is_exactly_as_published(caller_project: CallerProject) -> None:
    """With a minimal caller, a sandbox has these variables and no others."""
    assert dict(caller_project.job(timeout_seconds=30).environment) == {
        "PATH": f"{BINARIES}:/usr/bin:/bin",
        "HOME": str(caller_project.root / "home"),
        "USER": "alice",
        "LOGNAME": "alice",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "GIT_CONFIG_SYSTEM": "/run/isosmoke/gitconfig",
        "WG_SMOKE_SCENARIO": "one",
        "WG_SMOKE_TIMEOUT_SECS": "30",
        "WG_BIN": f"{BINARIES}/wg",
    }


@pytest.mark.parametrize(("image", "is_passed"), [("host", True), ("debian", False)])
def test_homes_of_tools_are_passed_with_the_tools(
    caller_project: CallerProject,
    image: str,
    is_passed: bool,  # noqa: FBT001 - a table
) -> None:
    """A variable that names a toolchain's directory is passed if the host's tools are."""
    caller_project.environment = {"PATH": "/usr/bin", "RUSTUP_HOME": "/srv/rustup"}

    environment = caller_project.job(image=image).environment

    assert ("RUSTUP_HOME" in environment) == is_passed


def test_variable_of_pass_env_is_passed(caller_project: CallerProject) -> None:
    """A variable of `pass_env` is passed if the caller has it, and no other variable is."""
    caller_project.environment = {"PATH": "/bin", "TOKEN": "t", "OTHER": "o", "LANG": "de_DE.UTF-8"}
    environment = caller_project.job(pass_env=["TOKEN", "GONE", "LANG"]).environment

    assert [environment[name] for name in ("TOKEN", "LANG")] == ["t", "de_DE.UTF-8"]
    assert not {"GONE", "OTHER"} & set(environment)


def test_plain_variable_is_passed_and_not_redacted(caller_project: CallerProject) -> None:
    """A variable of `plain_env` is passed as it is, and its value is shown."""
    caller_project.environment = {"PATH": "/bin", "MODE": "test-mode", "TOKEN": "a-token"}
    keys: dict[str, Any] = {
        "plain_env": ["MODE", "GONE"],
        "pass_env": ["TOKEN"],
        "env": {"MODE": "default"},
    }
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys})
    environment = caller_project.job(**keys).environment
    reported = redact_environment(scenario, environment)

    assert (environment["MODE"], reported["MODE"]) == ("test-mode", "test-mode")
    assert "GONE" not in environment
    redactor = caller_project.context().redactor(scenario)
    assert redactor.text("test-mode a-token") == "test-mode [redacted TOKEN]"


def test_variables_of_scenario_have_precedence(caller_project: CallerProject) -> None:
    """Variables of the manifest override those of every sandbox."""
    environment = caller_project.job(env={"LANG": "C", "NEW": "1", "EMPTY": ""}).environment

    assert [environment[name] for name in ("LANG", "NEW", "EMPTY")] == ["C", "1", ""]


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("host", f"{BINARIES}:/usr/bin:/bin"),
        (
            "debian",
            f"{BINARIES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
    ],
)
def test_path_starts_with_binary(caller_project: CallerProject, image: str, path: str) -> None:
    """The live binary is first on PATH, before the tools of the host or the image."""
    job = caller_project.job(image=image)

    assert job.environment["PATH"] == path
    assert list_targets(job)[str(BINARIES)] == ReadOnly(caller_project.root / "store", BINARIES)


def test_binary_precedes_path_of_scenario(caller_project: CallerProject) -> None:
    """A scenario with its own PATH still finds the live binary first."""
    environment = caller_project.job(env={"PATH": "/own/bin"}).environment

    assert environment["PATH"] == f"{BINARIES}:/own/bin"


def test_job_without_binary_has_no_mount_for_it(caller_project: CallerProject) -> None:
    """Without a live binary there is no WG_BIN and no mount for it, and PATH is unchanged."""
    caller_project.with_binary = False
    job = caller_project.job()

    assert "WG_BIN" not in job.environment
    assert job.environment["PATH"] == "/usr/bin:/bin"
    assert str(BINARIES) not in list_targets(job)


def test_caller_without_path_gets_default_path(caller_project: CallerProject) -> None:
    """The scenarios of a caller without PATH have a usable PATH."""
    caller_project.environment = {}

    assert caller_project.job().environment["PATH"] == f"{BINARIES}:{os.defpath}"


@pytest.mark.parametrize(
    ("given", "reported"), [("tmux-256color", "tmux-256color"), ("dumb", "xterm-256color")]
)
def test_terminal_type_is_capable(caller_project: CallerProject, given: str, reported: str) -> None:
    """A scenario's own terminals are capable ones, in whichever terminal isosmoke runs."""
    caller_project.environment = {"PATH": "/bin", "TERM": given}

    assert caller_project.job().environment["TERM"] == reported


def test_home_and_temporary_directories_are_fresh(caller_project: CallerProject) -> None:
    """HOME, /tmp, /run, /var/log and others are empty, with the modes that programs expect."""
    fresh = {
        str(mount.target): mount.mode
        for mount in caller_project.job().spec.mounts
        if isinstance(mount, Fresh) and mount.mode
    }

    assert fresh == {
        str(caller_project.root / "home"): 0o700,
        "/tmp": 0o1777,  # noqa: S108 - in the sandbox
        "/var/tmp": 0o1777,  # noqa: S108 - in the sandbox
        "/run": 0o755,
        "/run/lock": 0o1777,
        f"/run/user/{UNKNOWN_UID}": 0o700,
        "/var/log": 0o755,
    }


@pytest.mark.parametrize("target", ["/tmp", "/var/tmp", "/var/log", "home"])  # noqa: S108 - in the sandbox
def test_home_and_temporary_directories_are_on_disk(
    caller_project: CallerProject, target: str
) -> None:
    """Temporary directories and HOME report the free space of the host's disk."""
    mount = list_targets(caller_project.job())[str(caller_project.root / target)]

    assert isinstance(mount, Fresh)
    assert mount.on_disk


def test_workspace_is_copy_on_write_at_its_path(caller_project: CallerProject) -> None:
    """Writes to the workspace leave the host unchanged; borrowed objects are read-only."""
    mounts = list_targets(caller_project.job())
    project, objects = caller_project.root / "project", caller_project.root / "objects"

    assert mounts[str(project)] == CopyOnWrite(project)
    assert mounts[str(objects)] == ReadOnly(objects, PurePosixPath(objects))


def test_directories_of_isosmoke_in_workspace_are_hidden(
    caller_project: CallerProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, receipts and state are not part of the copy; only existing directories are hidden."""
    project = caller_project.root / "project"
    monkeypatch.setenv("ISOSMOKE_STATE", str(project / "state"))
    assert str(project / ".isosmoke") not in list_targets(caller_project.job())

    for name in (".isosmoke", "sub/.isosmoke", "state"):
        (project / name).mkdir(exist_ok=True)
        mount = list_targets(caller_project.job())[str(project / name)]
        assert mount == Fresh(PurePosixPath(project / name), 0o755)


def test_mount_in_workspace_is_shown_at_its_path(
    caller_project: CallerProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is a copy, a file is read-only, and a hidden directory stays empty."""
    project = caller_project.root / "project"
    monkeypatch.setenv("ISOSMOKE_STATE", str(project / "state"))
    for name in ("data", "state/deep", "sub/.isosmoke/deep"):
        (project / name).mkdir(parents=True)
    (project / "file").touch()
    names = ("data", "file", "state", "state/deep", "sub/.isosmoke/deep")
    context = caller_project.context()
    context = replace(
        context,
        workspace=replace(context.workspace, mount_points=tuple(project / name for name in names)),
    )

    job = job_builder.build_job(Scenario(name="one", script="one.sh"), ("sh",), context)
    mounts = list_targets(job)

    assert mounts[str(project / "data")] == CopyOnWrite(project / "data")
    assert mounts[str(project / "file")] == ReadOnly(
        project / "file", PurePosixPath(project / "file")
    )
    assert mounts[str(project / "state")] == Fresh(PurePosixPath(project / "state"), 0o755)
    assert str(project / "state/deep") not in mounts
    assert str(project / "sub/.isosmoke/deep") not in mounts
    assert job.spec.list_nested_copies() == (CopyOnWrite(project / "data"),)


def test_state_directory_behind_link_is_hidden(
    caller_project: CallerProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target of `ISOSMOKE_STATE` is hidden if it is in the workspace."""
    project = caller_project.root / "project"
    (project / "real").mkdir()
    (caller_project.root / "link").symlink_to(project / "real")
    monkeypatch.setenv("ISOSMOKE_STATE", str(caller_project.root / "link"))

    assert isinstance(list_targets(caller_project.job())[str(project / "real")], Fresh)


def test_keeper_is_mounted_at_its_fixed_path(caller_project: CallerProject) -> None:
    """The keeper is mounted at the only path that engines start it from."""
    mount = list_targets(caller_project.job(image="debian"))[str(KEEPER)]
    assert isinstance(mount, ReadOnly)
    assert mount.source.read_bytes() == KEEPER_FILE.read_bytes()
    assert os.access(mount.source, os.X_OK)


def test_image_has_no_files_of_host_system(caller_project: CallerProject) -> None:
    """A clean environment has only the workspace and isosmoke's own files from the host."""
    own = (caller_project.root, Path(os.environ["ISOSMOKE_STATE"]))

    for mount in caller_project.job(image="debian").spec.mounts:
        if isinstance(mount, ReadOnly):
            assert any(mount.source.is_relative_to(directory) for directory in own), mount


def test_tools_in_workspace_stay_writable(caller_project: CallerProject) -> None:
    """A PATH directory in the workspace, such as target/debug, is part of its copy, not a bind."""
    debug = caller_project.root / "project/target/debug"
    debug.mkdir(parents=True)
    caller_project.environment = {"PATH": f"{debug}:/usr/bin"}
    inside = [
        target
        for target in list_targets(caller_project.job())
        if target.startswith(str(caller_project.root / "project"))
    ]

    assert inside == [str(caller_project.root / "project")]


def test_unknown_caller_is_added_to_user_database(caller_project: CallerProject) -> None:
    """A caller unknown to /etc/passwd gets a database that includes them and the host's users."""
    mounts = list_targets(caller_project.job())
    passwd, group = (mounts[f"/etc/{name}"] for name in ("passwd", "group"))

    assert isinstance(passwd, ReadOnly)
    assert isinstance(group, ReadOnly)
    assert (
        f"alice:x:{UNKNOWN_UID}:{UNKNOWN_UID}::{caller_project.root / 'home'}:"
        in passwd.source.read_text()
    )
    assert "root:x:0:0:" in passwd.source.read_text()
    assert f"alice:x:{UNKNOWN_UID}:" in group.source.read_text()


def test_known_caller_has_database_of_host(caller_project: CallerProject) -> None:
    """A caller known to the host needs no database, but does in another image."""
    caller_project.uid = 0

    assert "/etc/passwd" not in list_targets(caller_project.job())
    assert "/etc/passwd" in list_targets(caller_project.job(image="debian"))


@pytest.mark.parametrize(
    ("uid", "masked"),
    [
        (UNKNOWN_UID, False),
        pytest.param(
            0, True, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root has masks")
        ),
    ],
)
def test_system_secrets_are_masked_for_root(
    *, caller_project: CallerProject, uid: int, masked: bool
) -> None:
    """Root's sandbox does not show /etc/shadow; other users cannot read it anyway."""
    caller_project.uid = uid
    mount = list_targets(caller_project.job()).get("/etc/shadow")

    assert (mount is not None) is masked


def test_hidden_directory_leads_to_the_workspace(caller_project: CallerProject) -> None:
    """A private directory of the system that contains the workspace can be passed through."""
    hidden = PurePosixPath(caller_project.root)
    workspace = caller_project.context().workspace
    scenario = Scenario.validate({"name": "one", "script": "one.sh"})
    others = [PurePosixPath(directory) for directory in workspace.directories]
    private = Fresh(PurePosixPath("/etc/private"), 0, is_mask=True)
    host = [Fresh(hidden, 0, is_mask=True), private]

    system = list(mounts.list_system_mounts(scenario, workspace, host, others))

    assert Fresh(hidden, 0o100, is_mask=True) in system
    assert private in system


def test_passed_files_are_read_only_at_their_path(caller_project: CallerProject) -> None:
    """Files of `pass_files` are read-only at their path; a leading ~ is the caller's home."""
    home = caller_project.root / "home"
    mounts = list_targets(caller_project.job(pass_files=["~/.config/wg", "/srv/file~", "~"]))

    for path in (home / ".config/wg", Path("/srv/file~"), home):
        assert mounts[str(path)] == ReadOnly(path, PurePosixPath(path))


def test_keys_of_a_cluster_are_masked_in_passed_files(
    caller_project: CallerProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that a scenario receives shows no keys of the state directory below it."""
    (caller_project.root / "home/state/cluster").mkdir(parents=True)
    monkeypatch.setenv("ISOSMOKE_STATE", str(caller_project.root / "home/state"))
    keys = f"{caller_project.root}/home/state/cluster"
    for job in (caller_project.job(pass_files=["~"]), caller_project.job(plain_files=["~"])):
        mask = list_targets(job)[keys]
        assert isinstance(mask, Fresh)
        assert mask.is_mask


def test_plain_files_are_read_only_at_their_path(caller_project: CallerProject) -> None:
    """Files of `plain_files` are mounted like those of `pass_files`, and are not redacted."""
    cache = caller_project.root / "home/.tool/cache"
    cache.mkdir(parents=True)
    (cache / "index").write_text("content-of-the-cache")
    (cache.parent / "token").write_text("a-token-of-the-tool")
    keys: dict[str, Any] = {"pass_files": ["~/.tool"], "plain_files": ["~/.tool/cache"]}
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **keys})

    mounts = list_targets(caller_project.job(**keys))
    assert mounts[str(cache)] == ReadOnly(cache, PurePosixPath(cache))
    redactor = caller_project.context().redactor(scenario)
    redacted = redactor.text("content-of-the-cache a-token-of-the-tool")
    assert redacted == "content-of-the-cache [redacted ~/.tool]"


def test_mounts_follow_their_parent_directories(caller_project: CallerProject) -> None:
    """A mount below a fresh directory or the workspace is mounted after it."""
    order = [
        mount.target for mount in caller_project.job(pass_files=["~/.config/wg"]).spec.sort_mounts()
    ]

    for number, target in enumerate(order):
        assert not any(later in target.parents for later in order[number + 1 :])


def test_workspace_in_tmp_is_not_hidden(caller_project: CallerProject) -> None:
    """A workspace that is /tmp, or a directory in it, takes precedence over the fresh directory."""
    context = caller_project.context()
    in_tmp = replace(context.workspace, directories=(Path("/tmp"),))  # noqa: S108 - a workspace
    scenario = Scenario.validate({"name": "one", "script": "one.sh"})
    job = job_builder.build_job(
        scenario, ("true",), RunContext(context.caller, in_tmp, context.binary)
    )

    assert list_targets(job)["/tmp"] == CopyOnWrite(Path("/tmp"))  # noqa: S108 - a workspace


def test_passed_values_are_redacted(caller_project: CallerProject) -> None:
    """Passed variables and files, including those in directories, are replaced by their names."""
    for name, text in {"token": "of-a-file", "keys/deep/one": "of-a-directory"}.items():
        path = caller_project.root / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    caller_project.environment = {"TOKEN": "of-a-variable", "OTHER": "public"}
    passed = {"pass_env": ["TOKEN", "UNSET"], "pass_files": ["~/token", "~/keys", "~/missing"]}
    scenario = Scenario.validate({"name": "one", "script": "one.sh", **passed})
    redactor = caller_project.context().redactor(scenario)

    reported = redactor.text("of-a-variable of-a-file of-a-directory public")
    assert reported == "[redacted TOKEN] [redacted ~/token] [redacted ~/keys] public"
    assert redactor.unredacted == ()


def test_passed_variables_are_redacted_in_environment(caller_project: CallerProject) -> None:
    """Only the name of a passed variable is reported, even if its value is short."""
    caller_project.environment = {"TOKEN": "1"}
    scenario = Scenario.validate({"name": "one", "script": "one.sh", "pass_env": ["TOKEN"]})
    reported = redact_environment(scenario, {"TOKEN": "1", "LANG": "C"})

    assert reported == {"TOKEN": "[redacted TOKEN]", "LANG": "C"}


def test_file_too_large_to_redact_is_reported(caller_project: CallerProject) -> None:
    """A file larger than 256 KiB is not redacted, which is reported."""
    (caller_project.root / "home/large").write_bytes(b"x" * (256 * 1024 + 1))
    scenario = Scenario.validate({"name": "one", "script": "one.sh", "pass_files": ["~/large"]})
    assert caller_project.context().redactor(scenario).unredacted == ("~/large",)


def test_environment_has_addresses_of_services(caller_project: CallerProject) -> None:
    """A service's variables are set, and are expanded only in the scenario's own variables."""
    caller_project.environment = {"PATH": "/usr/bin", "TOKEN": "${DB_PORT}"}
    entry = {
        "name": "one",
        "script": "one.sh",
        "env": {"URL": "db:${DB_PORT}/${HOME}"},
        "pass_env": ["TOKEN"],
    }
    context, services = caller_project.context(), {"DB_PORT": "7"}
    job = job_builder.build_job(Scenario.validate(entry), ("true",), context, services)

    reported = {name: job.environment[name] for name in ("DB_PORT", "URL", "TOKEN")}
    assert reported == {"DB_PORT": "7", "URL": "db:7/${HOME}", "TOKEN": "${DB_PORT}"}


def test_new_namespaces_setting_is_passed_on(caller_project: CallerProject) -> None:
    """The specification has the manifest's setting, which is false by default."""
    assert caller_project.job(new_namespaces=True).spec.new_namespaces
    assert not caller_project.job().spec.new_namespaces


def test_writable_control_groups_are_detected(caller_project: CallerProject) -> None:
    """The specification records whether the caller may write to its own control groups."""
    assert caller_project.job().spec.writes_to_cgroup == group_places.is_writable_by(
        caller_project.job().spec.uid
    )


def test_a_job_does_not_depend_on_earlier_jobs(caller_project: CallerProject) -> None:
    """The jobs of a run share what they have in common, but no setting of another scenario."""
    (caller_project.root / "home/.cargo/registry").mkdir(parents=True)
    specs: dict[tuple[object, ...], SandboxSpec] = {}
    context, other = caller_project.context(), replace(caller_project.context(), _specs=specs)
    entries = ({}, *({name: OTHER_SETTINGS[name]} for name in collect_meanings(Settings)), {})
    for number, keys in enumerate(entries):
        entry = {"name": f"job-{number}", "script": f"{number}.sh", **keys}
        scenario = Scenario.validate(entry)
        specs.clear()

        job = job_builder.build_job(scenario, ("sh",), context)
        assert job == job_builder.build_job(scenario, ("sh",), other)


def test_records_that_a_run_creates_are_hidden(caller_project: CallerProject) -> None:
    """A job hides the records directory even if an earlier job did not have to."""
    context = caller_project.context()
    scenario = Scenario(name="one", script="one.sh")
    records = caller_project.root / "project/.isosmoke"

    assert str(records) not in list_targets(job_builder.build_job(scenario, ("sh",), context))
    records.mkdir(parents=True)
    mounts = list_targets(job_builder.build_job(scenario, ("sh",), context))

    assert mounts[str(records)] == Fresh(PurePosixPath(records), 0o755)
