"""The virtual machines of `sh dev machines`: their rows in the page, and their checks."""

from pathlib import Path

import pytest

from machines import machines


@pytest.mark.parametrize("name", machines.MACHINES)
def test_machine_has_a_row_and_checks(name: str) -> None:
    """A run replaces the row, and each check is a script that the page describes."""
    page = machines.PAGE.read_text()

    assert f"\n| `{name}` |" in page
    for check in machines.MACHINES[name].checks:
        assert (machines.HERE / "checks" / f"{check}.sh").is_file()
        assert f"\n- `{check}`:" in page


def test_unknown_machine_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is built, and the known names are printed."""
    assert machines.main(["nonexistent"]) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in machines.MACHINES)


def test_missing_programs_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one, nothing is built."""
    monkeypatch.setattr(machines, "PROGRAMS", {"no-such-program": "its-package"})
    monkeypatch.setattr(machines, "DIRECTORY", tmp_path / "disks")

    assert machines.main([]) == 2
    assert "apt-get install its-package" in capsys.readouterr().out
    assert not (tmp_path / "disks").exists()


MACHINE = machines.Machine("6.1", ("root", "scope", "tests"))


def test_result_of_a_check_names_what_failed(tmp_path: Path) -> None:
    """A check that did not run to its end has not passed."""
    (tmp_path / "0-root.log").write_text("BEGIN doctor\npassed doctor\nDONE\n")
    (tmp_path / "0-root.status").write_text("0\n")
    (tmp_path / "1-scope.log").write_text("FAILED scope\nwhy\nDONE\n")
    (tmp_path / "1-scope.status").write_text("0\n")
    (tmp_path / "2-tests.log").write_text("BEGIN contract\n")

    assert list(machines.read_results(MACHINE, tmp_path)) == [
        "root: passed",
        "scope: failed (scope)",
        "tests: not finished",
    ]


def test_check_that_stops_early_has_failed(tmp_path: Path) -> None:
    """Without its last line, a script has not checked everything."""
    for number, check in enumerate(MACHINE.checks):
        (tmp_path / f"{number}-{check}.log").write_text("passed doctor\n")
        (tmp_path / f"{number}-{check}.status").write_text("124\n")

    assert set(machines.read_results(MACHINE, tmp_path)) == {
        f"{check}: failed (it stopped early)" for check in MACHINE.checks
    }
