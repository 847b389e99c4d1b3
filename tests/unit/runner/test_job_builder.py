"""What a scenario's sandbox has in it: environment, mounts, limits and place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import cgroup
from isosmoke.host.binary import Binary
from isosmoke.host.caller_process import Caller
from isosmoke.host.workspace_directories import Workspace
from isosmoke.keeper import KEEPER_FILE
from isosmoke.manifest.models import Scenario
from isosmoke.runner import job_builder
from isosmoke.runner.job_builder import RunContext
from isosmoke.sandbox.spec import (
    BINARIES,
    KEEPER,
    CopyOnWrite,
    Fresh,
    Job,
    Limits,
    Mount,
    ReadOnly,
)

UNKNOWN_UID = 4_000_123
SECRET = "hunter2"  # noqa: S105 - what must not get through

SECRETS = dict.fromkeys(
    (
        *("AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK"),
        *("WG_DIR", "WG_TASK_ID", "WG_AGENT_ID", "WG_WORKTREE_PATH", "LD_PRELOAD", "BASH_ENV"),
        *("GIT_DIR", "TMUX", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "PYTHONPATH", "ENV"),
    ),
    SECRET,
)


@dataclass(slots=True)
class World:
    """A caller in a project, both made for the test."""

    root: Path
    uid: int = UNKNOWN_UID
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    with_binary: bool = True
    folders: tuple[str, ...] = ("project",)

    def job(self, argv: tuple[str, ...] = ("bash", "one.sh"), **keys: object) -> Job:
        """The job of a scenario with these keys."""
        scenario = Scenario.model_validate({"name": "one", "script": "one.sh", **keys})
        return job_builder.build_job(scenario, argv, self.context())

    def context(self) -> RunContext:
        """What is the same for every scenario."""
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
                tuple(self.root / one for one in self.folders),
                (self.root / "objects",),
                self.root / "project/sub",
            ),
            binary=self.binary() if self.with_binary else None,
        )

    def binary(self) -> Binary:
        """A binary that was taken already."""
        return Binary(self.root / "wg", "0" * 64, self.root / "store")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A caller whose home and project are there."""
    for name in ("home", "project/sub", "objects", "store"):
        (tmp_path / name).mkdir(parents=True)
    return World(tmp_path)


def targets(job: Job) -> dict[str, Mount]:
    """The mount that is seen at each target: the last one made there."""
    return {str(one.target): one for one in job.spec.ordered()}


def test_job_is_what_the_scenario_says(world: World) -> None:
    """Command, durations, network, image and limits are the scenario's own."""
    job = world.job(
        ("bash", "x.sh"),
        timeout_seconds=30,
        grace_seconds=1.5,
        settle_seconds=0.5,
        network="isolated",
        limits={"memory": "1M", "processes": 9, "open_files": 8, "output": 7},
    )

    assert job.argv == ("bash", "x.sh")
    assert (job.timeout, job.grace, job.settle) == (30, 1.5, 0.5)
    assert job.folder == PurePosixPath(world.root / "project/sub")
    assert (job.spec.label, job.spec.image, job.spec.network) == ("one", "host", "isolated")
    assert (job.spec.uid, job.spec.gid) == (UNKNOWN_UID, UNKNOWN_UID)
    assert job.spec.limits == Limits(memory=1 << 20, processes=9, open_files=8)


@pytest.mark.parametrize("image", ["host", "debian"])
def test_no_secret_of_the_caller_gets_through(world: World, image: str) -> None:
    """Nothing of the caller's environment is passed but what every sandbox needs."""
    passed = {"PATH": "/usr/bin", "TZ": "UTC", "COLORTERM": "truecolor", "RUSTUP_TOOLCHAIN": "1"}
    world.environment = {**SECRETS, **passed, "TERM": "screen", "LANG": "de_DE", "HOME": SECRET}
    environment = world.job(image=image).environment

    assert SECRET not in "".join(environment.values())
    assert not set(environment) & set(SECRETS)
    assert {name: environment[name] for name in ("TZ", "COLORTERM", "RUSTUP_TOOLCHAIN")} == {
        name: passed[name] for name in ("TZ", "COLORTERM", "RUSTUP_TOOLCHAIN")
    }


def test_environment_is_exactly_the_published_one(world: World) -> None:
    """With a bare caller, a sandbox has these variables and no other."""
    assert dict(world.job(timeout_seconds=30).environment) == {
        "PATH": f"{BINARIES}:/usr/bin:/bin",
        "HOME": str(world.root / "home"),
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


def test_named_variable_is_passed(world: World) -> None:
    """What `pass_env` names is passed where the caller has it, and only that."""
    world.environment = {"PATH": "/bin", "TOKEN": "t", "OTHER": "o", "LANG": "de_DE.UTF-8"}
    environment = world.job(pass_env=["TOKEN", "GONE", "LANG"]).environment

    assert [environment[name] for name in ("TOKEN", "LANG")] == ["t", "de_DE.UTF-8"]
    assert not {"GONE", "OTHER"} & set(environment)


def test_scenarios_own_variables_win(world: World) -> None:
    """What the manifest sets is set, over what every sandbox has."""
    environment = world.job(env={"LANG": "C", "NEW": "1", "EMPTY": ""}).environment

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
def test_path_begins_with_the_binary(world: World, image: str, path: str) -> None:
    """The live binary is first on PATH, before the host's tools or the image's own."""
    job = world.job(image=image)

    assert job.environment["PATH"] == path
    assert targets(job)[str(BINARIES)] == ReadOnly(world.root / "store", BINARIES)


def test_binary_comes_first_whatever_path_the_scenario_sets(world: World) -> None:
    """A scenario with a PATH of its own still meets the live binary, not another of that name."""
    environment = world.job(env={"PATH": "/own/bin"}).environment

    assert environment["PATH"] == f"{BINARIES}:/own/bin"


def test_without_a_binary_nothing_stands_for_it(world: World) -> None:
    """Where there is no live binary there is no WG_BIN, no folder for it, and PATH is as it was."""
    world.with_binary = False
    job = world.job()

    assert "WG_BIN" not in job.environment
    assert job.environment["PATH"] == "/usr/bin:/bin"
    assert str(BINARIES) not in targets(job)


def test_caller_without_path_gets_the_systems(world: World) -> None:
    """A caller that has no PATH gives its scenarios a usable one."""
    world.environment = {}

    assert world.job().environment["PATH"] == f"{BINARIES}:{os.defpath}"


@pytest.mark.parametrize(
    ("given", "told"), [("tmux-256color", "tmux-256color"), ("dumb", "xterm-256color")]
)
def test_terminal_can_do_something(world: World, given: str, told: str) -> None:
    """A scenario's own terminals are capable ones, whatever isosmoke itself runs in."""
    world.environment = {"PATH": "/bin", "TERM": given}

    assert world.job().environment["TERM"] == told


def test_home_and_temporary_folders_are_fresh(world: World) -> None:
    """HOME, /tmp, /var/tmp and /run are empty, with the permissions that programs expect."""
    fresh = {
        str(one.target): one.mode
        for one in world.job().spec.mounts
        if isinstance(one, Fresh) and one.mode
    }

    assert fresh == {
        str(world.root / "home"): 0o700,
        "/tmp": 0o1777,  # noqa: S108 - in the sandbox
        "/var/tmp": 0o1777,  # noqa: S108 - in the sandbox
        "/run": 0o755,
    }


@pytest.mark.parametrize("target", ["/tmp", "/var/tmp", "home"])  # noqa: S108 - in the sandbox
def test_what_a_script_may_fill_is_on_disk(world: World, target: str) -> None:
    """Temporary folders and HOME have the room of the host's disk, as programs that ask expect."""
    found = targets(world.job())[str(world.root / target)]

    assert isinstance(found, Fresh)
    assert found.on_disk


def test_workspace_is_copy_on_write_at_its_own_path(world: World) -> None:
    """The workspace can be written without a trace; borrowed objects cannot be written."""
    seen = targets(world.job())
    project, objects = world.root / "project", world.root / "objects"

    assert seen[str(project)] == CopyOnWrite(project)
    assert seen[str(objects)] == ReadOnly(objects, PurePosixPath(objects))


def test_what_isosmoke_keeps_in_the_workspace_is_hidden(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs, receipts and its state are no part of the copy; nothing is hidden that is not there."""
    project = world.root / "project"
    monkeypatch.setenv("ISOSMOKE_STATE", str(project / "state"))
    assert str(project / ".isosmoke") not in targets(world.job())

    for name in (".isosmoke", "sub/.isosmoke", "state"):
        (project / name).mkdir(exist_ok=True)
        seen = targets(world.job())[str(project / name)]
        assert seen == Fresh(PurePosixPath(project / name), 0o755)


def test_what_is_mounted_in_the_workspace_is_shown_at_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is a copy, a file read-only, and what is emptied stays empty."""
    project = world.root / "project"
    monkeypatch.setenv("ISOSMOKE_STATE", str(project / "state"))
    for name in ("data", "state/deep", "sub/.isosmoke/deep"):
        (project / name).mkdir(parents=True)
    (project / "file").touch()
    names = ("data", "file", "state", "state/deep", "sub/.isosmoke/deep")
    context = world.context()
    context = replace(
        context,
        workspace=replace(context.workspace, mounted=tuple(project / one for one in names)),
    )

    job = job_builder.build_job(Scenario(name="one", script="one.sh"), ("sh",), context)
    seen = targets(job)

    assert seen[str(project / "data")] == CopyOnWrite(project / "data")
    assert seen[str(project / "file")] == ReadOnly(
        project / "file", PurePosixPath(project / "file")
    )
    assert seen[str(project / "state")] == Fresh(PurePosixPath(project / "state"), 0o755)
    assert str(project / "state/deep") not in seen
    assert str(project / "sub/.isosmoke/deep") not in seen
    assert job.spec.inner() == (CopyOnWrite(project / "data"),)


def test_a_state_folder_behind_a_link_is_hidden(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `ISOSMOKE_STATE` leads to is emptied, where that lies in the workspace."""
    project = world.root / "project"
    (project / "real").mkdir()
    (world.root / "link").symlink_to(project / "real")
    monkeypatch.setenv("ISOSMOKE_STATE", str(world.root / "link"))

    assert isinstance(targets(world.job())[str(project / "real")], Fresh)


def test_keeper_is_where_engines_start_it(world: World) -> None:
    """The keeper is mounted at the one place where every engine looks for it."""
    mount = targets(world.job(image="debian"))[str(KEEPER)]
    assert isinstance(mount, ReadOnly)
    assert mount.source.read_bytes() == KEEPER_FILE.read_bytes()
    assert os.access(mount.source, os.X_OK)


def test_image_gets_nothing_of_the_host_system(world: World) -> None:
    """A clean environment has nothing of the host but the workspace and isosmoke's own files."""
    own = (world.root, Path(os.environ["ISOSMOKE_STATE"]))

    for mount in world.job(image="debian").spec.mounts:
        if isinstance(mount, ReadOnly):
            assert any(mount.source.is_relative_to(one) for one in own), mount


def test_tools_in_the_workspace_stay_writable(world: World) -> None:
    """A PATH folder of the workspace, such as target/debug, is part of its copy, not a bind."""
    debug = world.root / "project/target/debug"
    debug.mkdir(parents=True)
    world.environment = {"PATH": f"{debug}:/usr/bin"}
    inside = [one for one in targets(world.job()) if one.startswith(str(world.root / "project"))]

    assert inside == [str(world.root / "project")]


def test_unknown_caller_is_put_into_the_user_database(world: World) -> None:
    """A caller that /etc/passwd does not know gets one that does, with the host's users in it."""
    seen = targets(world.job())
    passwd, group = (seen[f"/etc/{name}"] for name in ("passwd", "group"))

    assert isinstance(passwd, ReadOnly)
    assert isinstance(group, ReadOnly)
    assert (
        f"alice:x:{UNKNOWN_UID}:{UNKNOWN_UID}::{world.root / 'home'}:" in passwd.source.read_text()
    )
    assert "root:x:0:0:" in passwd.source.read_text()
    assert f"alice:x:{UNKNOWN_UID}:" in group.source.read_text()


def test_known_caller_keeps_the_hosts_database(world: World) -> None:
    """Whoever the host knows needs nothing; in another image, where nobody is known, all do."""
    world.uid = 0

    assert "/etc/passwd" not in targets(world.job())
    assert "/etc/passwd" in targets(world.job(image="debian"))


@pytest.mark.parametrize(
    ("uid", "masked"),
    [
        (UNKNOWN_UID, False),
        pytest.param(
            0, True, marks=pytest.mark.skipif(os.getuid() != 0, reason="only root has masks")
        ),
    ],
)
def test_secrets_of_the_system_are_masked_for_root(world: World, uid: int, masked: bool) -> None:  # noqa: FBT001 - a table
    """Root's sandbox does not see /etc/shadow; nobody else could read it anyway."""
    world.uid = uid
    mount = targets(world.job()).get("/etc/shadow")

    assert (mount is not None) is masked


def test_passed_files_are_read_only_at_their_own_path(world: World) -> None:
    """What `pass_files` names is seen read-only where it lies; a leading ~ is the caller's home."""
    home = world.root / "home"
    seen = targets(world.job(pass_files=["~/.config/wg", "/srv/file~", "~"]))

    for path in (home / ".config/wg", Path("/srv/file~"), home):
        assert seen[str(path)] == ReadOnly(path, PurePosixPath(path))


def test_mounts_come_after_the_folders_they_lie_in(world: World) -> None:
    """Whatever lies below a fresh folder or the workspace is mounted after it."""
    order = [one.target for one in world.job(pass_files=["~/.config/wg"]).spec.ordered()]

    for number, target in enumerate(order):
        assert not any(later in target.parents for later in order[number + 1 :])


def test_workspace_in_tmp_is_not_hidden(world: World) -> None:
    """A workspace that is /tmp itself, or HOME's neighbour in it, wins over the fresh folder."""
    context = world.context()
    in_tmp = replace(context.workspace, folders=(Path("/tmp"),))  # noqa: S108 - a workspace
    scenario = Scenario.model_validate({"name": "one", "script": "one.sh"})
    job = job_builder.build_job(
        scenario, ("true",), RunContext(context.caller, in_tmp, context.binary)
    )

    assert targets(job)["/tmp"] == CopyOnWrite(Path("/tmp"))  # noqa: S108 - a workspace


def test_what_a_scenario_is_given_is_kept_from_whoever_reads_of_it(world: World) -> None:
    """Variables and files that are passed, in folders too, are replaced by their names."""
    for name, text in {"token": "of-a-file", "keys/deep/one": "of-a-folder"}.items():
        path = world.root / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    world.environment = {"TOKEN": "of-a-variable", "OTHER": "public"}
    passed = {"pass_env": ["TOKEN", "UNSET"], "pass_files": ["~/token", "~/keys", "~/missing"]}
    scenario = Scenario.model_validate({"name": "one", "script": "one.sh", **passed})
    redactor = world.context().redactor(scenario)

    told = redactor.text("of-a-variable of-a-file of-a-folder public")
    assert told == "[redacted TOKEN] [redacted ~/token] [redacted ~/keys] public"
    assert redactor.unguarded == ()


def test_environment_is_told_without_what_was_passed(world: World) -> None:
    """Of a passed variable an environment tells only the name, however short its value is."""
    world.environment = {"TOKEN": "1"}
    scenario = Scenario.model_validate({"name": "one", "script": "one.sh", "pass_env": ["TOKEN"]})
    told = job_builder.redact_environment(scenario, {"TOKEN": "1", "LANG": "C"})

    assert told == {"TOKEN": "[redacted TOKEN]", "LANG": "C"}


def test_file_that_is_too_large_for_a_credential_is_named(world: World) -> None:
    """A file of more than 256 KiB is not looked for, which is known."""
    (world.root / "home/large").write_bytes(b"x" * (256 * 1024 + 1))
    scenario = Scenario.model_validate(
        {"name": "one", "script": "one.sh", "pass_files": ["~/large"]}
    )
    assert world.context().redactor(scenario).unguarded == ("~/large",)


def test_environment_says_where_services_are(world: World) -> None:
    """A service's variables are there, and fill the scenario's own and nothing else."""
    world.environment = {"PATH": "/usr/bin", "TOKEN": "${DB_PORT}"}
    entry = {
        "name": "one",
        "script": "one.sh",
        "env": {"URL": "db:${DB_PORT}/${HOME}"},
        "pass_env": ["TOKEN"],
    }
    context, services = world.context(), {"DB_PORT": "7"}
    job = job_builder.build_job(Scenario.model_validate(entry), ("true",), context, services)

    told = {name: job.environment[name] for name in ("DB_PORT", "URL", "TOKEN")}
    assert told == {"DB_PORT": "7", "URL": "db:7/${HOME}", "TOKEN": "${DB_PORT}"}


def test_key_for_new_namespaces_is_passed_on(world: World) -> None:
    """What the manifest says of it is in the specification; by default it is not allowed."""
    assert world.job(new_namespaces=True).spec.new_namespaces
    assert not world.job().spec.new_namespaces


def test_control_groups_of_the_caller_are_looked_at(world: World) -> None:
    """The specification says whether the caller may write to its own control groups."""
    assert world.job().spec.writes_to_cgroup == cgroup.is_writable_by(world.job().spec.uid)
