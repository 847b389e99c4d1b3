"""The namespaces that a sandbox may not create, and the keeper's command line."""

import pytest

from isosmoke.sandbox.spec import KEEPER, NAMESPACES, SandboxSpec

ALL = frozenset(NAMESPACES)
CONTROL_GROUPS = frozenset({"NEWCGROUP"})
NONE = frozenset[str]()

Keys = dict[str, object]

REFUSED: dict[str, tuple[Keys, frozenset[str]]] = {
    "root": ({"uid": 0}, ALL),
    "root without writable control groups": ({"uid": 0, "writes_to_cgroup": False}, ALL),
    "root with new namespaces": ({"uid": 0, "new_namespaces": True}, CONTROL_GROUPS),
    "a user": ({"writes_to_cgroup": False}, NONE),
    "a user with new namespaces": ({"writes_to_cgroup": False, "new_namespaces": True}, NONE),
    "an owner of control groups": ({"writes_to_cgroup": True}, CONTROL_GROUPS),
    "a user by default": ({}, CONTROL_GROUPS),
    "a user with a capability": (
        {"writes_to_cgroup": False, "capabilities": ("DAC_OVERRIDE",)},
        CONTROL_GROUPS,
    ),
}


def spec(keys: Keys) -> SandboxSpec:
    """Return the spec of an ordinary user, with these keys replaced."""
    plain: Keys = {"label": "l", "image": "host", "mounts": (), "uid": 1000, "gid": 1000}
    return SandboxSpec(**{**plain, "network": "host", **keys})  # type: ignore[arg-type]


@pytest.mark.parametrize(("keys", "refused"), REFUSED.values(), ids=REFUSED)
def test_refused_namespaces(keys: Keys, refused: frozenset[str]) -> None:
    """Namespaces that lead to a writable control group are refused; to root all, by default."""
    assert spec(keys).refused_namespaces() == refused


def test_keeper_gets_capabilities_and_namespaces_as_masks() -> None:
    """Both masks are always passed, because the keeper refuses all namespaces by default."""
    root = spec({"capabilities": ("CHOWN", "NET_RAW", "CHOWN"), "new_namespaces": True, "uid": 0})

    assert root.keeper() == (str(KEEPER), str(1 << 0 | 1 << 13), str(0x02000000))
    assert spec({"uid": 0}).keeper() == (str(KEEPER), "0", str(0x7E020080))
    assert spec({"writes_to_cgroup": False}).keeper() == (str(KEEPER), "0", "0")


def test_keeper_may_end_processes_of_other_users_only_if_there_can_be_any() -> None:
    """The keeper has KILL beyond the script's capabilities if the script can change its user."""
    other = spec({"capabilities": ("SETUID", "SETGID")})

    assert other.keeper_capabilities() == ("SETUID", "SETGID", "KILL")
    assert other.keeper()[1] == str(1 << 7 | 1 << 6)
    assert spec({"capabilities": ("CHOWN",)}).keeper_capabilities() == ("CHOWN",)
