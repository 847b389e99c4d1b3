"""Checks of the contents of a sandbox: files, environment and network."""

import os
import shlex
import socket
from dataclasses import replace
from pathlib import Path, PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.errors import ImageError
from isosmoke.sandbox.spec import HOST_IMAGE, CopyOnWrite
from isosmoke.testing.bench import HOME, Bench, JobOptions, Witness, start_job
from isosmoke.testing.contract.checks import PROMPT_SECONDS, check, expect, expect_pass

_NO_IMAGE = "isosmoke-contract/missing:1"


@check
def each_sandbox_is_fresh(engine: Engine, bench: Bench) -> None:
    """Check that files that one job writes are absent from the next sandbox."""
    directories = ("/tmp", "/var/tmp", "/run", HOME, bench.workspace)  # noqa: S108 - in the sandbox
    paths = " ".join(f"{directory}/seen" for directory in directories)
    expect_pass(
        engine, bench.shell(f"touch {paths}"), "a fresh directory or the workspace is read-only"
    )
    line = f"for path in {paths}; do test ! -e $path || exit 1; done"
    expect_pass(engine, bench.shell(line), "a sandbox contains files of an earlier one")


@check
def a_fresh_sandbox_has_only_its_script(engine: Engine, bench: Bench) -> None:
    """Check that the keeper is the first process, and the script is the only other one."""
    line = "for dir in /proc/[0-9]*; do test $dir = /proc/1 || test $dir = /proc/$$ || exit 1; done"
    expect_pass(engine, bench.shell(line), "there is another process in a fresh sandbox")


@check
def the_environment_is_what_the_job_says(engine: Engine, bench: Bench) -> None:
    """Check that the environment contains no variable of the host or of the image."""
    result = expect_pass(engine, bench.job(("env", "-0")), "env could not be run")
    environment = dict(entry.split("=", 1) for entry in result.output.decode().split("\0") if entry)
    expect(
        that=environment == bench.environment, message=f"the environment is {sorted(environment)}"
    )


@check
def the_script_starts_in_its_directory(engine: Engine, bench: Bench) -> None:
    """Check that the working directory is the job's, at the same path as on the host."""
    result = expect_pass(engine, bench.shell("/bin/pwd"), "pwd failed")
    expect(
        that=result.words == [str(bench.workspace)],
        message=f"the working directory is {result.words}",
    )


@check
def a_file_outside_the_specification_is_invisible(engine: Engine, bench: Bench) -> None:
    """Check that only files of the host that are mounted are visible."""
    outside = bench.folder / "outside"
    outside.write_text("secret")
    expect_pass(engine, bench.shell(f"test ! -e {outside}"), f"{outside} of the host is visible")


@check
def a_read_only_mount_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """Check that a script can read a read-only directory and its files but write to neither."""
    line = (
        f"cd {bench.fixed}; grep -q host file || exit 1; "
        "! echo x 2>/dev/null >file && ! touch more && ! rm -f file"
    )
    expect_pass(engine, bench.shell(line), "a read-only mount is writable or unreadable")
    expect(
        that=_list_names(bench.fixed) == {"file"},
        message="a read-only directory of the host changed",
    )


@check
def the_system_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """Check that a script cannot change the host's programs, even as root."""
    expect_pass(
        engine, bench.shell("! touch /usr/bin/seen && ! rm -f /usr/bin/env"), "/usr is writable"
    )
    expect(that=Path("/usr/bin/env").exists(), message="a program of the host is gone")


@check
def copy_on_write_does_not_change_the_host(engine: Engine, bench: Bench) -> None:
    """Check that a script can write, move and remove in the workspace, but not on the host."""
    directory = bench.workspace / "nested"
    directory.mkdir()
    (directory / "inner").write_text("inner\n")
    line = (
        "echo more >>file; echo new >new; mv nested moved; mkdir nested; touch nested/other; "
        "test -e moved/inner && test ! -e nested/inner && rm -r moved && grep -q more file"
    )
    expect_pass(engine, bench.shell(f"set -e; {line}"), "the workspace cannot be changed")
    content = (bench.workspace / "file").read_text()
    expect(that=content == "from the host\n", message=f"a file of the host changed: {content!r}")
    names = _list_names(bench.workspace) | _list_names(directory)
    expect(
        that=names == {"file", "nested", "inner"}, message=f"the host's directory contains {names}"
    )


@check
def a_layer_above_covers_its_source(engine: Engine, bench: Bench) -> None:
    """Check that files of a mount's layer `above` replace and join those of its source."""
    above = bench.folder / "above"
    (above / "joined").mkdir(parents=True)
    (above / "joined" / "inner").write_text("from above\n")
    (above / "file").write_text("from above\n")
    (bench.workspace / "joined").mkdir()
    (bench.workspace / "joined" / "outer").touch()
    line = (
        "grep -q above file && grep -q above joined/inner && test -e joined/outer && echo x >file"
    )
    job = bench.shell(line)
    mounts = tuple(
        replace(mount, above=above) if isinstance(mount, CopyOnWrite) else mount
        for mount in job.spec.mounts
    )
    job = replace(job, spec=replace(job.spec, mounts=mounts))
    expect_pass(engine, job, "the layer above a mount is not visible")
    content = (above / "file").read_text()
    expect(that=content == "from above\n", message=f"a file of the layer changed: {content!r}")


@check
def changes_of_a_script_are_found(engine: Engine, bench: Bench) -> None:
    """Check that each host directory named by a sandbox holds the script's changes."""
    paths = (bench.workspace, PurePosixPath("/var/tmp"), HOME)  # noqa: S108 - in the sandbox
    job = bench.shell(f"for path in {shlex.join(map(str, paths))}; do echo $path >$path/new; done")
    with engine.sandbox(job.spec) as sandbox:
        status = start_job(sandbox, job).wait_for_exit(PROMPT_SECONDS)
        expect(that=status == 0, message=f"a script that writes ended with status {status}")
        changes = {path: sandbox.changes.get(PurePosixPath(path)) for path in paths}
        for path, directory in changes.items():
            expect(
                that=directory is None or _read(directory / "new") == f"{path}\n",
                message=f"a file written in {path} is missing from {directory}",
            )


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _list_names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@check
def a_socket_in_the_workspace_cannot_be_reached(engine: Engine, bench: Bench) -> None:
    """Check that a script cannot connect to a host service in a copy-on-write directory."""
    code = (
        "import os, socket, sys\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1]) if len(sys.argv) > 1 else None\n"
        "sys.exit(client.connect_ex('service.sock') == 0)\n"
    )
    with socket.socket(socket.AF_UNIX) as service:
        _bind(service, bench.workspace)
        service.listen()
        expect_pass(engine, bench.python(code), "a script connected to a live socket of the host")


def _bind(service: socket.socket, directory: Path) -> None:
    """Bind by a descriptor, because the path of a socket is limited to 108 characters."""
    descriptor = os.open(directory, os.O_PATH)
    try:
        service.bind(f"/proc/self/fd/{descriptor}/service.sock")
    finally:
        os.close(descriptor)


@check
def an_isolated_network_reaches_nothing(engine: Engine, bench: Bench) -> None:
    """Check that loopback works, there is no route, and the host's loopback is unreachable."""
    code = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname())\n"
        "routes = open('/proc/net/route').read().splitlines()[1:]\n"
        "out = socket.socket().connect_ex(('127.0.0.1', PORT)) == 0\n"
        "sys.exit(f'routes {routes}, host reached: {out}' if routes or out else 0)\n"
    )
    with Witness() as witness:
        job = bench.python(code.replace("PORT", str(witness.port)), JobOptions(network="isolated"))
        expect_pass(engine, job, "the network is not isolated")


@check
def the_host_network_is_the_hosts(engine: Engine, bench: Bench) -> None:
    """Check that without isolation a script can reach a listener on the host's loopback."""
    with Witness() as witness:
        expect_pass(engine, bench.shell(witness.connect), "the host's loopback is unreachable")


@check
def an_image_is_known_by_its_digest(engine: Engine, bench: Bench) -> None:  # noqa: ARG001 - a check takes both
    """Check that the host's image has no digest, and that a missing image is named."""
    digest = engine.image_digest(HOST_IMAGE)
    expect(that=digest == "", message=f"the host's image has the digest {digest}")
    try:
        digest = engine.image_digest(_NO_IMAGE)
    except ImageError as error:
        expect(
            that=_NO_IMAGE in error.message, message=f"the error does not name the image: {error}"
        )
    else:
        raise AssertionError(f"an image that does not exist has the digest {digest}")
