"""The names of calls, and what help texts say about a command line."""

import pytest

from isosmoke.teeth.calls import grammar
from isosmoke.teeth.calls.grammar import Grammar

HELP = """Usage: wg [OPTIONS] [COMMAND]

Commands:
  init           Create a graph
  service        Control the service
  config, cfg    Change the configuration

Options:
  -d, --dir <DIR>      The directory
      --log LEVEL      The level
  -v, --verbose        Print more
      --color[=WHEN]   Use colour
"""

NAMES = {
    (): "",
    ("add", "a title"): "add",
    ("--dir", "x", "add"): "add",
    ("--dir=x", "-v", "add"): "add",
    ("service", "stop", "--force"): "service stop",
    ("service", "--help"): "service",
    ("service",): "service",
    ("service", ""): "service",
    ("service", "-v", "stop"): "service stop",
    ("service", "--at", "stop", "start"): "service start",
    ("service", "--at"): "service",
    ("service", "--at=x", "-v", "stop"): "service stop",
    ("service", "-v", "--", "stop"): "service stop",
    ("service", "--", "-v"): "service",
    ("service", "--unknown", "stop"): "service",
    ("--", "service", "stop"): "service stop",
    ("--dir", "service", "service", "stop"): "service stop",
    ("--version",): "",
    ("-",): "-",
    ("at", "place", "show", "x"): "at show",
}


@pytest.mark.parametrize(("words", "name"), NAMES.items())
def test_name(words: tuple[str, ...], name: str) -> None:
    """A call is named by its first word that is no option, or as a pattern says."""
    rules = Grammar(
        valued=("--dir",),
        groups=("service",),
        between=("service -v",),
        between_valued=("service --at",),
        patterns=("at _ *",),
    )

    assert grammar.name_call(words, rules) == name


def test_valued_options_of_a_help_text() -> None:
    """Options with a value are found in both of their forms; flags are not."""
    assert grammar.find_valued_options(HELP) == ("-d", "--dir", "--log")


def test_plain_options_of_a_help_text() -> None:
    """Options without a value are found; those with one, also an optional one, are not."""
    assert grammar.find_plain_options(HELP) == ("-v", "--verbose")
    assert grammar.find_plain_options("  -j, --json\n  -o FILE  Write\n  -C DIR\n") == (
        "-j",
        "--json",
    )
    assert grammar.find_plain_options("  -v  More\n  -v LEVEL  More\n") == ()


OPTIONS = {
    "  -C DIR": ("-C",),
    "  -C <path>     Run there": ("-C",),
    "  --at <place>": ("--at",),
    "  --at=<a place>   The place": ("--at",),
    "  -d, --dir <dir>   The directory": ("-d", "--dir"),
    "  -d DIR, --dir DIR": ("-d", "--dir"),
    "  -d dir, --dir dir   The directory": ("-d", "--dir"),
    "  -c, --config string   The file": ("-c", "--config"),
    "  -dir string": ("-dir",),
    "  -q, --quiet     Print less": (),
    "  -q, --quiet Print less": (),
    "  --color[=<when>]": (),
    "  --color [WHEN]": (),
    "  -v print more": (),
    "  -V Print the version": (),
    "  -V": (),
    "The -d DIR option": (),
}


@pytest.mark.parametrize(("line", "options"), OPTIONS.items())
def test_valued_options_of_other_programs(line: str, options: tuple[str, ...]) -> None:
    """Help texts of argparse, click, cobra, commander, docopt and Go's `flag` are understood."""
    assert grammar.find_valued_options(line) == options


def test_choices_of_a_help_text_are_words() -> None:
    """Python's argparse lists subcommands without a help text in braces."""
    text = "positional arguments:\n  {start,stop}\n"

    assert [grammar.lists_word(text, word) for word in ("start", "stop", "sto")] == [
        True,
        True,
        False,
    ]


def test_words_of_a_help_text() -> None:
    """A word is listed if an entry begins with it, not if a description has it."""
    listed = {
        word
        for word in ("init", "service", "config", "graph", "dir", "Commands")
        if grammar.lists_word(HELP, word)
    }

    assert listed == {"init", "service", "config"}
