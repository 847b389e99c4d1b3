"""What a sandbox contains: its files, environment and network."""

import os
import shlex
import socket
from pathlib import Path, PurePosixPath

from isosmoke.engines.base import Engine
from isosmoke.errors import ImageError
from isosmoke.sandbox.spec import HOST_IMAGE
from isosmoke.testing.bench import HOME, Bench, Terms, Witness, started
from isosmoke.testing.contract.checks import PROMPT_SECONDS, check, expect, expect_pass

_NO_IMAGE = "isosmoke-contract/missing:1"


@check
def each_sandbox_is_fresh(engine: Engine, bench: Bench) -> None:
    """Nothing that one job writes is there for the next."""
    folders = ("/tmp", "/var/tmp", "/run", HOME, bench.workspace)  # noqa: S108 - in the sandbox
    places = " ".join(f"{one}/seen" for one in folders)
    expect_pass(
        engine, bench.shell(f"touch {places}"), "a fresh folder or the workspace is read-only"
    )
    line = f"for one in {places}; do test ! -e $one || exit 1; done"
    expect_pass(engine, bench.shell(line), "a sandbox still has what an earlier one wrote")


@check
def a_fresh_sandbox_has_only_its_script(engine: Engine, bench: Bench) -> None:
    """The first process is the keeper, and the script is all that runs beside it."""
    line = "for one in /proc/[0-9]*; do test $one = /proc/1 || test $one = /proc/$$ || exit 1; done"
    expect_pass(engine, bench.shell(line), "there is another process in a fresh sandbox")


@check
def the_environment_is_what_the_job_says(engine: Engine, bench: Bench) -> None:
    """No variable of the host or of the image slips in."""
    seen = expect_pass(engine, bench.job(("env", "-0")), "env could not be run")
    found = dict(one.split("=", 1) for one in seen.output.decode().split("\0") if one)
    expect(that=found == bench.environment, words=f"the environment is {sorted(found)}")


@check
def the_script_stands_in_its_folder(engine: Engine, bench: Bench) -> None:
    """The working folder is the job's, by the same name as on the host."""
    seen = expect_pass(engine, bench.shell("/bin/pwd"), "pwd failed")
    expect(that=seen.words == [str(bench.workspace)], words=f"it stands in {seen.words}")


@check
def a_file_outside_the_specification_is_invisible(engine: Engine, bench: Bench) -> None:
    """Of the host's files only those that are mounted can be found."""
    outside = bench.folder / "outside"
    outside.write_text("secret")
    expect_pass(engine, bench.shell(f"test ! -e {outside}"), f"{outside} of the host can be seen")


@check
def a_read_only_mount_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """Neither a file of it nor the folder, while both can be read."""
    line = (
        f"cd {bench.fixed}; grep -q host file || exit 1; "
        "! echo x 2>/dev/null >file && ! touch more && ! rm -f file"
    )
    expect_pass(engine, bench.shell(line), "a read-only mount can be written, or not be read")
    expect(that=_listed(bench.fixed) == {"file"}, words="a read-only folder of the host changed")


@check
def the_system_cannot_be_written(engine: Engine, bench: Bench) -> None:
    """The host's own programs are safe from a script, root's too."""
    expect_pass(
        engine, bench.shell("! touch /usr/bin/seen && ! rm -f /usr/bin/env"), "/usr is writable"
    )
    expect(that=Path("/usr/bin/env").exists(), words="a program of the host is gone")


@check
def copy_on_write_does_not_change_the_host(engine: Engine, bench: Bench) -> None:
    """A script may write, move and remove in the workspace, and its host folder stays as it is."""
    folder = bench.workspace / "folder"
    folder.mkdir()
    (folder / "inner").write_text("inner\n")
    line = (
        "echo more >>file; echo new >new; mv folder moved; mkdir folder; touch folder/other; "
        "test -e moved/inner && test ! -e folder/inner && rm -r moved && grep -q more file"
    )
    expect_pass(engine, bench.shell(f"set -e; {line}"), "the workspace cannot be worked in")
    content = (bench.workspace / "file").read_text()
    expect(that=content == "from the host\n", words=f"a file of the host changed: {content!r}")
    names = _listed(bench.workspace) | _listed(folder)
    expect(that=names == {"file", "folder", "inner"}, words=f"the host's folder has {names}")


@check
def what_a_script_writes_is_found(engine: Engine, bench: Bench) -> None:
    """While a sandbox stands, each folder of the host that it names holds what changed there."""
    places = (bench.workspace, PurePosixPath("/var/tmp"), HOME)  # noqa: S108 - in the sandbox
    job = bench.shell(f"for one in {shlex.join(map(str, places))}; do echo $one >$one/new; done")
    with engine.sandbox(job.spec) as sandbox:
        status = started(sandbox, job).exited(PROMPT_SECONDS)
        expect(that=status == 0, words=f"a script that writes ended with status {status}")
        told = {place: sandbox.changes.get(PurePosixPath(place)) for place in places}
        for place, folder in told.items():
            expect(
                that=folder is None or _content(folder / "new") == f"{place}\n",
                words=f"what was written in {place} is not in {folder}",
            )


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _listed(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


@check
def a_socket_in_the_workspace_cannot_be_reached(engine: Engine, bench: Bench) -> None:
    """A live service of the host that listens in a copy-on-write folder is out of reach."""
    code = (
        "import os, socket, sys\n"
        "one = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1]) if len(sys.argv) > 1 else None\n"
        "sys.exit(one.connect_ex('service.sock') == 0)\n"
    )
    with socket.socket(socket.AF_UNIX) as service:
        _bind(service, bench.workspace)
        service.listen()
        expect_pass(engine, bench.python(code), "a script connected to a live socket of the host")


def _bind(service: socket.socket, folder: Path) -> None:
    """By a descriptor, because the name of a socket may only have 108 characters."""
    descriptor = os.open(folder, os.O_PATH)
    try:
        service.bind(f"/proc/self/fd/{descriptor}/service.sock")
    finally:
        os.close(descriptor)


@check
def an_isolated_network_reaches_nothing(engine: Engine, bench: Bench) -> None:
    """Loopback works, nothing is routed, and the host's own loopback is another one."""
    code = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname())\n"
        "routes = open('/proc/net/route').read().splitlines()[1:]\n"
        "out = socket.socket().connect_ex(('127.0.0.1', PORT)) == 0\n"
        "sys.exit(f'routes {routes}, host reached: {out}' if routes or out else 0)\n"
    )
    with Witness() as witness:
        job = bench.python(code.replace("PORT", str(witness.port)), Terms(network="isolated"))
        expect_pass(engine, job, "an isolated network is not")


@check
def the_host_network_is_the_hosts(engine: Engine, bench: Bench) -> None:
    """Without isolation a script reaches what listens on the host's loopback."""
    with Witness() as witness:
        expect_pass(engine, bench.shell(witness.connect), "the host's loopback cannot be reached")


@check
def an_image_is_known_by_its_digest(engine: Engine, bench: Bench) -> None:  # noqa: ARG001 - a check takes both
    """The host's image has none, and an image that the engine lacks is an error that names it."""
    found = engine.image_digest(HOST_IMAGE)
    expect(that=found == "", words=f"the host's image has the digest {found}")
    try:
        found = engine.image_digest(_NO_IMAGE)
    except ImageError as error:
        expect(that=_NO_IMAGE in error.message, words=f"a missing image is told as: {error}")
    else:
        raise AssertionError(f"an image that does not exist has the digest {found}")
