"""The caller's PATH, with and without the virtual environment of isosmoke."""

import os
import sys
from pathlib import Path

import pytest

from isosmoke.host.caller_process import Caller, without_own_environment


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the directory of programs of the environment that runs isosmoke."""
    (tmp_path / "env/bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    return tmp_path / "env/bin"


def _change(path: str, working: Path, **variables: str) -> dict[str, str]:
    """Return the variables of a caller in a directory, without isosmoke's own environment."""
    caller = Caller(
        uid=1,
        gid=1,
        user="me",
        home=Path("/home/me"),
        working=working,
        environment={"PATH": path, **variables},
    )
    return dict(without_own_environment(caller).environment)


def _install(monkeypatch: pytest.MonkeyPatch, directory: Path, *names: str) -> None:
    """Make these the only packages of the environment; isosmoke requires `click`."""
    for name in names:
        folder = directory / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        requires = "Requires-Dist: Click>=8.1; extra == 'a'\n" if name == "isosmoke" else ""
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{requires}"
        )
    monkeypatch.setattr(sys, "path", [str(directory)])


def test_environment_of_isosmoke_comes_last(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An environment with only isosmoke and what it needs hides no program of the user."""
    _install(monkeypatch, tmp_path / "site", "isosmoke", "click", "pip")
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to(own)
    variables = _change(
        f"{own}:/usr/bin:{tmp_path / 'link'}", tmp_path / "project", VIRTUAL_ENV=str(own.parent)
    )

    assert variables == {"PATH": f"/usr/bin:{own}:{tmp_path / 'link'}"}


def test_environment_with_packages_of_the_user_stays_first(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If isosmoke is one package of several, the environment is the user's."""
    _install(monkeypatch, tmp_path / "site", "isosmoke", "click", "requests")
    path = f"{own}:/usr/bin"

    assert _change(path, tmp_path / "site", VIRTUAL_ENV="/x") == {"PATH": path, "VIRTUAL_ENV": "/x"}


def test_environment_in_the_project_stays_first(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An environment in the repository of the working directory is the project's."""
    _install(monkeypatch, tmp_path / "site", "isosmoke")
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    path = f"{own}:/usr/bin"

    assert _change(path, tmp_path / "sub")["PATH"] == path


def test_environment_of_the_checkout_comes_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The environment in isosmoke's own checkout has its tools, which are not the user's."""
    checkout = Path(os.path.realpath(__file__)).parents[3]
    monkeypatch.setattr(sys, "prefix", str(checkout / ".venv"))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    own = checkout / ".venv/bin"

    assert _change(f"{own}:/usr/bin", tmp_path)["PATH"] == f"/usr/bin:{own}"


def test_path_without_the_environment_is_unchanged(own: Path, tmp_path: Path) -> None:
    """An isosmoke that is not on PATH changes nothing."""
    variables = {"VIRTUAL_ENV": str(own.parent)}

    assert _change("/usr/bin:/bin", tmp_path, **variables) == {"PATH": "/usr/bin:/bin", **variables}
