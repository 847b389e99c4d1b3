"""Write the reference pages and the man pages, from the commands and the schemas themselves.

`sh dev docs` runs this for the site. Nothing that it writes is kept in the repository, so it cannot
be out of date. usage: reference.py DIRECTORY
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from isosmoke import __version__
from isosmoke.cli import cli
from isosmoke.cli.project import schema

WIDTH = 96


def list_commands(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command and of each command below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            if inner := context.command.get_command(context, name):
                yield from list_commands(click.Context(inner, context, name))


def open_root() -> click.Context:
    """Return the context of `isosmoke` itself."""
    return click.Context(cli, info_name="isosmoke", terminal_width=WIDTH)


def render_command_page() -> str:
    """Return the page with the help of every command."""
    sections = (
        f"## `{context.command_path}`\n\n```text\n{context.command.get_help(context)}\n```\n"
        for context in list_commands(open_root())
    )
    return "\n".join(["# Commands\n", *sections])


def render_document_page() -> str:
    """Return the page with the JSON schema of every document."""
    sections = (
        f"## {name}\n\n{kind.description}\n\n"
        f"```json\n{json.dumps(schema.build_schema(name), indent=2)}\n```\n"
        for name, kind in schema.find_documents().items()
    )
    return "\n".join(["# Documents\n", *sections])


def render_man_page(context: click.Context) -> str:
    """Return the page of a command in the language of man(7)."""
    name = context.command_path.replace(" ", "-")
    summary = context.command.get_short_help_str(WIDTH)
    text = context.command.get_help(context).replace("\\", "\\e")
    lines = "\n".join(f"\\&{line}" for line in text.splitlines())
    return (
        f'.TH "{name.upper()}" "1" "" "isosmoke {__version__}"\n'
        f".SH NAME\n{name} \\- {summary}\n.SH DESCRIPTION\n.nf\n{lines}\n.fi\n"
    )


def main(directory: Path) -> None:
    """Write all pages below a directory."""
    (directory / "man").mkdir(parents=True, exist_ok=True)
    (directory / "commands.md").write_text(render_command_page())
    (directory / "documents.md").write_text(render_document_page())
    for context in list_commands(open_root()):
        name = context.command_path.replace(" ", "-")
        (directory / "man" / f"{name}.1").write_text(render_man_page(context))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
