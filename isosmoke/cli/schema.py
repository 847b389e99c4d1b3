"""`isosmoke schema`: JSON schemas, draft 2020-12, of the manifest and of all that isosmoke writes.

A document may get further fields with any version of isosmoke; its `schema_version` is raised when
a field changes its meaning.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal, NamedTuple

import click
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Schema = dict[str, Any]


class Written(NamedTuple):
    """A kind of document: what it is, and the model that makes or reads it."""

    words: str
    module: str
    model: str


MANIFEST = "manifest"

DOCUMENTS: Mapping[str, Written] = {
    MANIFEST: Written("manifest.toml, its dates as strings", "isosmoke.scenario", "Document"),
    "record": Written("run --json, show --json, --report json", "isosmoke.record", "RunRecord"),
    "header": Written("run.json in the folder of a run", "isosmoke.history", "Kept"),
    "result": Written("NAME/result.json beside it", "isosmoke.record", "ScenarioRecord"),
    "bundle": Written("bundle.json in a bundle", "isosmoke.bundle", "Index"),
    "event": Written("a line of --report jsonl", "isosmoke.reports.jsonl", "AnyLine"),
    "gate": Written("gate --json", "isosmoke.cli.gate", "Document"),
    "receipt": Written("what a gate leaves in .isosmoke/receipts", "isosmoke.receipt", "Statement"),
    "verification": Written("receipt verify --json", "isosmoke.cli.receipt", "Verification"),
    "bypass": Written("a line of .isosmoke/bypasses.jsonl", "isosmoke.ledger", "BypassRecord"),
    "audit": Written("audit --json", "isosmoke.cli.audit", "Document"),
    "runs": Written("runs --json", "isosmoke.cli.runs", "Document"),
    "history": Written("history NAME --json", "isosmoke.cli.history", "Document"),
    "list": Written("list --json", "isosmoke.cli.list", "Document"),
    "images": Written("image list --json", "isosmoke.cli.image", "Document"),
    "doctor": Written("doctor --json", "isosmoke.cli.doctor", "Document"),
}


@click.command()
@click.argument("name", required=False, type=click.Choice(tuple(DOCUMENTS)))
def command(name: str | None) -> None:
    """Print the JSON schema of a kind of document; without NAME, list the kinds.

    \b
    For an editor, beside a manifest that begins with #:schema ./manifest.schema.json
        isosmoke schema manifest > manifest.schema.json
    """  # noqa: D301 - click's marker for a paragraph that is not to be wrapped
    if name is not None:
        click.echo(json.dumps(of(name), indent=2))
        return
    width = max(map(len, DOCUMENTS))
    for kind, written in DOCUMENTS.items():
        click.echo(f"{kind:<{width}}  {written.words}")


def of(name: str) -> Schema:
    """The schema of a kind of document."""
    written = DOCUMENTS[name]
    module = import_module(written.module)
    adapter: TypeAdapter[Any] = TypeAdapter(getattr(module, written.model))
    mode: Literal["validation", "serialization"] = (
        "validation" if name == MANIFEST else "serialization"
    )
    schema = adapter.json_schema(mode=mode, by_alias=True)
    for model in (schema, *schema.get("$defs", {}).values()):
        _demand_constants(model)
        _describe(model, module)
    dialect = GenerateJsonSchema.schema_dialect
    return {"$schema": dialect, **schema, "title": f"isosmoke {name}: {written.words}"}


def _demand_constants(model: Schema) -> None:
    """What always has the same value says which kind of document this is, so it has to be there."""
    constant = [name for name, field in model.get("properties", {}).items() if "const" in field]
    if constant:
        model["required"] = list(dict.fromkeys([*constant, *model.get("required", [])]))


def _describe(model: Schema, module: ModuleType) -> None:
    """Say of each field what the string below it in its source says, for editors to show."""
    found = vars(module).get(model.get("title", ""))
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
