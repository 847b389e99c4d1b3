"""Table of contract checks and corpus scenarios on each engine, as root and as an ordinary user.

    PYTHONPATH=tests python tests/engines/engine_table.py docs/engines.md

It runs all of them and writes the results between the page's two `table` marks; the rest of the
page is unchanged. An engine that cannot be used has the reason in its row.
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
from support.podman_service import find_subordinate_user, service

BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
GOOD, ALL = "ok", "all"

Column = Mapping[str, str]
"""The result of each check and scenario by name: `GOOD` or a description of the failure."""


def run_contract(engine: str) -> Column:
    """Return the result of each contract check for the current user."""
    instance = ENGINES[engine]()
    instance.preflight()
    with TemporaryDirectory(prefix="isosmoke-table-") as directory:
        return {
            check.__name__: _run_check(check, instance, Bench(Path(directory, check.__name__)))
            for check in CONTRACT
        }


def _run_check(check: object, engine: object, bench: Bench) -> str:
    assert callable(check)
    try:
        check(engine, bench)
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes into the table
        return f"{type(error).__name__}: {error}"
    return GOOD


def build_column(engine: str, user: available.User) -> Column:
    """Return all results of an engine for a user."""
    with TemporaryDirectory(prefix="isosmoke-table-") as name:
        directory = Path(name)
        user.create_directories(directory)
        return {
            **_run_contract_as(engine, user, directory),
            **_run_corpus_as(engine, user, directory),
        }


def _run_contract_as(engine: str, user: available.User, directory: Path) -> Column:
    result = subprocess.run(
        [*user.prefix, user.python, __file__, "--contract", engine],
        env={**user.environment(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=directory,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(result.stdout))


def _run_corpus_as(engine: str, user: available.User, directory: Path) -> Column:
    corpus = directory / "corpus"
    subprocess.run(["cp", "-r", str(CORPUS), str(corpus)], check=True)
    user.give_ownership(corpus)
    arguments = ("run", "--manifest", "manifest.toml", "--engine", engine, "--jobs", "2", "--json")
    result = user.run(*arguments, folder=directory, working=corpus)
    results = {scenario["name"]: scenario for scenario in json.loads(result.stdout)["scenarios"]}
    return {name: _compare_with_declared(name, results[name]) for name in DECLARED}


def _compare_with_declared(name: str, result: Mapping[str, str]) -> str:
    if result["outcome"] == DECLARED[name]:
        return GOOD
    return f"{result['outcome']}, declared {DECLARED[name]}: {result['reason']}"


def build_columns() -> Iterator[tuple[str, Column | str]]:
    """Yield a column for each engine and user, or the reason why there is none."""
    for engine in available.ENGINE_NAMES:
        for name in available.USERS:
            results = _build_column_or_reason(engine, name)
            title = "root" if name == "me" and os.getuid() == 0 else "an ordinary user"
            sys.stderr.write(f"{engine}, {title}: done\n")
            yield f"{engine}, {title}", results


def _build_column_or_reason(engine: str, name: str) -> Column | str:
    try:
        with _user(engine, name) as user:
            user.require_engine(engine)
            return build_column(engine, user)
    except pytest.skip.Exception as reason:
        return str(reason)


@contextmanager
def _user(engine: str, name: str) -> Iterator[available.User]:
    """Yield a user of the engine; for Podman, one with its own service."""
    if engine != "podman":
        yield available.USERS[name]()
        return
    user = available.current_user() if name == "me" else find_subordinate_user()
    with service(user, "runc") as podman_service:
        yield podman_service.client


def render_table(columns: Mapping[str, Column | str]) -> str:
    """Return Markdown: a row for each engine and user, then each deviation by name.

    It has no counts, which would be outdated by the next check.
    """
    complete = {
        title: results for title, results in columns.items() if not isinstance(results, str)
    }
    rows = ["| engine, user | contract | corpus |", "|---|---|---|"]
    rows += [_render_row(title, results) for title, results in columns.items()]
    notes = [f"- {title}, `{row}`: {result}" for title, row, result in _find_deviations(complete)]
    return "\n".join([*rows, *([""] if notes else []), *notes, ""])


def _render_row(title: str, results: Column | str) -> str:
    if isinstance(results, str):
        return f"| {title} | not run: {results} | |"
    checks = [results[check.__name__] for check in CONTRACT]
    corpus = [results[name] for name in DECLARED]
    return f"| {title} | {_summarize(checks)} | {_summarize(corpus)} |"


def _summarize(cells: list[str]) -> str:
    return ALL if {*cells} == {GOOD} else f"{ALL} but those below"


def _find_deviations(columns: Mapping[str, Column]) -> Iterator[tuple[str, str, str]]:
    for title, results in columns.items():
        for row, result in results.items():
            if result != GOOD:
                yield title, row, " ".join(result.split())


def main() -> None:
    """Print one user's contract column as JSON, or write the table into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contract", metavar="ENGINE", choices=available.ENGINE_NAMES)
    parser.add_argument("page", nargs="?", type=Path)
    options = parser.parse_args()
    if options.contract:
        sys.stdout.write(json.dumps(run_contract(options.contract)))
        return
    text = options.page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    options.page.write_text(f"{before}{BEGIN}{render_table(dict(build_columns()))}{END}{after}")


if __name__ == "__main__":
    main()
