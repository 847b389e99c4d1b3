"""The means to run a machine: KVM, user-mode Linux, or an emulated processor.

User-mode Linux is the same kernel, built to run as an ordinary program (Debian's package
`user-mode-linux`). It has control groups, name spaces, AppArmor and SELinux, but one processor and
no measure of pressure. It needs no KVM and is several times faster than an emulated processor.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KVM, UML, TCG = "KVM", "user-mode Linux", "emulated processor"

CHOICES = {"kvm": KVM, "uml": UML, "tcg": TCG}
"""The values of `ISOSMOKE_MACHINES_ACCELERATOR`."""

HARDWARE = frozenset({"svm", "vmx"})
"""The flags of a processor that runs the kernel of a guest itself.

Some hosts have a `/dev/kvm` without it (pvm), where an unmodified kernel is interpreted and takes
minutes to print its first lines.
"""


def choose(requested: str, device: Path, cpuinfo: str) -> str:
    """Return the requested accelerator, or the best one for this device and processor.

    Raises:
        ValueError: if the requested one is unknown.
    """
    if requested:
        if requested not in CHOICES:
            raise ValueError(f"unknown: {requested}; known: {', '.join(CHOICES)}")
        return CHOICES[requested]
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return KVM if os.access(device, os.W_OK) and HARDWARE & set(flags.split()) else UML


def get_flavor(accelerator: str) -> str:
    """Return the kind of kernel that `build.sh` builds for an accelerator."""
    return "uml" if accelerator == UML else "kernel"


_WITH_LIBRARIES = """\
mount --bind "$1" /usr/lib/x86_64-linux-gnu
export LD_PRELOAD="$2"
shift 2
exec "$@"
"""
"""A script that starts a program of another Debian with its libraries, and with a preloaded one."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The parts of a machine; `kernel` and `shared` are directories, `memory` is in MiB.

    The first disk is its root. All disks stay unchanged.
    """

    kernel: Path
    shared: Path
    disks: Sequence[Path]
    memory: int
    arguments: str


def build_command(accelerator: str, boot: Boot) -> list[str]:
    """Return the command that boots a machine."""
    if accelerator == UML:
        return _build_uml(boot)
    return [
        "qemu-system-x86_64",
        *_list_processor(accelerator),
        *("-m", str(boot.memory), "-smp", "1", "-nographic", "-no-reboot"),
        *("-kernel", str(boot.kernel / "vmlinuz"), "-initrd", str(boot.kernel / "initrd")),
        *("-append", f"console=ttyS0 mitigations=off {boot.arguments}"),
        *("-virtfs", f"local,path={boot.shared},mount_tag=share,security_model=none"),
        *("-nic", "none", "-device", "virtio-rng-pci"),
        *(
            word
            for disk in boot.disks
            for word in ("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe,snapshot=on")
        ),
    ]


def _list_processor(accelerator: str) -> tuple[str, ...]:
    if accelerator == KVM:
        return "-accel", "kvm", "-cpu", "host,arch-capabilities=off"
    return "-accel", "tcg,thread=multi", "-cpu", "max"


def _build_uml(boot: Boot) -> list[str]:
    """Return the command of a user-mode Linux, which writes to `SHARED.N` instead of disk N."""
    shared = boot.shared
    return [
        *("unshare", "--mount", "sh", "-ec", _WITH_LIBRARIES, "-"),
        *(str(boot.kernel / "libraries"), str(boot.kernel.parent / "registers.so")),
        str(boot.kernel / "linux.uml"),
        f"mem={boot.memory}M",
        f"uml_dir={shared.parent}",
        f"umid=uml-{shared.name}",
        f"hostfs={shared}",
        *(f"ubd{n}={shared}.{n},{disk}" for n, disk in enumerate(boot.disks)),
        *("root=/dev/ubda", "rw", "con=null", "con0=null,fd:1", "panic=-1"),
        *boot.arguments.split(),
    ]
