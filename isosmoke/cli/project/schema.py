"""Print the JSON schema of a manifest, or of what isosmoke writes.

A document may get further fields with any version of isosmoke; its `schema_version` is raised when
a field changes its meaning.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal, get_args

import click
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from isosmoke.cli import commands
from isosmoke.cli.json_documents import Written
from isosmoke.manifest.models import Document

Schema = dict[str, Any]


MANIFEST = "manifest"


@cache
def documents() -> Mapping[str, Written]:
    """Map each kind to its document: those that the modules of the commands declare."""
    declared = {MANIFEST: Written("manifest.toml, its dates as strings", Document)}
    for name in commands().values():
        if name != "project.schema":
            declared |= getattr(import_module(f"isosmoke.cli.{name}"), "DOCUMENTS", {})
    return declared


@click.command()
@click.argument("name", required=False, type=click.Choice(tuple(documents())))
def command(name: str | None) -> None:
    """Print the JSON schema of a kind of document; without NAME, list the kinds.

    \b
    For an editor, beside a manifest that begins with #:schema ./manifest.schema.json
        isosmoke schema manifest > manifest.schema.json
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    if name is not None:
        click.echo(json.dumps(of(name), indent=2))
        return
    width = max(map(len, documents()))
    for kind, written in documents().items():
        click.echo(f"{kind:<{width}}  {written.words}")


def of(name: str) -> Schema:
    """The schema of a kind of document."""
    written = documents()[name]
    module = _module_of(written.model)
    adapter: TypeAdapter[Any] = TypeAdapter(written.model)
    mode: Literal["validation", "serialization"] = (
        "validation" if name == MANIFEST else "serialization"
    )
    schema = adapter.json_schema(mode=mode, by_alias=True)
    for model in (schema, *schema.get("$defs", {}).values()):
        _demand_constants(model)
        _describe(model, module)
    dialect = GenerateJsonSchema.schema_dialect
    return {"$schema": dialect, **schema, "title": f"isosmoke {name}: {written.words}"}


def _module_of(model: Any) -> ModuleType | None:
    """Return the module of a model, of a union that of its first member."""
    while members := get_args(model):
        model = members[0]
    return inspect.getmodule(model)


def _demand_constants(model: Schema) -> None:
    """What always has the same value says which kind of document this is, so it has to be there."""
    constant = [name for name, field in model.get("properties", {}).items() if "const" in field]
    if constant:
        model["required"] = list(dict.fromkeys([*constant, *model.get("required", [])]))


def _describe(model: Schema, module: ModuleType | None) -> None:
    """Say of each field what the string below it in its source says, for editors to show."""
    found = getattr(module, model.get("title", ""), None)
    if inspect.isclass(found):
        told = {name: text for one in found.__mro__ for name, text in _told(one)}
        for name, field in model.get("properties", {}).items():
            if name in told:
                field.setdefault("description", told[name])


def _told(model: type) -> Iterator[tuple[str, str]]:
    if not model.__module__.startswith("isosmoke."):
        return
    (body,) = ast.parse(inspect.getsource(model)).body
    for field, below in pairwise(body.body if isinstance(body, ast.ClassDef) else []):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield field.target.id, inspect.cleandoc(text)
                case _:
                    pass
