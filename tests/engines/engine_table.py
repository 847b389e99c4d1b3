"""Every contract check and every scenario of the corpus on each engine, for root and for a user.

    PYTHONPATH=tests python tests/engines/engine_table.py docs/engines.md

It runs them all and writes what came out between the page's two `table` marks; nothing else of the
page changes. Where an engine cannot be used, its column says why.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from isosmoke.engines import ENGINES
from isosmoke.testing import CONTRACT, Bench
from support import available
from support.corpus import CORPUS, DECLARED
from support.podman_service import service, subordinate

BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
GOOD, ALL = "ok", "all"

Column = Mapping[str, str]
"""What came of each check and scenario, by name: `GOOD` or words."""


def contract(engine: str) -> Column:
    """Each check of the contract, for whoever runs this."""
    made = ENGINES[engine]()
    made.preflight()
    with TemporaryDirectory(prefix="isosmoke-table-") as folder:
        return {
            check.__name__: _kept(check, made, Bench(Path(folder, check.__name__)))
            for check in CONTRACT
        }


def _kept(check: object, engine: object, bench: Bench) -> str:
    assert callable(check)
    try:
        check(engine, bench)
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        return f"{type(error).__name__}: {error}"
    return GOOD


def column(engine: str, user: available.User) -> Column:
    """All that came out on an engine for a user."""
    with TemporaryDirectory(prefix="isosmoke-table-") as name:
        folder = Path(name)
        user.settle_in(folder)
        return {**_contract_of(engine, user, folder), **_corpus_of(engine, user, folder)}


def _contract_of(engine: str, user: available.User, folder: Path) -> Column:
    done = subprocess.run(
        [*user.prefix, user.python, __file__, "--contract", engine],
        env={**user.environment(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def _corpus_of(engine: str, user: available.User, folder: Path) -> Column:
    working = folder / "corpus"
    subprocess.run(["cp", "-r", str(CORPUS), str(working)], check=True)
    user.take_over(working)
    words = ("run", "--manifest", "manifest.toml", "--engine", engine, "--jobs", "2", "--json")
    done = user.run(*words, folder=folder, working=working)
    told = {one["name"]: one for one in json.loads(done.stdout)["scenarios"]}
    return {name: _declared(name, told[name]) for name in DECLARED}


def _declared(name: str, told: Mapping[str, str]) -> str:
    if told["outcome"] == DECLARED[name]:
        return GOOD
    return f"{told['outcome']}, declared {DECLARED[name]}: {told['reason']}"


def columns() -> Iterator[tuple[str, Column | str]]:
    """Each engine for each user, with its column or why there is none."""
    for engine in available.NAMES:
        for name in available.USERS:
            came = _came(engine, name)
            title = "root" if name == "me" and os.getuid() == 0 else "an ordinary user"
            sys.stderr.write(f"{engine}, {title}: done\n")
            yield f"{engine}, {title}", came


def _came(engine: str, name: str) -> Column | str:
    try:
        with _user(engine, name) as user:
            user.must_have(engine)
            return column(engine, user)
    except pytest.skip.Exception as reason:
        return str(reason)


@contextmanager
def _user(engine: str, name: str) -> Iterator[available.User]:
    """Who may use the engine; for Podman with a service of the user's own."""
    if engine != "podman":
        yield available.USERS[name]()
        return
    user = available.me() if name == "me" else subordinate()
    with service(user, "runc") as made:
        yield made.client


def table(found: Mapping[str, Column | str]) -> str:
    """Return Markdown: a row for each engine and user, then each deviation by name.

    It has no counts, which would be wrong with the next check.
    """
    whole = {title: one for title, one in found.items() if not isinstance(one, str)}
    lines = ["| engine, user | contract | corpus |", "|---|---|---|"]
    lines += [_summary(title, one) for title, one in found.items()]
    notes = [f"- {title}, `{row}`: {words}" for title, row, words in _bad(whole)]
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])


def _summary(title: str, came: Column | str) -> str:
    if isinstance(came, str):
        return f"| {title} | not run: {came} | |"
    checks = [came[check.__name__] for check in CONTRACT]
    corpus = [came[name] for name in DECLARED]
    return f"| {title} | {_verdict(checks)} | {_verdict(corpus)} |"


def _verdict(cells: list[str]) -> str:
    return ALL if {*cells} == {GOOD} else f"{ALL} but those below"


def _bad(found: Mapping[str, Column]) -> Iterator[tuple[str, str, str]]:
    for title, came in found.items():
        for row, words in came.items():
            if words != GOOD:
                yield title, row, " ".join(words.split())


def main() -> None:
    """Print one user's contract column as JSON, or write the table into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contract", metavar="ENGINE", choices=available.NAMES)
    parser.add_argument("page", nargs="?", type=Path)
    given = parser.parse_args()
    if given.contract:
        sys.stdout.write(json.dumps(contract(given.contract)))
        return
    text = given.page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    given.page.write_text(f"{before}{BEGIN}{table(dict(columns()))}{END}{after}")


if __name__ == "__main__":
    main()
