"""A limit of file sizes in a test does not damage the modules that it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from support import limited_python


def test_imported_module_stays_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code whose files are limited leaves no part of a module's bytecode to later processes."""
    module = tmp_path / "large_module.py"
    module.write_text(f"NUMBERS = {list(range(2000))}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)

    limited = limited_python.run("import large_module", most=1024)
    later = subprocess.run([sys.executable, "-c", "import large_module"], check=False)

    assert (limited.returncode, limited.stderr) == (0, "")
    assert later.returncode == 0
