"""The devices of a sandbox are its own: what a script makes of them changes none of the host's."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support import available

DEVICES = tuple(Path("/dev", name) for name in ("full", "null", "random", "tty", "urandom", "zero"))

# What only the owner of a file may do. It is no harm to the host where it gets through.
_CHANGES = """
for device in {devices}; do
	touch --date=@{moment} $device && echo "changed $device"
done
exit 0
"""

_USES = """
set -e
echo gone >/dev/null
test "$(head -c 3 /dev/zero | wc -c)" = 3
test "$(head -c 3 /dev/urandom | wc -c)" = 3
test "$(head -c 3 /dev/random | wc -c)" = 3
! echo full 2>/dev/null >/dev/full
! ( : </dev/tty ) 2>/dev/null
test -c /dev/tty
"""


@pytest.fixture(params=available.USERS)
def user(request: pytest.FixtureRequest) -> available.User:
    """Each user in turn."""
    return available.USERS[request.param]()


@pytest.fixture
def folder(user: available.User) -> Iterator[Path]:
    """A folder of this user's own."""
    with TemporaryDirectory(prefix="isosmoke-devices-") as name:
        user.settle_in(Path(name))
        yield Path(name)


def outcome(user: available.User, engine: str, folder: Path, script: str) -> tuple[str, str]:
    """Run a script on an engine; its outcome and what it printed."""
    user.must_have(engine)
    project = folder / "project"
    project.mkdir()
    (project / "script.sh").write_text(script)
    (project / "manifest.toml").write_text('[[scenario]]\nname = "s"\nscript = "script.sh"\n')
    user.take_over(project)
    words = ("run", "--manifest", "manifest.toml", "--engine", engine, "--json")
    done = user.run(*words, folder=folder, working=project)
    told = json.loads(done.stdout)
    printed = Path(told["record"], "s", "output-1.log")
    return told["scenarios"][0]["outcome"], printed.read_text() if printed.exists() else ""


@pytest.mark.parametrize("engine", available.NAMES)
def test_no_device_of_the_host_is_changed(engine: str, user: available.User, folder: Path) -> None:
    """Who owns a device in a sandbox owns none of the host's by that."""
    moment = secrets.randbelow(10**9)
    script = _CHANGES.format(devices=" ".join(map(str, DEVICES)), moment=moment)
    came_out, printed = outcome(user, engine, folder, script)

    assert came_out == "PASS"
    assert [one for one in DEVICES if int(one.stat().st_mtime) == moment] == []
    if user.uid == 0:
        assert "changed /dev/null" in printed


@pytest.mark.parametrize("engine", available.NAMES)
def test_devices_work(engine: str, user: available.User, folder: Path) -> None:
    """Each device does in a sandbox what it does on the host."""
    assert outcome(user, engine, folder, _USES) == ("PASS", "")
