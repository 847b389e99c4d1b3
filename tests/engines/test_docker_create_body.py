"""What the Docker engine asks the daemon for: the parts without a daemon."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from isosmoke.engines.docker import create_body
from isosmoke.engines.docker.create_body import DOCKER, PODMAN, Dialect, Layer
from isosmoke.errors import EngineError
from isosmoke.sandbox.spec import (
    KEEPER,
    NAMESPACES,
    CopyOnWrite,
    Fresh,
    Limits,
    Mount,
    ReadOnly,
    SandboxSpec,
)

LABELS = {"isosmoke.lease": "boot.1.2", "isosmoke.label": "install"}


def spec(*mounts: Mount, image: str = "host", uid: int = 0) -> SandboxSpec:
    """A specification with these mounts."""
    return SandboxSpec(
        label="install", image=image, mounts=mounts, uid=uid, gid=uid, network="host"
    )


def asked(wanted: SandboxSpec, **layers: Layer) -> dict[str, Any]:
    """What is asked of the daemon, the targets of layers being in the root."""
    found = {PurePosixPath("/", name): layer for name, layer in layers.items()}
    return create_body.body(wanted, Dialect(DOCKER), layers=found, labels=LABELS)


def layer(folder: str) -> Layer:
    """A layer in a folder."""
    return Layer(*(Path(folder, name) for name in ("lower", "upper", "work")))


def test_specification_becomes_a_container() -> None:
    """Each part of a specification is asked for, and nothing that was not specified."""
    wanted = SandboxSpec(
        label="install",
        image="host",
        mounts=(
            CopyOnWrite(Path("/w")),
            ReadOnly(Path("/keep"), KEEPER),
            Fresh(PurePosixPath("/fresh"), 0o1777),
        ),
        uid=1000,
        gid=100,
        network="isolated",
        limits=Limits(memory=1 << 20, processes=7),
    )

    assert asked(wanted, w=layer("/s")) == {
        "Image": "isosmoke/empty:1",
        "Entrypoint": ["/run/isosmoke/keeper", "0", str(NAMESPACES["NEWCGROUP"])],
        "User": "1000:100",
        "WorkingDir": "/",
        "Labels": LABELS,
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "NetworkMode": "none",
            "UsernsMode": "host",
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges", "label=disable"],
            "ReadonlyRootfs": True,
            "Init": False,
            "AutoRemove": False,
            "LogConfig": {"Type": "none"},
            "ShmSize": 1 << 30,
            "Memory": 1 << 20,
            "MemorySwap": 1 << 20,
            "PidsLimit": 7,
            "Ulimits": [],
            "Binds": [],
            "Tmpfs": {"/fresh": "exec,nosuid,nodev,mode=1777,uid=1000,gid=100"},
            "Mounts": [
                {
                    "Type": "volume",
                    "Target": "/w",
                    "VolumeOptions": {
                        "NoCopy": True,
                        "Labels": LABELS,
                        "DriverConfig": {
                            "Name": "local",
                            "Options": {
                                "type": "overlay",
                                "device": "overlay",
                                "o": "lowerdir=/s/lower,upperdir=/s/upper,workdir=/s/work",
                            },
                        },
                    },
                },
                {
                    "Type": "bind",
                    "Source": "/keep",
                    "Target": "/run/isosmoke/keeper",
                    "ReadOnly": True,
                },
            ],
        },
    }


def test_fresh_folder_on_disk_is_a_folder_of_the_host() -> None:
    """It is bound, writable, and neither it nor what leads to a mount in it is in memory."""
    body = asked(
        spec(
            Fresh(PurePosixPath("/home"), 0o700, on_disk=True),
            ReadOnly(Path("/tool"), PurePosixPath("/home/a/tool")),
        ),
        home=layer("/s"),
    )

    assert body["HostConfig"]["Tmpfs"] == {}
    assert body["HostConfig"]["Mounts"][0] == {
        "Type": "bind",
        "Source": "/s/upper",
        "Target": "/home",
        "ReadOnly": False,
    }


def test_named_image_keeps_a_writable_root_and_the_host_network() -> None:
    """A named image is used as it is, and a specification without limits asks for none."""
    body = asked(spec(image="debian:12"))

    assert body["Image"] == "debian:12"
    assert not body["HostConfig"]["ReadonlyRootfs"]
    assert body["HostConfig"]["NetworkMode"] == "host"
    assert not {"Memory", "MemorySwap", "PidsLimit"} & set(body["HostConfig"])


def test_folders_between_a_fresh_one_and_a_mount_belong_to_the_user() -> None:
    """What leads from a fresh folder to a mount in it is fresh too, and nothing else is."""
    body = asked(
        spec(
            Fresh(PurePosixPath("/home/u"), 0o700),
            ReadOnly(Path("/tools"), PurePosixPath("/home/u/.local/share/tools")),
            ReadOnly(Path("/deep"), PurePosixPath("/home/u/.local/share/tools/a/b")),
            ReadOnly(Path("/srv"), PurePosixPath("/srv/x/y")),
            uid=7,
        )
    )

    assert body["HostConfig"]["Tmpfs"] == {
        "/home/u": "exec,nosuid,nodev,mode=0700,uid=7,gid=7",
        "/home/u/.local": "exec,nosuid,nodev,mode=0755,uid=7,gid=7",
        "/home/u/.local/share": "exec,nosuid,nodev,mode=0755,uid=7,gid=7",
    }


def test_of_two_mounts_on_one_target_the_later_counts() -> None:
    """Docker refuses a target that is named twice, so it is named once."""
    target = PurePosixPath("/etc/passwd")
    body = asked(spec(ReadOnly(Path("/first"), target), ReadOnly(Path("/second"), target)))

    assert [one["Source"] for one in body["HostConfig"]["Mounts"]] == ["/second"]


@pytest.mark.parametrize("folder", ["/a,b", "/a:b", "/a\\b", '/a"b'])
def test_state_folder_that_an_overlay_cannot_name_is_refused(folder: str) -> None:
    """A name that would be read as something else is an error that says which, and what to do."""
    with pytest.raises(EngineError, match="overlay options") as caught:
        asked(spec(CopyOnWrite(Path("/w"))), w=layer(folder))

    assert folder in caught.value.message
    assert "ISOSMOKE_STATE" in caught.value.hint


ROOTLESS = Dialect(PODMAN, "keep-id", {"nofile": (99, 100), "nproc": (7, 8)})


def test_podman_is_asked_in_its_own_way() -> None:
    """Fresh folders are on disk, copies are its own overlays, and limits and users are named."""
    fresh = PurePosixPath("/run")
    wanted = create_body.adapted(spec(CopyOnWrite(Path("/w")), Fresh(fresh, 0o755)), ROOTLESS)
    layers = {PurePosixPath("/w"): layer("/s/w"), fresh: layer("/s/run")}
    host = create_body.body(wanted, ROOTLESS, layers=layers, labels=LABELS)["HostConfig"]

    assert host["Binds"] == ["/s/w/lower:/w:O,upperdir=/s/w/upper,workdir=/s/w/work"]
    assert [(one["Source"], one["Target"]) for one in host["Mounts"]] == [("/s/run/upper", "/run")]
    assert host["Tmpfs"] == {}
    assert host["UsernsMode"] == "keep-id"
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 99, "Hard": 100},
        {"Name": "nproc", "Soft": 7, "Hard": 8},
    ]


def test_podman_replaces_no_user_of_the_hosts() -> None:
    """The host's passwd and group are mounted by name, unless something else is."""
    etc = ReadOnly(Path("/etc"), PurePosixPath("/etc"))
    own = ReadOnly(Path("/own"), PurePosixPath("/etc/group"))

    after = create_body.adapted(spec(etc, own), ROOTLESS)

    passwd = ReadOnly(Path("/etc/passwd"), PurePosixPath("/etc/passwd"))
    assert after.mounts == (etc, own, passwd)
    assert create_body.adapted(spec(etc, own), Dialect(DOCKER)).mounts == (etc, own)


@pytest.mark.parametrize(("folder", "state"), [("/a:b", "/s"), ("/w", "/a,b")])
def test_what_podman_cannot_name_is_refused(folder: str, state: str) -> None:
    """A colon in a copied folder, or a comma in the state folder, is an error that names it."""
    layers = {PurePosixPath(folder): layer(state)}
    with pytest.raises(EngineError, match=r"a.b") as caught:
        create_body.body(spec(CopyOnWrite(Path(folder))), ROOTLESS, layers=layers, labels=LABELS)

    assert caught.value.hint


@pytest.mark.parametrize(
    ("words", "mending"),
    [
        ("crun: cgroups in hybrid mode not supported, drop all controllers", 'runtime = "runc"'),
        ("runc: error setting rlimit type 6: operation not permitted", "LimitNPROC"),
        ("exec: newuidmap: executable file not found", "uidmap"),
        ("something else", ""),
    ],
)
def test_known_complaint_has_a_remedy(words: str, mending: str) -> None:
    """What a runtime is known to complain of comes with what mends it, and nothing else does."""
    assert mending in create_body.remedy(words)
    assert bool(create_body.remedy(words)) == bool(mending)


def test_writable_mounts_below_a_read_only_one_are_read_only_too() -> None:
    """Each gets a mount of its own, unless its target has one or it is read-only already."""
    mountinfo = (
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "28 27 0:25 / /opt/in\\040side rw,nosuid - tmpfs x rw\n"
        "29 27 0:26 / /opt/fixed ro,nosuid - squashfs x ro\n"
        "30 27 0:27 / /opt/taken rw - tmpfs x rw\n"
        "31 27 0:28 / /optical rw - tmpfs x rw\n"
    )
    before = spec(
        ReadOnly(Path("/opt"), PurePosixPath("/o")),
        Fresh(PurePosixPath("/o/taken"), 0o755),
    )

    after = create_body.with_submounts(before, mountinfo)

    added = set(after.mounts) - set(before.mounts)
    assert added == {ReadOnly(Path("/opt/in side"), PurePosixPath("/o/in side"))}


def test_a_mount_below_a_read_only_one_is_not_shown_over_what_lies_there() -> None:
    """Of a mount under a copy or an empty folder, or under another mount, nothing is seen."""
    mountinfo = (
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "28 27 0:25 / /opt/project/data rw - tmpfs x rw\n"
        "29 27 0:26 / /opt/empty/data rw - tmpfs x rw\n"
        "30 27 0:27 / /opt/over/hidden rw - tmpfs x rw\n"
        "31 27 0:28 / /opt/over ro - tmpfs x rw\n"
    )
    before = spec(
        ReadOnly(Path("/opt"), PurePosixPath("/opt")),
        CopyOnWrite(Path("/opt/project")),
        Fresh(PurePosixPath("/opt/empty"), 0o755),
    )

    assert create_body.with_submounts(before, mountinfo).mounts == before.mounts


def test_what_fails_for_a_mount_in_the_workspace_names_it() -> None:
    """A refused overlay is told in plain words; of anything else the words are kept."""
    points = [Path("/p/a"), Path("/p/b")]

    refused = create_body.unshown(EngineError("runc: mount: invalid argument"), points)
    other = create_body.unshown(EngineError("no space left", "free some"), points)

    assert refused.message.endswith("what is mounted in it: /p/a, /p/b")
    assert other.message == "no space left (mounted in the workspace: /p/a, /p/b)"
    assert other.hint == "free some"


def test_archive_has_an_empty_file_for_each_name() -> None:
    """The archive that replaces folders holds regular empty files and nothing else."""
    with tarfile.open(
        fileobj=io.BytesIO(create_body.empty_files(["upper-0", "work-0"]))
    ) as archive:
        found = [(one.name, one.isreg(), one.size) for one in archive]

    assert found == [("upper-0", True, 0), ("work-0", True, 0)]


def test_control_groups_of_a_rootless_podman_are_the_users_own() -> None:
    """So a cgroup namespace is refused there, whoever owns the groups of isosmoke itself."""
    safe = replace(spec(), uid=1, writes_to_cgroup=False)

    assert create_body.adapted(safe, ROOTLESS).refused_namespaces() == {"NEWCGROUP"}
    assert not create_body.adapted(safe, Dialect(PODMAN)).refused_namespaces()
    assert not create_body.adapted(safe, Dialect(DOCKER)).refused_namespaces()
