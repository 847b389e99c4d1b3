"""A sandbox has its own devices: a script's changes to them do not affect the host's."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support import available

DEVICES = tuple(Path("/dev", name) for name in ("full", "null", "random", "tty", "urandom", "zero"))

# Only the owner of a file may do this; it is harmless to the host where it succeeds.
_CHANGES = """
for device in {devices}; do
	touch --date=@{moment} $device && echo "changed $device"
done
exit 0
"""

_USES = """
set -e
echo discarded >/dev/null
test "$(head -c 3 /dev/zero | wc -c)" = 3
test "$(head -c 3 /dev/urandom | wc -c)" = 3
test "$(head -c 3 /dev/random | wc -c)" = 3
! echo full 2>/dev/null >/dev/full
! ( : </dev/tty ) 2>/dev/null
test -c /dev/tty
"""


@pytest.fixture(params=available.USERS)
def user(request: pytest.FixtureRequest) -> available.User:
    """Return each user in turn."""
    return available.USERS[request.param]()


@pytest.fixture
def directory(user: available.User) -> Iterator[Path]:
    """Yield a directory of this user."""
    with TemporaryDirectory(prefix="isosmoke-devices-") as name:
        user.create_directories(Path(name))
        yield Path(name)


def run_script(user: available.User, engine: str, directory: Path, script: str) -> tuple[str, str]:
    """Run a script on an engine; return its outcome and its output."""
    user.require_engine(engine)
    project = directory / "project"
    project.mkdir()
    (project / "script.sh").write_text(script)
    (project / "manifest.toml").write_text('[[scenario]]\nname = "s"\nscript = "script.sh"\n')
    user.give_ownership(project)
    arguments = ("run", "--manifest", "manifest.toml", "--engine", engine, "--json")
    result = user.run(*arguments, folder=directory, working=project)
    record = json.loads(result.stdout)
    printed = Path(record["record"], "s", "output-1.log")
    return record["scenarios"][0]["outcome"], printed.read_text() if printed.exists() else ""


@pytest.mark.parametrize("engine", available.ENGINE_NAMES)
def test_host_devices_are_unchanged(engine: str, user: available.User, directory: Path) -> None:
    """The owner of a device in a sandbox does not own the host's."""
    moment = secrets.randbelow(10**9)
    script = _CHANGES.format(devices=" ".join(map(str, DEVICES)), moment=moment)
    outcome, printed = run_script(user, engine, directory, script)

    assert outcome == "PASS"
    assert [device for device in DEVICES if int(device.stat().st_mtime) == moment] == []
    if user.uid == 0:
        assert "changed /dev/null" in printed


@pytest.mark.parametrize("engine", available.ENGINE_NAMES)
def test_devices_work(engine: str, user: available.User, directory: Path) -> None:
    """Each device works in a sandbox as on the host."""
    assert run_script(user, engine, directory, _USES) == ("PASS", "")
