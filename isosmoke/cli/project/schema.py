"""Print the JSON Schema of the manifest or of a document that isosmoke writes.

Any version of isosmoke may add fields to a document; its `schema_version` is raised when a field
changes its meaning.
"""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal, get_args

import click
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from isosmoke.cli import find_commands
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.manifest.validation.document import ManifestDocument

Schema = dict[str, Any]

MANIFEST = "manifest"


@cache
def find_documents() -> Mapping[str, DocumentKind]:
    """Map the names of all kinds of documents to the kinds that the command modules declare."""
    declared = {MANIFEST: DocumentKind("manifest.toml, its dates as strings", ManifestDocument)}
    for name in find_commands().values():
        if name != "project.schema":
            declared |= getattr(import_module(f"isosmoke.cli.{name}"), "DOCUMENTS", {})
    return declared


@click.command()
@click.argument("name", required=False, type=click.Choice(tuple(find_documents())))
def command(name: str | None) -> None:
    """Print the JSON Schema of a kind of document; without NAME, list the kinds.

    \b
    For an editor, next to a manifest that begins with #:schema ./manifest.schema.json
        isosmoke schema manifest > manifest.schema.json
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    if name is not None:
        click.echo(json.dumps(build_schema(name), indent=2))
        return
    width = max(map(len, find_documents()))
    for kind, document in find_documents().items():
        click.echo(f"{kind:<{width}}  {document.description}")


def build_schema(name: str) -> Schema:
    """Return the JSON Schema of a kind of document."""
    kind = find_documents()[name]
    model = kind.load_model()
    models = _find_models(model)
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    mode: Literal["validation", "serialization"] = (
        "validation" if name == MANIFEST else "serialization"
    )
    schema = _name_by_title(adapter.json_schema(mode=mode, by_alias=True))
    for table in (schema, *schema.get("$defs", {}).values()):
        _require_constants(table)
        _describe_fields(table, models)
    dialect = GenerateJsonSchema.schema_dialect
    return {"$schema": dialect, **schema, "title": f"isosmoke {name}: {kind.description}"}


def _find_models(model: Any) -> Mapping[str, type]:
    """Map titles to the classes in the module of a model, or of the first member of a union."""
    while members := get_args(model):
        model = members[0]
    classes = filter(inspect.isclass, vars(inspect.getmodule(model)).values())
    return {
        getattr(model_class, "model_config", {}).get("title", model_class.__name__): model_class
        for model_class in classes
    }


def _name_by_title(schema: Schema) -> Schema:
    """Rename definitions to the titles of their models, which are the published names."""
    definitions = schema.get("$defs")
    if definitions is None:
        return schema
    titles = {name: model.get("title", name) for name, model in definitions.items()}
    renamed = {titles[name]: definitions[name] for name in sorted(titles, key=titles.__getitem__)}
    text = json.dumps({**schema, "$defs": renamed})
    for name, title in titles.items():
        text = text.replace(f'"#/$defs/{name}"', f'"#/$defs/{title}"')
    result: Schema = json.loads(text)
    return result


def _require_constants(model: Schema) -> None:
    """Require the fields with a constant value, which tell the kinds of documents apart."""
    constant = [name for name, field in model.get("properties", {}).items() if "const" in field]
    if constant:
        model["required"] = list(dict.fromkeys([*constant, *model.get("required", [])]))


def _describe_fields(schema: Schema, models: Mapping[str, type]) -> None:
    """Add the docstrings of the fields to their schemas, for editors to show."""
    model = models.get(schema.get("title", ""))
    if model is not None:
        descriptions = {name: text for base in model.__mro__ for name, text in _read_fields(base)}
        for name, field in schema.get("properties", {}).items():
            if name in descriptions:
                field.setdefault("description", descriptions[name])


def _read_fields(model: type) -> Iterator[tuple[str, str]]:
    """Yield the names and docstrings of the fields in the source of a model."""
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
