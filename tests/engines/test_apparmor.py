"""The AppArmor profile for bwrap: its program, and profiles that are already there."""

from pathlib import Path

import pytest

from isosmoke.engines.bubblewrap import apparmor
from isosmoke.errors import EngineUnavailableError

BWRAP = Path("/usr/bin/bwrap")

OTHERS = {
    "named": "abi <abi/4.0>,\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n",
    "unnamed": "/usr/bin/bwrap {\n}\n",
    "quoted": 'profile "my bwrap" "/usr/bin/bwrap" flags=(attach_disconnected) {\n}\n',
    "variable": "profile bwrap @{bin}/bwrap {\n}\n",
    "alternatives": "profile bwrap /{,usr/}bin/bwrap {\n}\n",
}
UNRELATED = {
    "another program": "profile bwrapper /usr/bin/bwrapper flags=(unconfined) {\n}\n",
    "another bwrap": "profile bwrap /opt/bin/bwrap flags=(unconfined) {\n}\n",
    "a comment": "# profile bwrap /usr/bin/bwrap {\n",
    "a rule": "profile shell /bin/sh {\n  /usr/bin/bwrap ix,\n}\n",
    "all programs": "profile all /** {\n}\n",
}


def test_profile_is_for_one_program() -> None:
    """It has its own name, and allows nothing but what a program without a profile may do."""
    profile = apparmor.build_profile(BWRAP)

    assert 'profile isosmoke-bwrap "/usr/bin/bwrap" flags=(unconfined) {\n  userns,\n' in profile
    assert profile.index("abi <abi/4.0>,") < profile.index("profile isosmoke-bwrap")


def test_special_characters_of_a_path_are_literal() -> None:
    """A path with wildcards names no other program."""
    profile = apparmor.build_profile(Path("/home/a b/{x}*/bwrap"))

    assert r'"/home/a b/\{x\}\*/bwrap"' in profile


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_profile_of_a_distribution_is_not_replaced(tmp_path: Path, content: str) -> None:
    """The error names its file, and how to load it."""
    file = tmp_path / "bwrap-userns-restrict"
    file.write_text(content)

    with pytest.raises(EngineUnavailableError, match="already has a profile") as caught:
        apparmor.require_no_profile(BWRAP, tmp_path)
    assert str(file) in caught.value.message
    assert f"apparmor_parser -r {file}" in caught.value.hint


@pytest.mark.parametrize("content", UNRELATED.values(), ids=UNRELATED)
def test_profile_for_another_program_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """AppArmor applies the profile that names exactly one program before any other."""
    (tmp_path / "other").write_text(content)

    apparmor.require_no_profile(BWRAP, tmp_path)


def test_own_and_disabled_profiles_are_no_obstacle(tmp_path: Path) -> None:
    """The profile can be printed again, and a disabled profile is not loaded."""
    (tmp_path / apparmor.NAME).write_text(apparmor.build_profile(BWRAP))
    (tmp_path / "bwrap").write_text(OTHERS["named"])
    (tmp_path / "disable").mkdir()
    (tmp_path / "disable" / "bwrap").symlink_to(tmp_path / "bwrap")

    apparmor.require_no_profile(BWRAP, tmp_path)
    apparmor.require_no_profile(BWRAP, tmp_path / "missing")
