"""The texts that a user reads: every help page, and the message and hint of every error.

Run as a module to print them; `REWRITE` is the command that updates the golden file.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping

import click

from isosmoke.cli import cli
from support.paths import ROOT, TESTS

GOLDEN = TESTS / "goldens" / "user_text.txt"
REWRITE = "PYTHONPATH=tests .venv/bin/python -m support.user_text >tests/goldens/user_text.txt"

_WIDTH = 80
_FIELD = "{…}"
_CLICK_ERRORS = {"BadParameter", "fail"}

_Variables = Mapping[str, list[ast.expr]]
"""The values assigned to each variable of a function or module."""


def render() -> str:
    """Return the help pages by command, then the errors by module."""
    root = click.Context(
        cli, info_name="isosmoke", terminal_width=_WIDTH, help_option_names=["-h", "--help"]
    )
    return "\n".join([*_render_help(cli, root), *_render_errors()])


def _render_help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"== {context.command_path} --help\n\n{command.get_help(context)}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _render_help(inner, click.Context(inner, context, name))


def _render_errors() -> Iterator[str]:
    files = sorted((ROOT / "isosmoke").rglob("*.py"))
    modules = {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text()) for file in files}
    names = _find_error_names(modules.values()) | _CLICK_ERRORS
    for path, tree in modules.items():
        collector = _ErrorCollector(names)
        collector.visit(tree)
        if collector.errors:
            yield "\n".join([f"== {path}", "", *collector.errors, ""])


def _find_error_names(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of `IsosmokeError` and of the classes derived from it."""
    bases = {
        node.name: {ast.unparse(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = {"IsosmokeError"}
    while derived := {name for name, parents in bases.items() if parents & names} - names:
        names |= derived
    return names


class _ErrorCollector(ast.NodeVisitor):
    """A collector of the texts that a module passes to these error classes, in source order."""

    def __init__(self, names: set[str]) -> None:
        self.errors: list[str] = []
        self._names = names
        self._variables: _Variables = {}

    def visit_Module(self, node: ast.Module) -> None:
        constants = [statement for statement in node.body if isinstance(statement, ast.Assign)]
        self._variables = _find_variables(constants)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._variables = (
            self._variables,
            {**self._variables, **_find_variables(ast.walk(node))},
        )
        self.generic_visit(node)
        self._variables = outer

    def visit_Call(self, node: ast.Call) -> None:
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in self._names:
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            values = dict(zip(("message", "hint"), node.args, strict=False)) | keywords
            message = self._join_texts(values.get("message"))
            hint = self._join_texts(values.get("hint"))
            if f"{message}{hint}".replace(_FIELD, "").strip(" |"):
                self.errors += [f"{name}: {message}", *([f"  try: {hint}"] if hint else [])]
        self.generic_visit(node)

    def _join_texts(self, value: ast.expr | None) -> str:
        texts = [] if value is None else _read_texts(value, self._variables)
        return " | ".join(text.replace("\n", "\\n") for text in texts)


def _find_variables(nodes: Iterable[ast.AST]) -> _Variables:
    variables: dict[str, list[ast.expr]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                variables.setdefault(ast.unparse(target), []).append(node.value)
    return variables


def _read_texts(value: ast.expr, variables: _Variables) -> list[str]:
    """Return the possible values of an expression, with `{…}` for each field."""
    match value:
        case ast.Constant(value=str(text)):
            texts = [text]
        case ast.JoinedStr(values=parts):
            pieces = [part.value if isinstance(part, ast.Constant) else _FIELD for part in parts]
            texts = ["".join(map(str, pieces))]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            heads, tails = _read_texts(left, variables), _read_texts(right, variables)
            texts = [head + tail for head in heads for tail in tails]
        case ast.IfExp(body=body, orelse=otherwise):
            texts = [*_read_texts(body, variables), *_read_texts(otherwise, variables)]
        case ast.Name(id=name) if name in variables:
            texts = [text for found in variables[name] for text in _read_texts(found, {})]
        case _:
            texts = [_FIELD]
    return texts


if __name__ == "__main__":
    sys.stdout.write(render())
