"""Show the user's configuration and where each value comes from."""

import os
from collections.abc import Iterator
from typing import Literal

import click

from isosmoke.cli.configuration import user_file
from isosmoke.cli.configuration.keys import Origin
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.errors import IsosmokeError
from isosmoke.host.caller_process import Caller
from isosmoke.manifest import parser
from isosmoke.manifest.discovery import locate_manifest
from isosmoke.manifest.loader import load
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.record_base import render_json
from isosmoke.text import escape_controls


class SettingRow(RecordModel):
    """A value and its origin; `source` is the variable, or the file and line, that set it."""

    name: str
    value: str | int | None
    origin: Origin
    source: Text
    meaning: str


class ConfigDocument(RecordModel):
    """The output of `isosmoke config show --json`; `file` is the user's file, if it exists."""

    schema_version: Literal[1] = 1
    file: Text
    exists: bool
    settings: tuple[SettingRow, ...]


DOCUMENTS = {
    "config": DocumentKind("config show --json", ConfigDocument),
}
"""The kinds of JSON documents that this command reads or writes."""

_RETENTION = {
    "keep_runs": "the number of runs that are kept",
    "keep_days": "the age after which a run is deleted, in days",
    "keep_size": "the size of all kept runs, in bytes",
}


@click.group()
def command() -> None:
    """Show your defaults for `run` and other commands, and the file that sets them.

    An option comes first, then a variable, your file, and the default. No gate reads the file.
    """


@command.command()
@json_option
def show(*, as_json: bool) -> None:
    """Print every value, and whether a variable, a file or a default set it."""
    path = user_file.find_path(os.environ)
    rows = (*_list_settings(), *_list_retention())
    if as_json:
        document = ConfigDocument(file=str(path), exists=path.exists(), settings=rows)
        click.echo(render_json(document), nl=False)
        return
    state = "" if path.exists() else "  (does not exist)"
    click.echo(escape_controls(f"file: {path}{state}"))
    width = max(len(row.name) for row in rows)
    for row in rows:
        value = "-" if row.value is None else row.value
        origin = f"{row.origin}: {row.source}" if row.source else row.origin
        click.echo(escape_controls(f"{row.name:<{width}}  {value!s:<10}  {origin}"))


def _list_settings() -> Iterator[SettingRow]:
    for item in user_file.load(os.environ):
        yield SettingRow(
            name=item.key.full_name,
            value=item.value,
            origin=item.origin,
            source=item.source,
            meaning=item.key.meaning,
        )


def _list_retention() -> Iterator[SettingRow]:
    """Yield how many runs of this project are kept, which only its manifest decides."""
    caller = Caller.current()
    try:
        path = locate_manifest(caller.working, caller.environment)
        record = load(path).record
        table = parser.parse_source(path.read_text(encoding="utf-8"), path).document.get("record")
    except IsosmokeError:
        return
    given = table if isinstance(table, dict) else {}
    for name, meaning in _RETENTION.items():
        is_given = name in given
        yield SettingRow(
            name=f"record.{name}",
            value=getattr(record, name),
            origin="manifest" if is_given else "default",
            source=str(path) if is_given else "",
            meaning=meaning,
        )
