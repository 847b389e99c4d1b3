"""The required parts of a command module, and the messages about missing parts."""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import get_origin, get_type_hints

import click
import pytest
from click.testing import CliRunner

import isosmoke
from isosmoke.cli import cli, find_commands, read_summary
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.project import schema
from isosmoke.errors import ExitCode
from isosmoke.host import state
from support.command_source import COMPLETE
from support.paths import ROOT

PACKAGE = Path(isosmoke.__file__).parent

MODULES = {name: f"isosmoke.cli.{module}" for name, module in find_commands().items()}


def find_flaws(name: str, module: ModuleType) -> Iterator[str]:
    """Yield one sentence for each part that the module of a command lacks."""
    yield from find_summary_flaws(module)
    command = getattr(module, "command", None)
    if not isinstance(command, click.Command):
        yield "it has no `command`"
        return
    documents = {**schema.find_documents(), **getattr(module, "DOCUMENTS", {})}
    for path, leaf in list_leaves(name, command):
        yield from find_parameter_flaws(path, leaf)
        yield from find_document_flaws(path, leaf, documents.values())


def find_summary_flaws(module: ModuleType) -> Iterator[str]:
    """Yield the flaws of the line that `isosmoke --help` reads without importing the module."""
    first = (module.__doc__ or "").split("\n")[0]
    if not first:
        yield "it has no docstring"
        return
    if inspect.getsource(module).split("\n")[0].strip('"') != first:
        yield "its summary is not the first line of its file"
    if not first.endswith(".") or ". " in first:
        yield "its summary is not one sentence that ends with a full stop"
    if first.startswith("`"):
        yield "its summary repeats the name of the command"


def list_leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that is not a group, with its full name."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from list_leaves(f"{path} {name}", inner)


def find_parameter_flaws(path: str, command: click.Command) -> Iterator[str]:
    """Yield the differences between the options of a command and its function's parameters."""
    if not command.help:
        yield f"`{path}` has no help"
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        yield f"`{path}` takes unnamed options"
        return
    names = {*list_names(parameters, hints)} - {"ctx"}
    params = {param.name: param for param in command.params if param.name}
    for name in sorted(names ^ params.keys()):
        yield f"`{path}` and its function disagree about {name}"
    for name in sorted(names & params.keys()):
        if expected := container_type(params[name]):
            hint = hints[name] if name in hints else find_field_type(name, hints)
            if (get_origin(hint) or hint) is not expected:
                yield f"`{path}` does not annotate {name} as {expected.__name__}"


def list_names(
    parameters: Iterable[inspect.Parameter], hints: Mapping[str, object]
) -> Iterator[str]:
    """Yield the options of a function: its parameters, or the fields of one that has several."""
    for parameter in parameters:
        hint = hints.get(parameter.name)
        yield from (
            [field.name for field in fields(hint)] if is_dataclass(hint) else [parameter.name]
        )


def find_field_type(name: str, hints: Mapping[str, object]) -> object:
    """Return the type of a field of one of the objects with several options."""
    options = (hint for hint in hints.values() if is_dataclass(hint))
    owner = next(kind for kind in options if name in {field.name for field in fields(kind)})
    return get_type_hints(owner)[name]


def container_type(param: click.Parameter) -> type | None:
    """Return the type of the value of a flag or a repeated option, None for any other."""
    if isinstance(param, click.Option) and param.is_flag:
        return bool
    return tuple if param.nargs == -1 or getattr(param, "multiple", False) else None


def find_document_flaws(
    path: str, command: click.Command, documents: Iterable[DocumentKind]
) -> Iterator[str]:
    """Yield a flaw if a command prints JSON of a kind that `isosmoke schema` does not know."""
    if not any("--json" in param.opts for param in command.params):
        return
    sources = [source for kind in documents for source in kind.description.split(", ")]
    if not any(re.fullmatch(rf"{path}( [A-Z]+)? --json", source) for source in sources):
        yield f"`{path} --json` prints no document that DOCUMENTS declares"


@pytest.mark.parametrize("name", MODULES)
def test_command_has_all_parts(name: str) -> None:
    """A command has a summary, a `command`, a parameter per option, and a kind for `--json`."""
    assert list(find_flaws(name, import_module(MODULES[name]))) == []


MISSING_PARTS = {
    "a sentence": ('"""Greet a user."""', '"""Greet a user"""', "one sentence"),
    "one sentence only": ("Greet a user.", "Greet. Smile.", "one sentence"),
    "a plain summary": (
        '"""Greet a user',
        '"""`isosmoke greet`: greet a user',
        "repeats the name",
    ),
    "a docstring": ('"""Greet a user."""', "", "no docstring"),
    "the first line": ('"""Greet a user', '# Polite.\n"""Greet a user', "not the first line"),
    "the command": ("def command(", "def greet(", "no `command`"),
    "a help": ('    """Greet all users."""\n', "", "`greet` has no help"),
    "a parameter": (", as_json: bool", "", "disagree about as_json"),
    "an option": (
        '@click.option("--json", "as_json", is_flag=True)\n',
        "",
        "disagree about as_json",
    ),
    "names of options": (
        "*, names: tuple[str, ...], as_json: bool",
        "**options: object",
        "unnamed options",
    ),
    "the type of a flag": ("as_json: bool", "as_json: str", "not annotate as_json as bool"),
    "the type of a list": ("names: tuple[str, ...]", "names: str", "not annotate names as tuple"),
    "a document": ("greet --json", "greet --yaml", "no document"),
}


def load_module(directory: Path, source: str) -> ModuleType:
    """Return a module with this source, imported from a file in the directory."""
    file = directory / "greet.py"
    file.write_text(source)
    spec = spec_from_file_location("greet", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("run", "--engine", "bublewrap"), "'bubblewrap'"),
        (("report", "--as", "jnit"), "'junit'"),
        (("schema", "manifst"), "'manifest'"),
        (("run", "--manifset", "x"), "'--manifest'"),
        (("image", "chek"), "'check'"),
    ],
)
def test_mistyped_argument_is_answered_with_the_most_similar(
    arguments: tuple[str, ...], match: str
) -> None:
    """Values, options and nested commands are suggested as commands are."""
    done = CliRunner().invoke(cli, arguments)

    assert done.exit_code == ExitCode.USAGE
    assert f"did you mean {match}?" in done.output.lower()


def test_complete_command_has_no_flaw(tmp_path: Path) -> None:
    """The example from which the incomplete commands are derived is valid."""
    assert list(find_flaws("greet", load_module(tmp_path, COMPLETE))) == []


@pytest.mark.parametrize(("part", "broken", "message"), MISSING_PARTS.values(), ids=MISSING_PARTS)
def test_missing_part_is_named(tmp_path: Path, part: str, broken: str, message: str) -> None:
    """Each missing part of a command produces one flaw that names it."""
    assert part in COMPLETE

    (flaw,) = find_flaws("greet", load_module(tmp_path, COMPLETE.replace(part, broken)))

    assert message in flaw


def test_summaries_are_the_first_lines_of_docstrings() -> None:
    """`--help` shows the first docstring line of modules and packages."""
    for name, module in MODULES.items():
        assert read_summary(name) == (import_module(module).__doc__ or "").split("\n")[0]


def test_each_kind_of_document_is_declared_once() -> None:
    """A second declaration would hide the schema of the first."""
    declared = Counter(
        kind
        for module in MODULES.values()
        for kind in getattr(import_module(module), "DOCUMENTS", {})
    )

    assert [kind for kind, number in declared.items() if number > 1] == []
    assert {*declared, schema.MANIFEST} == set(schema.find_documents())


def parse_modules() -> Iterator[ast.Module]:
    """Yield the syntax tree of each module of the command line."""
    for file in PACKAGE.glob("cli/**/*.py"):
        yield ast.parse(file.read_text())


SHARED = (
    "-E",
    "--manifest",
    "--jobs",
    "--engine",
    "--report",
    "--json",
    "--last-failed",
    "--rerun",
)


def test_shared_options_are_declared_once() -> None:
    """A second declaration of a shared option would drift from the first."""
    declared = Counter(
        argument.value
        for tree in parse_modules()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "click.option"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    )

    assert {option: declared[option] for option in SHARED} == dict.fromkeys(SHARED, 1)


def test_no_function_takes_unnamed_options() -> None:
    """With `**options` or an untyped mapping, mypy cannot find a misspelled option name."""
    functions = [
        node
        for tree in parse_modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    untyped = re.compile(r"(dict|Mapping)\[str, (Any|object)\]")

    assert functions
    assert [node.name for node in functions if node.args.kwarg] == ["call"]  # of `gather`
    assert [node.name for node in functions if untyped.search(ast.unparse(node.args))] == []


def test_page_lists_every_command() -> None:
    """The page of commands lists every command and no unknown command."""
    page = (ROOT / "docs/commands-by-purpose.md").read_text()
    lines = re.findall(r"^    (?:eval .*)?isosmoke (?:--context \S+ )?(.*)$", page, re.MULTILINE)
    listed = {re.split(r"[^a-z-]", usage)[0] for line in lines for usage in line.split(" · ")}

    assert listed == set(find_commands())


def test_error_of_the_machine_has_a_hint() -> None:
    """An error that no command expects says what is wrong, where, and what to do next."""
    (state.ensure_directory("locks") / "images").mkdir()

    done = CliRunner().invoke(cli, ["image", "remove", "one"])

    assert done.exit_code == ExitCode.INFRASTRUCTURE
    message, hint = done.stderr.splitlines()
    assert message == f"isosmoke: {state.get_state_directory()}/locks/images: Is a directory"
    assert hint.startswith("  try: ")


def test_lack_of_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with a hint, and without a report for the authors."""

    @click.command()
    def greedy() -> None:
        raise MemoryError

    monkeypatch.setattr("isosmoke.cli._load", lambda _: greedy)

    done = CliRunner().invoke(cli, ["runs"])

    assert done.exit_code == ExitCode.INFRASTRUCTURE
    assert "ulimit -v" in done.stderr
