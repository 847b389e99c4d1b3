"""A learned result is whole or missing, however its writer ends, and next to other writers."""

import subprocess
import sys
from pathlib import Path

import pytest

from isosmoke.host.learned import store
from support import limited_python

BASIS = {"kernel": "6.1"}
RESULTS = [[word] * 50_000 for word in ("blue", "grey")]

WRITER = """
import sys
from isosmoke.host.learned import store
result = [sys.argv[1]] * 50_000
for number in range(int(sys.argv[2])):
    store.save("colours", "sky", {"kernel": "6.1"}, result)
    print(number, flush=True)
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new state directory."""
    monkeypatch.setenv("ISOSMOKE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def start_writer(word: str, times: int) -> subprocess.Popen[str]:
    """Start a process that keeps a result again and again, and prints a line each time."""
    argv = [sys.executable, "-c", WRITER, word, str(times)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_writer_that_is_killed_leaves_a_whole_result() -> None:
    """After SIGKILL at any moment, the last whole result is found, and another can be kept."""
    for word in ("blue", "grey", "blue"):
        with start_writer(word, 1_000_000) as writer:
            assert writer.stdout is not None
            for _ in range(3):
                writer.stdout.readline()
            writer.kill()
        assert store.load("colours", "sky", BASIS) == [word] * 50_000
    store.save("colours", "sky", BASIS, "red")
    assert store.load("colours", "sky", BASIS) == "red"


def test_concurrent_writers_leave_one_whole_result() -> None:
    """While two processes write, every read finds the result of one of them."""
    store.save("colours", "sky", BASIS, RESULTS[0])
    with start_writer("blue", 40) as first, start_writer("grey", 40) as second:
        while first.poll() is None or second.poll() is None:
            assert store.load("colours", "sky", BASIS) in RESULTS
    assert (first.returncode, second.returncode) == (0, 0)
    assert store.load("colours", "sky", BASIS) in RESULTS


def test_full_disk_is_no_error(state: Path) -> None:
    """A result that does not fit on the disk is not kept, an older one is, and nothing is left."""
    store.save("colours", "sky", BASIS, "blue")
    limited = limited_python.run(WRITER, "grey", "2", most=4096)

    assert (limited.returncode, limited.stderr) == (0, "")
    assert store.load("colours", "sky", BASIS) == "blue"
    assert len(list((state / "learned-colours").iterdir())) == 1
