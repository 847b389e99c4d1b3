"""The launcher: the same sandbox as bwrap's, and what it refuses."""

import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

from isosmoke.engines.bubblewrap import bwrap_args, bwrap_program, scratch
from isosmoke.keeper import LAUNCHER_FILE
from isosmoke.sandbox.spec import (
    CAPABILITIES,
    HOST_IMAGE,
    CopyOnWrite,
    Fresh,
    Link,
    Mount,
    ReadOnly,
    SandboxSpec,
)
from support import available

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the launcher is for root")

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
SHELL = ("/bin/bash", "-c")
HOST = ("--ro-bind", "/", "/")

LOOK = r"""
cut -d' ' -f4- /proc/self/mountinfo | sed 's/ master:[0-9]*//'
grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp|Groups)' /proc/self/status
ls -ln --time-style=+ /dev /run /run/isosmoke /run/user /scratch /copied /proc/self/fd/
stat -c "%n %A %U %G" /* /linked/* /above/*
for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done
cut -d: -f1 /proc/net/dev; : </dev/tcp/127.0.0.1/9
env; pwd; umask; echo $$; cat /etc/shadow; cat /masked/file /linked/file /copied/* /copied/inner/*
echo new >/copied/new; cat /copied/new; echo >/dev/null; echo >/read-only/new; echo >/proc/sys/x
"""
"""A script that prints what differs between sandboxes, as far as a process can see it."""


@pytest.fixture
def spec(tmp_path: Path) -> SandboxSpec:
    """Return a sandbox of root with every kind of mount."""
    workspace, copies = tmp_path / "work, space:\\", tmp_path / "copies"
    for directory in (workspace / "inner", copies, tmp_path / "private"):
        directory.mkdir(parents=True)
    (workspace / "file").write_text("of the workspace\n")
    (workspace / "inner/file").write_text("inside\n")
    (copies / "file").write_text("of the copies\n")
    (tmp_path / "private/file").write_text("secret\n")
    (tmp_path / "private").chmod(0o700)
    (tmp_path / "link").symlink_to("private")
    mounts: tuple[Mount, ...] = (
        *(ReadOnly(Path(path), PurePosixPath(path)) for path in SYSTEM if Path(path).is_dir()),
        ReadOnly(Path(os.devnull), PurePosixPath("/etc/shadow"), is_mask=True),
        ReadOnly(tmp_path / "link", PurePosixPath("/masked")),
        ReadOnly(Path(os.devnull), PurePosixPath("/masked/file"), is_mask=True),
        ReadOnly(copies, PurePosixPath("/read-only")),
        Fresh(PurePosixPath("/run"), 0o755),
        Fresh(PurePosixPath("/run/user/0"), 0o700),
        Fresh(PurePosixPath("/scratch"), 0o1777, on_disk=True),
        CopyOnWrite(workspace, copies, at=PurePosixPath("/copied")),
        CopyOnWrite(workspace / "inner", at=PurePosixPath("/copied/inner")),
        Link(PurePosixPath("/linked/file"), PurePosixPath("/copied/file")),
        ReadOnly(copies / "file", PurePosixPath("/run/isosmoke/file")),
        CopyOnWrite(copies, at=PurePosixPath("/above/copied")),
    )
    return SandboxSpec(label="s", image=HOST_IMAGE, mounts=mounts, uid=0, gid=0, network="isolated")


def list_programs() -> Iterator[str]:
    """Yield bwrap and the launcher."""
    available.require_engine("bubblewrap")
    yield str(bwrap_program.find_installed())
    yield str(LAUNCHER_FILE)


def run(program: str, *arguments: str, pass_fds: Sequence[int] = ()) -> tuple[int, str, str]:
    """Return the status, the output and the errors of a program."""
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        pass_fds=pass_fds,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def look(program: str, spec: SandboxSpec, *, layers_on_disk: bool) -> str:
    """Return what a script sees in a sandbox of a program."""
    with (
        scratch.ScratchPool().take(spec, layers_on_disk=layers_on_disk) as taken,
        Path(os.devnull).open("wb") as ignored,
    ):
        arguments = bwrap_args.build_arguments(
            spec,
            layers=taken.layers,
            info_fd=ignored.fileno(),
            own_users=False,
            devices=taken.devices,
        )
        options = arguments[: arguments.index("--") + 1]
        done = run(program, *options, *SHELL, LOOK, pass_fds=(ignored.fileno(),))
    seen = "\n".join(map(str, done)).replace(str(taken.directory), "scratch")
    for kind in NAMESPACES:
        seen = seen.replace(str(Path("/proc/self/ns", kind).readlink()), f"{kind} of the host")
    return re.sub(r"\[\d+\]", "[new]", seen)


@pytest.mark.parametrize("layers_on_disk", [False, True])
def test_sandbox_is_that_of_bwrap(spec: SandboxSpec, *, layers_on_disk: bool) -> None:
    """Its mounts with their attributes, its devices, namespaces and rights are the same."""
    by_bwrap, by_launcher = (
        look(program, spec, layers_on_disk=layers_on_disk) for program in list_programs()
    )

    assert "of the copies" in by_launcher
    assert "secret" not in by_launcher
    assert by_launcher == by_bwrap


@pytest.mark.parametrize("granted", [(), tuple(CAPABILITIES)])
def test_only_added_capabilities_are_kept(granted: Sequence[str]) -> None:
    """Each capability that a scenario may be granted is known, and all others are dropped."""
    added = [part for name in granted for part in ("--cap-add", f"CAP_{name}")]
    script = "sed -n 's/^CapPrm:.//p' /proc/self/status"
    options = ("--unshare-pid", "--cap-drop", "ALL", *added, *HOST, "--proc", "/proc", "--")
    status, output, _ = run(str(LAUNCHER_FILE), *options, *SHELL, script)

    assert status == 0
    assert int(output, 16) == sum(1 << CAPABILITIES[name] for name in granted)


def test_link_in_the_sandbox_leads_to_no_file_of_the_host(tmp_path: Path) -> None:
    """A target is created where a process in the sandbox finds it, and not on the host."""
    outside = tmp_path / "outside"
    (tmp_path / "shown").mkdir()
    outside.mkdir()
    (tmp_path / "shown/link").symlink_to(outside)
    shown = ("--ro-bind", str(tmp_path / "shown"), "/shown", "--tmpfs", str(outside))
    script = f"test -d {outside}/inner && stat -f -c %T {outside}/inner"
    system = (part for path in SYSTEM[:5] for part in ("--ro-bind-try", path, path))
    options = ("--unshare-pid", *system, *shown, "--tmpfs", "/shown/link/inner", "--")
    status, output, errors = run(str(LAUNCHER_FILE), *options, *SHELL, script)

    assert (status, output, errors) == (0, "tmpfs\n", "")
    assert not (outside / "inner").exists()


def test_attributes_hold_for_file_systems_in_a_directory(tmp_path: Path) -> None:
    """A mount inside a read-only directory of the host is read-only as well, as with bwrap."""
    (tmp_path / "inner").mkdir()
    mounting = f"mount -t tmpfs none '{tmp_path}/inner' && exec \"$@\""
    look = "cut -d' ' -f5,6 /proc/self/mountinfo | grep ^/shown"
    system = (part for path in SYSTEM[:5] for part in ("--ro-bind-try", path, path))
    shown = ("--ro-bind", str(tmp_path), "/shown", "--bind", str(tmp_path), "/shown-too")
    options = ("--unshare-pid", *system, "--proc", "/proc", *shown, "--", *SHELL, look)
    seen = {
        program: run("unshare", "--mount", "sh", "-c", mounting, "sh", program, *options)
        for program in list_programs()
    }

    status, output, errors = seen[str(LAUNCHER_FILE)]
    assert (status, errors) == (0, "")
    assert "/shown/inner ro,nosuid,nodev" in output
    assert "/shown-too/inner rw,nosuid,nodev" in output
    assert seen[str(bwrap_program.find_installed())] == (status, output, errors)


def test_directory_of_an_unknown_user_can_be_hidden(tmp_path: Path) -> None:
    """In a user namespace, root may mount over a directory that it may not enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    os.chown(private, 1234, 1234)
    tmp_path.chmod(0o755)
    system = (part for path in SYSTEM[:5] for part in ("--ro-bind-try", path, path))
    shown = ("--ro-bind", str(tmp_path), "/shown", "--perms", "0000", "--tmpfs", "/shown/private")
    options = ("--unshare-pid", *system, *shown, "--", "/bin/true")

    done = run("unshare", "--map-root-user", "--mount", str(LAUNCHER_FILE), *options)

    assert done == (0, "", "")


def test_target_may_have_thousands_of_parts() -> None:
    """The depth of a path that is missing in the sandbox has no limit but its length."""
    system = (part for path in SYSTEM[:5] for part in ("--ro-bind-try", path, path))
    options = ("--unshare-pid", *system, "--tmpfs", "/a" * 2000, "--", "/bin/true")

    assert run(str(LAUNCHER_FILE), *options) == (0, "", "")


def test_command_does_not_start_without_the_launcher() -> None:
    """A launcher that is killed before it could tell the command's PID leaves no process."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, bytes(size))
    process = subprocess.Popen(
        [LAUNCHER_FILE, "--info-fd", str(writing), *HOST, "--", *SHELL, "echo started"],
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
    )
    process.kill()
    output, _ = process.communicate()  # until the child has closed its output as well
    os.close(reading)
    os.close(writing)

    assert output == b""


def test_stopped_child_ends_with_the_launcher() -> None:
    """A child that cannot go on, as in a mount that blocks, ends with a launcher that is killed."""
    reading, writing = os.pipe()
    os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
    mounts = (*HOST, "--ro-bind", "/etc", "/etc")
    process = subprocess.Popen(
        [LAUNCHER_FILE, "--info-fd", str(writing), *mounts, "--", *SHELL, "echo started"],
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert available.wait_for(children.read_text, 120)
    child = int(children.read_text())
    assert available.wait_for(lambda: has_own_etc(child), 120)
    os.kill(child, signal.SIGSTOP)
    process.kill()
    output, _ = process.communicate(timeout=120)  # until the child has closed its output as well
    os.close(reading)
    os.close(writing)

    assert output == b""


def has_own_etc(pid: int) -> bool:
    """Return whether a child of the launcher has mounted `/etc`, which it does late."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return not {"/etc", "/newroot/etc"}.isdisjoint(line.split()[4] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--unshare-user", *HOST, "--", "/bin/true"], "--unshare-user: no such option"),
        (["--cap-add", "CAP_NONE", "--", "/bin/true"], "CAP_NONE: no such capability"),
        (["--cap-drop", "CAP_KILL", "--", "/bin/true"], "CAP_KILL: only ALL can be dropped"),
        ([*HOST], "command line: no command"),
        (["--ro-bind", "/"], "--ro-bind: an argument is missing"),
        (["--info-fd"], "--info-fd: an argument is missing"),
        ([*HOST, "--tmpfs", "relative", "--", "/bin/true"], "relative: not an absolute path"),
        (["--ro-bind", "/missing", "/a", "--", "/bin/true"], "/missing: No such file"),
        ([*HOST, "--", "/missing"], "/missing: No such file or directory"),
        ([*HOST, "--ro-bind", "/", "/etc/passwd", "--", "/bin/true"], "/etc/passwd: Invalid"),
    ],
)
def test_errors_name_their_cause(arguments: list[str], error: str) -> None:
    """An error of the launcher names the argument, and no command starts."""
    status, output, errors = run(str(LAUNCHER_FILE), *arguments)

    assert (status, output) == (1, "")
    assert errors.startswith(f"launcher: {error}")
