"""Vocabulary of code, help texts and documentation: plain technical English, one term per concept.

A hit is reported as `file:line: word → replacement`. To list all hits without pytest, run

    PYTHONPATH=tests python tests/unit/test_language.py [PATH PREFIX]...
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from isosmoke.cli import cli
from support.paths import ROOT

BANNED = {
    "told": "reported, printed, rendered",
    "whoever": "the caller, a user, any reader",
    "borne": "tolerated",
    "mend|mends|mended|mending": "fix",
    "nobody": "no process, no user",
    "somebody": "a process, a user",
    "folder|folders": "directory",
    "beside": "concurrently, alongside, next to",
    "hindrance|hindrances": "missing requirement",
    "of its own": "its own",
    "of their own": "their own",
    "speaks for": "is valid for",
    "stands still|stand still": "is frozen",
    "comes out as|came out as": "ends as, results in",
    "for one in": "for ITEM in, with the singular of the collection",
    "lambda one": "lambda ITEM, with a noun",
}
"""Words and phrases, with alternatives separated by `|`, and their replacements."""

OPENINGS = (
    "What|Who|Whose|Whoever|Whether|Where|Which|How|Those|All that|Nobody|Somebody|However|Whatever"
)
"""Words that must not begin a docstring."""

IMPERATIVE = "an imperative verb, or a noun phrase"
"""The replacement of an opening."""


class Allowance(NamedTuple):
    """A word that is correct in a file. `context` is a regular expression that its line matches."""

    path: str
    word: str
    context: str
    reason: str


PUBLISHED = "a value in JSON documents"
TITLE = "a title in JSON schemas"
CHANGED = '"(added|changed|removed) folder"'
USER = "the user of that name, 65534"

ALLOWED = (
    Allowance("isosmoke/cli/past_runs/runs.py", "folder", "run.json in the folder of a run", TITLE),
    Allowance("isosmoke/cli/past_runs/show.py", "beside", "NAME/result.json beside it", TITLE),
    Allowance("isosmoke/results/evidence.py", "folder", '"folder"', PUBLISHED),
    Allowance("isosmoke/runner/evidence/overlay_diff.py", "folder", '"folder"', PUBLISHED),
    Allowance("isosmoke/reports/wording.py", "folder", '"folder"', PUBLISHED),
    Allowance("isosmoke/rootfs_images/tree_hash.py", "folder", "'folder'", "an input of hashes"),
    Allowance("isosmoke/sandbox/added/user_files.py", "nobody", "_NOBODY|nobody:x:", USER),
    Allowance("tests/unit/runner/test_overlay_diff.py", "folder", CHANGED, PUBLISHED),
    Allowance("tests/integration/test_evidence_collection.py", "folder", CHANGED, PUBLISHED),
    Allowance("tests/unit/reports/test_summary.py", "folder", "  folder, ", PUBLISHED),
    Allowance("tests/unit/sandbox/added/test_user_files.py", "nobody", "root, nobody and", USER),
    Allowance("tests/support/available.py", "nobody", "_NOBODY", USER),
)
"""The exceptions. An entry that no line needs is an error."""

SOURCES = ("isosmoke", "tests", "bench", "docs", "images", "scenarios")
SUFFIXES = {".py", ".c", ".h", ".sh", ".md", ".toml", ".jinja"}
FILES = ("dev", ".ci/run", ".pre-commit-hooks.yaml", "Dockerfile", "images/debian/Dockerfile")
SELF = "tests/unit/test_language.py"
"""The one file that is not checked, because it contains the words."""

_LITERALS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1)}
_FIELD = re.compile(r"\{[^{}]*\}")
_UNQUOTED = re.compile(r"""('[^'\n]*'|"[^"\n]*")|[^\n]""")
_BARE = re.compile(r"""(["'])(\w+)\1""")
_IN_CODE = {"for one in", "lambda one"}
_IN_PROSE = {"folder|folders"}
_IN_BACKTICKS = re.compile(r"`[\w.]+`")
_C_PROSE = re.compile(r"""(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*")|[^\n]""", re.DOTALL)
_SEPARATOR = r"[\s#*]+"
_NO_NOUN = r"(?!\s+(?!(?:and|as|at|but|by|for|if|in|is|on|or|so|that|to|where|which|with)\b)\w)"
"""No noun follows: "a name of its own", but not "the name of its own directory"."""


class Hit(NamedTuple):
    """A banned word in a file."""

    path: str
    line: int
    word: str
    replacement: str

    def __str__(self) -> str:
        """Return the hit as one line of text."""
        return f"{self.path}:{self.line}: {self.word} → {self.replacement}"


def pattern(words: str) -> re.Pattern[str]:
    """Compile a key of `BANNED`.

    A phrase may continue on the next line. A path and a variable of a shell are not prose.
    """
    phrase = words.replace(" ", _SEPARATOR)
    end = _NO_NOUN if words.endswith(" own") else ""
    return re.compile(rf"(?<![\w/.${{-])(?:{phrase})(?![\w/=]){end}", re.IGNORECASE)


PATTERNS = {words: pattern(words) for words in BANNED}


def find_words(path: str, text: str, banned: Sequence[str] = tuple(BANNED)) -> Iterator[Hit]:
    """Yield every banned word in a text."""
    for words in banned:
        for match in PATTERNS[words].finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            word = re.sub(_SEPARATOR, " ", match.group().lower())
            yield Hit(path, line, word, BANNED[words])


def list_possible(text: str, banned: Iterable[str]) -> list[str]:
    """Return the keys of `BANNED` that may be found: all words of an alternative are in the text.

    Most files have none, and to look for the words is faster than to find out what is prose.
    """
    text = text.casefold()
    return [
        words
        for words in banned
        if any(
            all(word in text and re.search(rf"\b{word}\b", text) for word in phrase.split())
            for phrase in words.split("|")
        )
    ]


def keep_prose(source: str) -> str:
    """Blank out everything in Python source except comments and string literals.

    The replacement fields of f-strings are code, so only string literals in them stay. Line breaks
    stay, so that line numbers are those of the source.
    """
    lines = source.split("\n")
    prose = [[" "] * len(line) for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LITERALS:
            continue
        text = "\n".join(_region(lines, token))
        if token.type == tokenize.STRING and re.match(r"\w*[fF]", text):
            text = _FIELD.sub(lambda field: _UNQUOTED.sub(_blank, field[0]), text)
        row, column = token.start
        for offset, piece in enumerate(text.split("\n")):
            start = column if offset == 0 else 0
            prose[row - 1 + offset][start : start + len(piece)] = piece
    return "\n".join("".join(line) for line in prose)


def _blank(match: re.Match[str]) -> str:
    return match[1] or " "


def _region(lines: Sequence[str], token: tokenize.TokenInfo) -> list[str]:
    (first, start), (last, end) = token.start, token.end
    region = list(lines[first - 1 : last])
    region[-1] = region[-1][:end]
    region[0] = region[0][start:]
    return region


def find_names(path: str, nodes: Iterable[ast.AST]) -> Iterator[Hit]:
    """Yield every identifier of a module that contains a banned word, such as `_told`."""
    single = {
        word: replacement
        for words, replacement in BANNED.items()
        if words not in _IN_PROSE
        for word in words.split("|")
        if " " not in word
    }
    for node in nodes:
        for name in {getattr(node, field, None) for field in ("id", "attr", "arg", "name")}:
            for part in name.lower().split("_") if isinstance(name, str) else ():
                if part in single:
                    yield Hit(path, getattr(node, "lineno", 1), f"{name}", single[part])


def find_openings(path: str, nodes: Iterable[ast.AST]) -> Iterator[Hit]:
    """Yield every docstring of a module that begins with one of `OPENINGS`.

    A string after an assignment counts as the docstring of its target.
    """
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            opening = re.match(rf"\s*({OPENINGS})\b", str(node.value.value))
            if opening:
                yield Hit(path, node.lineno, f"docstring begins with {opening[1]}", IMPERATIVE)


def _hide_name(match: re.Match[str]) -> str:
    return match[0].replace("folder", " " * len("folder"))


def find_in_c(path: str, source: str) -> Iterator[Hit]:
    """Yield every hit in C source: in comments and strings."""
    yield from find_words(path, _C_PROSE.sub(_blank, source))


def find_in_python(path: str, source: str) -> Iterator[Hit]:
    """Yield every hit in Python source: in comments, strings, docstrings, identifiers and loops."""
    if possible := list_possible(source, BANNED.keys() - _IN_CODE):
        prose = _IN_BACKTICKS.sub(_hide_name, keep_prose(source))
        if path.startswith("tests/"):  # a directory that is called "folder" is test data
            prose = _BARE.sub(_hide_name, prose)
        yield from find_words(path, prose, possible)
    yield from find_words(path, source, sorted(_IN_CODE))
    nodes = [*ast.walk(ast.parse(source))]
    yield from find_names(path, nodes)
    yield from find_openings(path, nodes)


def find_hits(path: str, text: str) -> list[Hit]:
    """Return every hit in a file that no allowance covers, in the order of their lines."""
    find = {".py": find_in_python, ".c": find_in_c, ".h": find_in_c}.get(
        Path(path).suffix, find_words
    )
    lines = text.splitlines()
    return sorted(hit for hit in find(path, text) if not covering(hit, lines[hit.line - 1]))


def covering(hit: Hit, line: str) -> list[Allowance]:
    """Return the allowances that cover a hit on a line."""
    return [
        allowance
        for allowance in ALLOWED
        if allowance.path == hit.path
        and allowance.word in hit.word.lower()
        and re.search(allowance.context, line)
    ]


def checked_files() -> list[str]:
    """Return the paths of all checked files, relative to the repository."""
    found = [file for source in SOURCES for file in (ROOT / source).rglob("*")]
    paths = [file for file in (*found, *ROOT.iterdir()) if file.suffix in SUFFIXES]
    paths += [ROOT / file for file in FILES]
    return sorted({str(path.relative_to(ROOT)) for path in paths} - {SELF})


def area(path: str) -> str:
    """Return the area of a file: its package, its directory in `tests`, or its top directory."""
    directory = Path(path).parent.parts
    return "/".join(directory[: 3 if directory[:2] == ("tests", "unit") else 2]) or "top level"


AREAS = {name: list(paths) for name, paths in groupby(sorted(checked_files(), key=area), key=area)}


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("paths", AREAS.values(), ids=AREAS)
def test_area_has_no_banned_word(paths: list[str]) -> None:
    """Comments, docstrings, messages, names and pages use the replacements."""
    hits = [str(hit) for path in paths for hit in find_hits(path, read(path))]

    assert not hits, "\n".join(("use the replacement:", *hits))


def test_every_kind_of_file_is_checked() -> None:
    """The test above does not pass because it found no file."""
    checked = {Path(path).suffix for path in checked_files()}

    assert checked >= SUFFIXES
    assert {"README.md", "isosmoke/keeper/keeper.c", "isosmoke/cli/__init__.py"} <= {
        *checked_files()
    }


@pytest.mark.parametrize("allowance", ALLOWED, ids=lambda allowance: allowance.path)
def test_allowance_is_needed(allowance: Allowance) -> None:
    """An exception exists only while a line needs it, and gives a reason."""
    text = read(allowance.path)
    lines = text.splitlines()
    hits = find_in_python(allowance.path, text)

    assert allowance.reason
    assert any(allowance in covering(hit, lines[hit.line - 1]) for hit in hits)


def help_pages(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the words of every command and the text of its `--help`."""
    help_page = CliRunner().invoke(cli, [*words, "--help"], terminal_width=100)
    assert help_page.exit_code == 0, help_page.output
    yield " ".join(("isosmoke", *words, "--help")), help_page.output
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand
            yield from help_pages(subcommand, (*words, name))


def test_help_has_no_banned_word() -> None:
    """The help of every command uses the replacements, however its parts are put together."""
    pages = dict(help_pages(cli))
    hits = [str(hit) for page, text in pages.items() for hit in find_words(page, text)]

    assert {"isosmoke --help", "isosmoke run --help", "isosmoke image import --help"} <= {*pages}
    assert not hits, "\n".join(("use the replacement:", *hits))


def classes(package: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of every class of a package, nested ones too, and its `file:line`."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name, f"{file.relative_to(package.parent)}:{node.lineno}"


def find_duplicates(package: Path) -> list[str]:
    """Return a line for every class name that a package defines more than once."""
    defined = list(classes(package))
    counts = Counter(name for name, _ in defined)
    return [
        f"{name}: {', '.join(location for other, location in defined if other == name)}"
        for name, count in sorted(counts.items())
        if count > 1
    ]


def test_no_class_name_is_defined_twice() -> None:
    """A class name means one thing in the whole package, so a search finds one definition."""
    assert find_duplicates(ROOT / "isosmoke") == []


EXAMPLE = '''"""Whoever reads this is told."""

FOLDER = "a folder of its own"  # beside others
folder = f"{nobody} is {folder} in {'a folder'}"  # the deadlines have handlers of
# their own
names = [one.name for one in places]
key = sorted(names, key=lambda one: one)


def told_text(path: str = "tmp/folder/x") -> str:
    """Return the mended text of its own lines in `folder`."""
    return f"somebody {path}"


LIMIT = 3
"""Whether it holds."""
'''

EXPECTED = """\
x.py:1: docstring begins with Whoever → an imperative verb, or a noun phrase
x.py:1: told → reported, printed, rendered
x.py:1: whoever → the caller, a user, any reader
x.py:3: beside → concurrently, alongside, next to
x.py:3: folder → directory
x.py:3: of its own → its own
x.py:4: folder → directory
x.py:4: nobody → no process, no user
x.py:4: of their own → their own
x.py:6: for one in → for ITEM in, with the singular of the collection
x.py:7: lambda one → lambda ITEM, with a noun
x.py:10: told_text → reported, printed, rendered
x.py:11: mended → fix
x.py:12: somebody → a process, a user
x.py:16: docstring begins with Whether → an imperative verb, or a noun phrase
"""


def test_checker_reports_each_word_with_its_line() -> None:
    """Code that is not prose, such as a path or a variable called `folder`, is not reported."""
    assert "".join(f"{hit}\n" for hit in find_hits("x.py", EXAMPLE)) == EXPECTED


def test_checker_reports_a_phrase_in_a_page() -> None:
    """A phrase may be broken across lines; the line is that of its first word."""
    assert [str(hit) for hit in find_hits("x.md", "It has\na name of\nits own.\n")] == [
        "x.md:2: of its own → its own"
    ]


def test_checker_reports_comments_and_strings_of_c() -> None:
    """A variable is not prose."""
    source = 'int folder; /* A\n * folder */\nputs("told"); // of its\n'

    assert [str(hit) for hit in find_hits("x.c", source)] == [
        "x.c:2: folder → directory",
        "x.c:3: told → reported, printed, rendered",
    ]


def test_checker_ignores_variables_of_a_shell() -> None:
    """A comment is prose, a variable is not."""
    source = 'folder=$TMP # a folder\nrm -r "$folder" "${folder}"\n'

    assert [str(hit) for hit in find_hits("x.sh", source)] == ["x.sh:1: folder → directory"]


def test_checker_reports_a_class_that_is_defined_twice(tmp_path: Path) -> None:
    """Both definitions are named, also a nested one."""
    (tmp_path / "one.py").write_text("class Name: ...\nclass Other: ...\n")
    (tmp_path / "two.py").write_text("class Outer:\n    class Name: ...\n")

    (duplicate,) = find_duplicates(tmp_path)

    name = tmp_path.name
    assert duplicate == f"Name: {name}/one.py:1, {name}/two.py:2"


def list_hits(*prefixes: str) -> Iterator[str]:
    """Yield all hits in files that begin with a prefix, then their number in each area."""
    counts: Counter[str] = Counter()
    for path in checked_files():
        if path.startswith(prefixes or ("",)):
            hits = find_hits(path, read(path))
            counts[area(path)] += len(hits)
            yield from map(str, hits)
    for name, count in sorted(counts.items()):
        yield f"{count:5} {name}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in list_hits(*sys.argv[1:]))
