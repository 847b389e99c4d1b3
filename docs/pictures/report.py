"""Run the scenarios of a small shop, and take pictures of their HTML report for its page.

`sh dev picture` runs this, and writes report-*.webp. It needs Chromium. The shop and its scenarios
are written anew, run some times for a history, measured by `isosmoke teeth`, and run once more.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.chromium import DESKTOP, PHONE, Page, View, find_chromium, start_chromium

HERE = Path(__file__).parent

SHOP = """\
#!/bin/bash
# A shop that keeps its basket in a file.
set -eu
basket=${SHOP_BASKET:-$HOME/basket}
case ${1:-} in
--version) echo "shop 3.2.0" ;;
add) echo "$2 $3" >>"$basket"; echo "added $2" ;;
list) cut -d' ' -f1 "$basket" | sort ;;
total) awk '{ sum += $2 } END { print "total", sum - (NR > 3 ? 5 : 0) }' "$basket" ;;
export) list=$(cut -d' ' -f1 "$basket"); printf '{"basket": "%s"}\\n' "${list//[^a-z]/ }" ;;
serve) python3 -m http.server --bind 127.0.0.1 "$2" & tail -f /dev/null & wait ;;
*) echo "shop: no command '${1:-}'" >&2; exit 2 ;;
esac
"""

_SETUP = "set -euo pipefail\nshop add pear 10\n"


class Scenario(NamedTuple):
    """A scenario of the shop: its script after the setup, and keys of its entry."""

    name: str
    script: str
    assertion: str = "The basket has what was added."
    keys: str = ""


UNUSUAL = (
    Scenario(
        "total_of_four",
        "# Four fruits, without a discount.\n"
        "shop add apple 5\nshop add plum 12\nshop add quince 8\n"
        "shop list\nexpected='total 35'\nactual=$(shop total)\n"
        'if [ "$actual" != "$expected" ]; then\n'
        '  printf \'\\033[31mexpected %s, got %s\\033[0m\\n\' "$expected" "$actual" >&2\n'
        "  exit 1\nfi\n",
        "Four fruits cost the sum of their prices.",
        'owners = ["discounts"]\n',
    ),
    Scenario(
        "serves_the_catalogue",
        "shop serve 8731 >/dev/null 2>&1 &\n"
        "until echo 2>/dev/null >/dev/tcp/127.0.0.1/8731; do sleep 0.1; done\n"
        'echo "the catalogue answers"\n',
        "The catalogue answers, and its server ends with the scenario.",
        'network = "isolated"\nowners = ["catalogue"]\n',
    ),
    Scenario(
        "waits_for_payment",
        'echo "waiting for the bank"\nsleep 30\n',
        "A payment is confirmed within three seconds.",
        "timeout_seconds = 3\ngrace_seconds = 0.5\n",
    ),
    Scenario(
        "searches_while_busy",
        'sleep 0.3\nread -r answer <"/dev/tcp/127.0.0.1/$INDEX_PORT"\n[ "$answer" = ready ] || {\n'
        '  echo "the index is $answer" >&2\n  exit 1\n}\n',
        "A search finds a new fruit.",
        'retries = 2\nplain_env = ["INDEX_PORT"]\n',
    ),
    Scenario(
        "pays_at_the_bank",
        'echo "no account of the bank" >&2\nexit 77\n',
        "The bank accepts a payment.",
    ),
    Scenario(
        "prints_a_label",
        "lpr --version\n",
        "The printer knows its labels.",
        'requires = { commands = ["lpr"] }\n',
    ),
)
"""The scenarios that do not simply pass."""

_AREAS = ("basket", "catalogue", "export", "order", "price", "stock")
_ACTIONS = {
    "adds": "shop list | grep -qx pear",
    "lists": 'shop add apple 5; [ "$(shop list | wc -l)" = 2 ]',
    "totals": 'shop add apple 5; [ "$(shop total)" = "total 15" ]',
    "exports": "shop export | grep -q pear",
    "survives": "shop add fig 2 >/dev/null; shop list",
    "refuses": "! shop juggle",
}


def list_scenarios() -> Iterator[Scenario]:
    """Yield all scenarios of the shop."""
    yield from UNUSUAL
    for row, area in enumerate(_AREAS):
        for column, (action, check) in enumerate(_ACTIONS.items()):
            seconds = 0.1 + (row * 7 + column * 3) % 11 / 8
            yield Scenario(f"{area}_{action}", f"{check}\nsleep {seconds:.2f}\n")


def write_project(project: Path) -> None:
    """Write the shop, its manifest and the scripts, and commit them."""
    (project / "scenarios").mkdir(parents=True)
    shop = project / "shop"
    shop.write_text(SHOP)
    shop.chmod(0o755)
    entries = ["[defaults]\nsettle_seconds = 0.5\n"]
    for scenario in list_scenarios():
        script = f"scenarios/{scenario.name}.sh"
        (project / script).write_text(f"{_SETUP}{scenario.script}")
        entries.append(
            f'[[scenario]]\nname = "{scenario.name}"\nscript = "{script}"\n'
            f'assertion = "{scenario.assertion}"\n{scenario.keys}'
        )
    (project / "manifest.toml").write_text("\n".join(entries))
    (project / ".gitignore").write_text(".isosmoke\n")
    author = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-qm", "shop")):
        subprocess.run(["git", *command], cwd=project, check=True)


def serve_index(listener: socket.socket) -> None:
    """Tell callers in turn that the index is incomplete, and that it is ready."""
    for answer in cycle((b"incomplete\n", b"ready\n")):
        try:
            connection, _ = listener.accept()
        except OSError:  # the listener was closed
            return
        with connection:
            connection.sendall(answer)


def make_report(project: Path, isosmoke: Path) -> Path:
    """Run the scenarios of a project several times, measure teeth, and return the last report."""
    listener = socket.create_server(("127.0.0.1", 0))
    Thread(target=serve_index, args=(listener,), daemon=True).start()
    environment = {
        "PATH": f"{isosmoke.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(project.parent),
        "ISOSMOKE_WG": str(project / "shop"),
        "INDEX_PORT": str(listener.getsockname()[1]),
    }
    passing = [f"{area}_*" for area in _AREAS]
    usual = ("run", "--quiet", "-j", "4")
    measure = ("teeth", "basket_totals", "basket_survives", "--sabotage", "noop")
    for arguments in (
        *[(*usual, *passing)] * 3,
        (*measure, "--sabotage", "mute", "--sabotage", "lie"),
        (*usual, "--report", "html=report.html"),
    ):
        command = [str(isosmoke), *arguments]
        done = subprocess.run(command, cwd=project, env=environment, check=False)
        if done.returncode not in (0, 1):
            sys.exit(f"report: {arguments[0]} ended with {done.returncode}")
    listener.close()
    return project / "report.html"


class Picture(NamedTuple):
    """A picture of the report: its view, the state in the address, and what is at its top."""

    name: str
    view: View
    state: str = ""
    top: str = "body"


PICTURES = (
    Picture("failure", DESKTOP._replace(height=860)),
    Picture("leak", View(1280, 620, "dark"), "serves_the_catalogue", "#serves_the_catalogue"),
    Picture("timeline", View(1280, 720), "", "[id='~timeline']"),
    Picture("teeth", View(1280, 560), "", "[id='~teeth']"),
    Picture("phone", PHONE._replace(scheme="dark"), "?outcome=FAIL,LEAK,TIMEOUT"),
)


def take_pictures(report: Path, page: Page) -> None:
    """Take all pictures of a report."""
    for picture in PICTURES:
        page.show(picture.view)
        page.open(f"{report.as_uri()}#{picture.state}")
        page.evaluate("document.activeElement.blur()")
        page.evaluate(f'document.querySelector("{picture.top}").scrollIntoView()')
        page.photograph(HERE / f"report-{picture.name}.webp")


def main() -> None:
    """Make the report at /home/me, then take its pictures outside."""
    if "ISOSMOKE_RECORDS" in os.environ:
        make_report(Path("/home/me/shop"), Path(sys.prefix) / "commands/isosmoke")
        return
    bwrap = shutil.which("bwrap") or sys.exit("report: install bubblewrap")
    chromium = find_chromium()
    if chromium is None:
        sys.exit("report: the pictures of the HTML report need Chromium (apt-get install chromium)")
    with TemporaryDirectory() as directory:
        project = Path(directory) / "home/shop"
        write_project(project)
        home = ["--tmpfs", "/home", "--bind", str(project.parent), "/home/me"]
        host = ["--unshare-uts", "--hostname", "builder"]
        proc = ["--dev-bind", "/dev", "/dev", "--dev-bind", "/proc", "/proc"]
        command = [bwrap, "--bind", "/", "/", *proc, *home, *host, sys.executable, __file__]
        subprocess.run(command, env={**os.environ, "ISOSMOKE_RECORDS": "1"}, check=True)
        with start_chromium(chromium, Path(directory) / "profile") as page:
            take_pictures(project / "report.html", page)


if __name__ == "__main__":
    main()
