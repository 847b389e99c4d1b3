"""Requests to the Docker daemon, without a daemon."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from isosmoke.engines.docker import create_body
from isosmoke.engines.docker.client import find_remedy, find_unlimited
from isosmoke.engines.docker.create_body import DOCKER, PODMAN, Dialect, DockerLayer
from isosmoke.engines.docker.engine import workspace_mounts_error
from isosmoke.engines.docker.scratch import build_empty_files_archive
from isosmoke.errors import EngineError
from isosmoke.sandbox.spec import (
    KEEPER,
    NAMESPACES,
    CopyOnWrite,
    Fresh,
    Mount,
    ReadOnly,
    ResourceLimits,
    SandboxSpec,
)

LABELS = {"isosmoke.lease": "boot.1.2", "isosmoke.label": "install"}


def create_spec(*mounts: Mount, image: str = "host", uid: int = 0) -> SandboxSpec:
    """Return a specification with these mounts."""
    return SandboxSpec(
        label="install", image=image, mounts=mounts, uid=uid, gid=uid, network="host"
    )


def build_request(specification: SandboxSpec, **layers: DockerLayer) -> dict[str, Any]:
    """Return the body of the request, with layers at targets in the root directory."""
    layers_by_target = {
        PurePosixPath("/", name): create_layer for name, create_layer in layers.items()
    }
    return create_body.build_body(
        specification, Dialect(DOCKER), layers=layers_by_target, labels=LABELS
    )


def create_layer(directory: str) -> DockerLayer:
    """Return a layer in a directory."""
    return DockerLayer(*(Path(directory, name) for name in ("lower", "upper", "work")))


def test_specification_becomes_a_container() -> None:
    """The request contains every part of a specification and nothing else."""
    specification = SandboxSpec(
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
        limits=ResourceLimits(memory=1 << 20, processes=7),
    )

    assert build_request(specification, w=create_layer("/s")) == {
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


def test_fresh_directory_on_disk_is_a_bind_mount() -> None:
    """It is a writable bind mount, and no directory between it and a mount in it is in memory."""
    body = build_request(
        create_spec(
            Fresh(PurePosixPath("/home"), 0o700, on_disk=True),
            ReadOnly(Path("/tool"), PurePosixPath("/home/a/tool")),
        ),
        home=create_layer("/s"),
    )

    assert body["HostConfig"]["Tmpfs"] == {}
    assert body["HostConfig"]["Mounts"][0] == {
        "Type": "bind",
        "Source": "/s/upper",
        "Target": "/home",
        "ReadOnly": False,
    }


def test_named_image_is_used_unchanged() -> None:
    """A named image is used unchanged, and a specification without limits requests none."""
    body = build_request(create_spec(image="debian:12"))

    assert body["Image"] == "debian:12"
    assert not body["HostConfig"]["ReadonlyRootfs"]
    assert body["HostConfig"]["NetworkMode"] == "host"
    assert not {"Memory", "MemorySwap", "PidsLimit"} & set(body["HostConfig"])


def test_directories_leading_to_a_mount_belong_to_the_user() -> None:
    """Only the directories between a fresh directory and a mount in it are fresh too."""
    body = build_request(
        create_spec(
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


def test_later_mount_on_a_target_wins() -> None:
    """Docker refuses a target that occurs twice, so only the later mount is requested."""
    target = PurePosixPath("/etc/passwd")
    body = build_request(
        create_spec(ReadOnly(Path("/first"), target), ReadOnly(Path("/second"), target))
    )

    assert [mount["Source"] for mount in body["HostConfig"]["Mounts"]] == ["/second"]


@pytest.mark.parametrize("directory", ["/a,b", "/a:b", "/a\\b", '/a"b'])
def test_unsupported_state_directory_is_refused(directory: str) -> None:
    """The error names the directory, and the hint names the variable to set."""
    with pytest.raises(EngineError, match="overlay options") as caught:
        build_request(create_spec(CopyOnWrite(Path("/w"))), w=create_layer(directory))

    assert directory in caught.value.message
    assert "ISOSMOKE_STATE" in caught.value.hint


ROOTLESS = Dialect(PODMAN, "keep-id", {"nofile": (99, 100), "nproc": (7, 8)})


def test_request_to_podman_differs() -> None:
    """Fresh directories are on disk, copies are Podman's overlays; limits and users are named."""
    fresh = PurePosixPath("/run")
    specification = create_body.adapt_spec(
        create_spec(CopyOnWrite(Path("/w")), Fresh(fresh, 0o755)), ROOTLESS
    )
    layers = {PurePosixPath("/w"): create_layer("/s/w"), fresh: create_layer("/s/run")}
    host = create_body.build_body(specification, ROOTLESS, layers=layers, labels=LABELS)[
        "HostConfig"
    ]

    assert host["Binds"] == ["/s/w/lower:/w:O,upperdir=/s/w/upper,workdir=/s/w/work"]
    assert [(mount["Source"], mount["Target"]) for mount in host["Mounts"]] == [
        ("/s/run/upper", "/run")
    ]
    assert host["Tmpfs"] == {}
    assert host["UsernsMode"] == "keep-id"
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 99, "Hard": 100},
        {"Name": "nproc", "Soft": 7, "Hard": 8},
    ]


def test_podman_preserves_user_files_of_the_host() -> None:
    """The host's passwd and group files are mounted explicitly, unless others are."""
    etc = ReadOnly(Path("/etc"), PurePosixPath("/etc"))
    own = ReadOnly(Path("/own"), PurePosixPath("/etc/group"))

    after = create_body.adapt_spec(create_spec(etc, own), ROOTLESS)

    passwd = ReadOnly(Path("/etc/passwd"), PurePosixPath("/etc/passwd"))
    assert after.mounts == (etc, own, passwd)
    assert create_body.adapt_spec(create_spec(etc, own), Dialect(DOCKER)).mounts == (etc, own)


@pytest.mark.parametrize(("directory", "state"), [("/a:b", "/s"), ("/w", "/a,b")])
def test_unsupported_paths_are_refused_for_podman(directory: str, state: str) -> None:
    """A colon in a copied directory and a comma in the state directory are errors."""
    layers = {PurePosixPath(directory): create_layer(state)}
    with pytest.raises(EngineError, match=r"a.b") as caught:
        create_body.build_body(
            create_spec(CopyOnWrite(Path(directory))), ROOTLESS, layers=layers, labels=LABELS
        )

    assert caught.value.hint


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("crun: cgroups in hybrid mode not supported, drop all controllers", 'runtime = "runc"'),
        ("runc: error setting rlimit type 6: operation not permitted", "LimitNPROC"),
        ("exec: newuidmap: executable file not found", "uidmap"),
        ("something else", ""),
    ],
)
def test_known_errors_have_a_remedy(error: str, remedy: str) -> None:
    """Known errors of a runtime have a remedy, and unknown errors have none."""
    assert remedy in find_remedy(error)
    assert bool(find_remedy(error)) == bool(remedy)


def test_mounts_below_a_read_only_mount_are_read_only() -> None:
    """Each gets its own mount, unless its target has one or it is already read-only."""
    mountinfo = (
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "28 27 0:25 / /opt/in\\040side rw,nosuid - tmpfs x rw\n"
        "29 27 0:26 / /opt/fixed ro,nosuid - squashfs x ro\n"
        "30 27 0:27 / /opt/taken rw - tmpfs x rw\n"
        "31 27 0:28 / /optical rw - tmpfs x rw\n"
    )
    before = create_spec(
        ReadOnly(Path("/opt"), PurePosixPath("/o")),
        Fresh(PurePosixPath("/o/taken"), 0o755),
    )

    after = create_body.add_submounts(before, mountinfo)

    added = set(after.mounts) - set(before.mounts)
    assert added == {ReadOnly(Path("/opt/in side"), PurePosixPath("/o/in side"))}


def test_hidden_mounts_are_not_added() -> None:
    """A mount that is hidden by a copy, a fresh directory or another mount is not added."""
    mountinfo = (
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "28 27 0:25 / /opt/project/data rw - tmpfs x rw\n"
        "29 27 0:26 / /opt/empty/data rw - tmpfs x rw\n"
        "30 27 0:27 / /opt/over/hidden rw - tmpfs x rw\n"
        "31 27 0:28 / /opt/over ro - tmpfs x rw\n"
    )
    before = create_spec(
        ReadOnly(Path("/opt"), PurePosixPath("/opt")),
        CopyOnWrite(Path("/opt/project")),
        Fresh(PurePosixPath("/opt/empty"), 0o755),
    )

    assert create_body.add_submounts(before, mountinfo).mounts == before.mounts


def test_errors_name_mounts_in_the_workspace() -> None:
    """A refused overlay is explained; other errors keep their message."""
    points = [Path("/p/a"), Path("/p/b")]

    refused = workspace_mounts_error(EngineError("runc: mount: invalid argument"), points)
    other = workspace_mounts_error(EngineError("no space left", "free some"), points)

    assert refused.message.endswith("that contains mounts: /p/a, /p/b")
    assert other.message == "no space left (mounted in the workspace: /p/a, /p/b)"
    assert other.hint == "free some"


def test_archive_has_an_empty_file_for_each_name() -> None:
    """The archive that replaces directories contains only empty regular files."""
    with tarfile.open(
        fileobj=io.BytesIO(build_empty_files_archive(["upper-0", "work-0"]))
    ) as archive:
        members = [(member.name, member.isreg(), member.size) for member in archive]

    assert members == [("upper-0", True, 0), ("work-0", True, 0)]


def test_rootless_podman_refuses_cgroup_namespaces() -> None:
    """Rootless Podman refuses cgroup namespaces, regardless of who owns isosmoke's groups."""
    safe = replace(create_spec(), uid=1, writes_to_cgroup=False)

    assert create_body.adapt_spec(safe, ROOTLESS).refused_namespaces() == {"NEWCGROUP"}
    assert not create_body.adapt_spec(safe, Dialect(PODMAN)).refused_namespaces()
    assert not create_body.adapt_spec(safe, Dialect(DOCKER)).refused_namespaces()


@pytest.mark.parametrize(
    ("info", "unlimited"),
    [
        ({"MemoryLimit": True, "PidsLimit": True}, set()),
        ({"MemoryLimit": False, "PidsLimit": True}, {"memory"}),
        ({"MemoryLimit": False, "PidsLimit": False}, {"memory", "processes"}),
        ({}, set()),
    ],
)
def test_daemon_says_what_it_cannot_limit(info: dict[str, bool], unlimited: set[str]) -> None:
    """A daemon of an ordinary user may lack controllers; an old one says nothing about them."""
    assert find_unlimited(info) == unlimited
