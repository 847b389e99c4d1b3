"""Summarize the log of isosmoke-exec: which test of an existing suite left which process."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.errors import ExitCode, NothingSelectedError, UsageError
from isosmoke.host import files
from isosmoke.leak_log import baseline as baselines
from isosmoke.leak_log import leak_junit, leak_summary, log_reader
from isosmoke.leak_log.baseline import Baseline
from isosmoke.leak_log.leak_summary import LeaksDocument
from isosmoke.leak_log.log_reader import ExecRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.text import escape_controls

DOCUMENTS = {
    "leaks": DocumentKind("leaks --json", LeaksDocument),
    "exec-record": DocumentKind("a line of the log of isosmoke-exec", ExecRecord),
    "leak-baseline": DocumentKind("the file of leaks --baseline", Baseline),
}
"""The kinds of JSON documents that this command reads or writes."""

_LOG = "ISOSMOKE_EXEC_LOG"


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Accept the leaks in FILE, and remove those from it that no longer occur.",
)
@click.option(
    "--new-baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all leaks of the log to FILE, which must not exist.",
)
@click.option("--allow-unwatched", is_flag=True, help="Do not fail for runs without a verdict.")
@click.option("--junit", "as_junit", is_flag=True, help="Print a JUnit report on stdout.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    log: Path | None,
    baseline: Path | None,
    new_baseline: Path | None,
    *,
    allow_unwatched: bool,
    as_junit: bool,
    as_json: bool,
) -> None:
    """Summarize LOG (default: the file that ISOSMOKE_EXEC_LOG names): test, process, how often.

    A run without a complete line in the log is unwatched, which is never a pass.

    \b
    Exit codes: 0 no new leak · 1 a new leak or an unwatched run · 2 no log · 4 no run in the log ·
    77 --allow-unwatched, and no run was watched
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if as_junit and as_json:
        raise UsageError("--junit and --json cannot be combined", hint="pass only one of them")
    document = _load(log)
    if new_baseline:
        _create(new_baseline, document)
        baseline = new_baseline
    if baseline:
        document = _apply(baseline, document)
    click.echo(_render(document, as_junit=as_junit, as_json=as_json), nl=False)
    ctx.exit(_choose_exit(document, allow_unwatched=allow_unwatched))


def _load(path: Path | None) -> LeaksDocument:
    path = path or Path(os.environ.get(_LOG, ""))
    if not path.name:
        raise UsageError("no log is named", hint=f"isosmoke leaks LOG, or set {_LOG}")
    try:
        document = leak_summary.summarize(log_reader.parse(files.read(path)))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint=f"run the suite with {_LOG}={path.absolute()}"
        ) from error
    if not document.runs:
        raise NothingSelectedError(
            f"{path} has no run", hint="check that the suite starts its tests with isosmoke-exec"
        )
    return document


def _create(path: Path, document: LeaksDocument) -> None:
    """Write a baseline; an existing one only shrinks, so it is never replaced."""
    if path.exists():
        raise UsageError(
            f"{path} exists, and a baseline only shrinks",
            hint=f"isosmoke leaks --baseline {path}",
        )
    files.write(path, render_json(baselines.build(document)))


def _apply(path: Path, document: LeaksDocument) -> LeaksDocument:
    """Compare with the baseline in a file, which is written if it shrinks."""
    try:
        old = baselines.parse(files.read(path), str(path))
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint=f"isosmoke leaks --new-baseline {path}"
        ) from error
    marked, smaller = baselines.compare(document, old)
    if smaller != old:
        files.write(path, render_json(smaller))
    return marked


def _render(document: LeaksDocument, *, as_junit: bool, as_json: bool) -> str:
    if as_json:
        return render_json(document)
    if as_junit:
        return leak_junit.render(document)
    return "".join(f"{escape_controls(line)}\n" for line in _list_lines(document))


def _list_lines(document: LeaksDocument) -> Iterator[str]:
    """Yield the lines of the summary: each test with its leaks, then what has no verdict."""
    test = None
    for leak in document.leaks:
        if leak.test != test:
            test = leak.test
            yield test
        yield f"  {'LEAK' if leak.is_new else 'known'}  {leak_junit.describe(leak)}"
    for fixed in document.fixed:
        yield f"fixed: {fixed.test}: {fixed.process}"
    for run in document.unwatched:
        yield f"UNWATCHED {run.test or 'unknown test'}: {run.reason}"
    new = sum(leak.is_new for leak in document.leaks)
    known = len(document.leaks) - new
    yield (
        f"leaks: {new} new, {known} known, in {document.runs} runs; "
        f"{len(document.unwatched)} unwatched"
    )


def _choose_exit(document: LeaksDocument, *, allow_unwatched: bool) -> ExitCode:
    if any(leak.is_new for leak in document.leaks):
        return ExitCode.BLOCKED
    if document.unwatched and not allow_unwatched:
        return ExitCode.BLOCKED
    return ExitCode.OK if document.tests else ExitCode.ALL_SKIPPED
