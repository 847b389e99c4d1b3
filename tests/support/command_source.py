"""The source of a command module that has every required part."""

COMPLETE = '''"""Greet a user."""

import click

from isosmoke.cli.document_kinds import DocumentKind

DOCUMENTS = {"greeting": DocumentKind("greet --json", int)}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True)
def command(*, names: tuple[str, ...], as_json: bool) -> None:
    """Greet all users."""
    click.echo(f"hello {' '.join(names)}")
'''
