"""What a command consists of, so that one module adds one, and what is said when a piece lacks."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import get_origin, get_type_hints

import click
import pytest

import isosmoke
from isosmoke.cli import commands, summary
from isosmoke.cli.json_documents import Written
from isosmoke.cli.project import schema
from support.paths import ROOT

PACKAGE = Path(isosmoke.__file__).parent

PARTS = {name: f"isosmoke.cli.{module}" for name, module in commands().items()}


def flaws(name: str, module: ModuleType) -> Iterator[str]:
    """Yield what the module of a command lacks, one sentence each."""
    yield from flaws_of_summary(module)
    command = getattr(module, "command", None)
    if not isinstance(command, click.Command):
        yield "it has no `command`"
        return
    documents = {**schema.documents(), **getattr(module, "DOCUMENTS", {})}
    for path, one in leaves(name, command):
        yield from flaws_of_parameters(path, one)
        yield from flaws_of_documents(path, one, documents.values())


def flaws_of_summary(module: ModuleType) -> Iterator[str]:
    """Yield what is wrong with the line that `isosmoke --help` reads, without an import of it."""
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


def leaves(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with the words that name it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(f"{path} {name}", inner)


def flaws_of_parameters(path: str, command: click.Command) -> Iterator[str]:
    """Yield each difference between the options of a command and its function's parameters."""
    if not command.help:
        yield f"`{path}` has no help"
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        yield f"`{path}` takes options without their names"
        return
    taken = {one.name for one in parameters} - {"ctx"}
    given = {one.name: one for one in command.params if one.name}
    for name in sorted(taken ^ given.keys()):
        yield f"`{path}` and its function do not agree about {name}"
    for name in sorted(taken & given.keys()):
        if expected := shape(given[name]):
            hint = hints.get(name)
            if (get_origin(hint) or hint) is not expected:
                yield f"`{path}` has {name} as another type than {expected.__name__}"


def shape(param: click.Parameter) -> type | None:
    """Return the type that click gives a flag or a repeated option, None for any other."""
    if isinstance(param, click.Option) and param.is_flag:
        return bool
    return tuple if param.nargs == -1 or getattr(param, "multiple", False) else None


def flaws_of_documents(
    path: str, command: click.Command, documents: Iterable[Written]
) -> Iterator[str]:
    """Yield a command that prints JSON of no kind that `isosmoke schema` knows."""
    if not any("--json" in one.opts for one in command.params):
        return
    known = [words for one in documents for words in one.words.split(", ")]
    if not any(re.fullmatch(rf"{path}( [A-Z]+)? --json", words) for words in known):
        yield f"`{path} --json` prints no document that DOCUMENTS declares"


@pytest.mark.parametrize("name", PARTS)
def test_each_command_has_all_its_pieces(name: str) -> None:
    """A summary, a `command`, a parameter for each option, and a kind for what `--json` prints."""
    assert list(flaws(name, import_module(PARTS[name]))) == []


WHOLE = '''"""Greet somebody."""

import click

from isosmoke.cli.json_documents import Written

DOCUMENTS = {"greeting": Written("greet --json", int)}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True)
def command(*, names: tuple[str, ...], as_json: bool) -> None:
    """Greet everybody who is named."""
    click.echo(f"hello {' '.join(names)}")
'''
"""A command with all its pieces."""

LACKING = {
    "a sentence": ('"""Greet somebody."""', '"""Greet somebody"""', "one sentence"),
    "one sentence only": ("Greet somebody.", "Greet. Smile.", "one sentence"),
    "a plain summary": (
        '"""Greet somebody',
        '"""`isosmoke greet`: greet somebody',
        "repeats the name",
    ),
    "a docstring": ('"""Greet somebody."""', "", "no docstring"),
    "the first line": ('"""Greet somebody', '# Polite.\n"""Greet somebody', "not the first line"),
    "the command": ("def command(", "def greet(", "no `command`"),
    "a help": ('    """Greet everybody who is named."""\n', "", "`greet` has no help"),
    "a parameter": (", as_json: bool", "", "do not agree about as_json"),
    "an option": ('@click.option("--json", "as_json", is_flag=True)\n', "", "agree about as_json"),
    "names of options": (
        "*, names: tuple[str, ...], as_json: bool",
        "**options: object",
        "without their names",
    ),
    "the type of a flag": ("as_json: bool", "as_json: str", "another type than bool"),
    "the type of a list": ("names: tuple[str, ...]", "names: str", "another type than tuple"),
    "a document": ("greet --json", "greet --yaml", "no document"),
}


def loaded(folder: Path, source: str) -> ModuleType:
    """Return a module with this source, imported from a file in the folder."""
    file = folder / "greet.py"
    file.write_text(source)
    spec = spec_from_file_location("greet", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_whole_command_has_no_flaw(tmp_path: Path) -> None:
    """What the broken ones are made of is right."""
    assert list(flaws("greet", loaded(tmp_path, WHOLE))) == []


@pytest.mark.parametrize(("piece", "broken", "told"), LACKING.values(), ids=LACKING)
def test_a_missing_piece_is_named(tmp_path: Path, piece: str, broken: str, told: str) -> None:
    """Each piece that a command lacks gives one flaw that says which."""
    assert piece in WHOLE

    (found,) = flaws("greet", loaded(tmp_path, WHOLE.replace(piece, broken)))

    assert told in found


def test_summaries_are_the_first_lines_of_docstrings() -> None:
    """`--help` shows what the module says of itself, packages included."""
    for name, module in PARTS.items():
        assert summary(name) == (import_module(module).__doc__ or "").split("\n")[0]


def test_no_two_commands_declare_one_kind_of_document() -> None:
    """The later of two would hide the other's schema."""
    declared = Counter(
        kind
        for module in PARTS.values()
        for kind in getattr(import_module(module), "DOCUMENTS", {})
    )

    assert [kind for kind, times in declared.items() if times > 1] == []
    assert {*declared, schema.MANIFEST} == set(schema.documents())


def trees() -> Iterator[ast.Module]:
    """Yield the syntax tree of each module of the command line."""
    for file in PACKAGE.glob("cli/**/*.py"):
        yield ast.parse(file.read_text())


SHARED = ("-E", "--manifest", "--engine", "--report", "--json", "--last-failed", "--rerun")


def test_shared_options_are_declared_once() -> None:
    """A second declaration of one would drift from the first."""
    declared = Counter(
        word.value
        for tree in trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "click.option"
        for word in call.args
        if isinstance(word, ast.Constant)
    )

    assert {word: declared[word] for word in SHARED} == dict.fromkeys(SHARED, 1)


def test_no_function_takes_options_without_their_names() -> None:
    """With `**options`, or a mapping of any values, mypy sees no misspelt name of an option."""
    functions = [
        one for tree in trees() for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)
    ]
    untyped = re.compile(r"(dict|Mapping)\[str, (Any|object)\]")

    assert functions
    assert [one.name for one in functions if one.args.kwarg] == []
    assert [one.name for one in functions if untyped.search(ast.unparse(one.args))] == []


def test_readme_lists_every_command() -> None:
    """Each command is in one of the lists of the README, and each that is there exists."""
    readme = (ROOT / "README.md").read_text()
    lines = re.findall(r"^    (?:eval .*)?isosmoke (?:--context \S+ )?(.*)$", readme, re.MULTILINE)
    listed = {re.split(r"[^a-z-]", usage)[0] for line in lines for usage in line.split(" · ")}

    assert listed == set(commands())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of isosmoke that a test may extend."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "isosmoke", ignore=ignored)
    return tmp_path / "isosmoke"


def said(copy: Path, *words: str, **more: str) -> str:
    """Return what a copy of isosmoke prints, on stdout or on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "isosmoke", *words],
        cwd=copy.parent,
        env={**os.environ, "COLUMNS": "200", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def extend(registry: Path, line: str, added: str) -> None:
    """Add a line to the source of a registry, after another one that it has."""
    source = registry.read_text()
    assert source.count(line) == 1
    registry.write_text(source.replace(line, line + added))


def completed(copy: Path, line: str) -> list[str]:
    """Return the words that a copy offers at the end of a line."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    offered = said(copy, **asked, _ISOSMOKE_COMPLETE="bash_complete")
    return [word.removeprefix("plain,") for word in offered.split()]


def test_a_command_is_one_module(copied: Path) -> None:
    """Its file makes it run, be listed, be completed and have a schema."""
    (copied / "cli/project/greet.py").write_text(WHOLE)

    assert said(copied, "greet", "Ada") == "hello Ada\n"
    assert re.search(r"^  greet +Greet somebody\.$", said(copied, "--help"), re.MULTILINE)
    assert completed(copied, "isosmoke gree") == ["greet"]
    assert completed(copied, "isosmoke greet --js") == ["--json"]
    assert re.search(r"^greeting +greet --json$", said(copied, "schema"), re.MULTILINE)


def test_a_report_needs_one_line_of_the_registry(copied: Path) -> None:
    """Options, their help and words that were completed before know it at once."""
    before = completed(copied, "isosmoke report --as b")
    extend(
        copied / "reports/__init__.py", '    "html": _html,\n', '    "brief": lambda run: run.id,\n'
    )

    assert before == []
    assert completed(copied, "isosmoke report --as b") == ["brief"]
    assert "|brief|github]" in said(copied, "report", "--help")
    assert "html=, brief=FILE" in " ".join(said(copied, "run", "--help").split())
    assert "--report brief needs a file" in said(copied, "run", "--report", "brief")


def test_completion_learns_of_a_new_engine(copied: Path) -> None:
    """Words that were completed before are not believed once the registry changed."""
    before = completed(copied, "isosmoke run --engine e")
    extend(copied / "engines/__init__.py", '    "docker": _docker,\n', '    "extra": _docker,\n')

    assert before == []
    assert completed(copied, "isosmoke run --engine e") == ["extra"]
