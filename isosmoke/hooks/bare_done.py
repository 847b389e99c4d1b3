"""Search of shell code for a bare `wg done`, which no gate would see.

A shell can spell a command in unlimited ways, so this is a check of what an agent would reasonably
write, and it prefers to refuse. It sees what is in the text itself: paths, prefixes, quotes, lists,
pipes, loops, functions, aliases, variables that the text assigns, `bash -c`, `eval`, `xargs`, and
inline code of other languages. It does not see into files, the environment or encoded text.
"""

import re
from collections.abc import Iterator, Sequence

from isosmoke.hooks import shell_words
from isosmoke.hooks.shell_words import UNKNOWN, ShellScript, UnreadableShellError
from isosmoke.wg_bridge.wg_arguments import DONE, TOP_OPTIONS

_WG = re.compile(r"=?wg(?:[-.][\w.-]*)?")
_MENTION = re.compile(r"(?<![\w.-])wg(?:-[\w.]+)?(?:\s+-\S*(?:\s+[^\s-]\S*)?){0,9}\s+done(?![\w-])")
_WORD_WG = re.compile(r"(?<![\w.-])wg(?![\w.-])")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{?((?<=\{)[A-Za-z_]\w*(?=\})|(?<=\$)[A-Za-z_]\w*)\}?")
_WITH_CODE = re.compile(r"-[a-zA-Z]*[ceE]|--(?:eval|command|run|print)|-p|-r")
_MAX_DEPTH = 6
_MAX_LENGTH = 1 << 16
_MAX_WORDS = 30
"""The number of words after `wg` that are read; wg accepts each of its options once."""


def _parse_names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SHELLS = _parse_names("sh bash dash zsh ksh mksh ash rbash fish busybox")
_LANGUAGES = re.compile(
    r"(?:python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|tclsh|expect)[\d.]*|[gmn]?awk"
)
_RUNNERS = _parse_names(
    "env su runuser sudo doas ssh watch script flock tmux screen parallel xargs at batch trap entr "
    "nix-shell coproc hyperfine alias"
)
"""Commands that run the text of an argument, or of their input, as shell code."""

_FROM_INPUT = frozenset(
    {*_SHELLS, "xargs", "parallel", "eval", "source", ".", "at", "batch", "tmux"}
)
"""Commands that run what they read, or what a substitution returns."""

_DATA_COMMANDS = _parse_names(
    "echo printf print grep egrep fgrep rg ag cat bat less more head tail git gh man which whereis "
    "type ls wc test [ [[ sed diff sort jq isosmoke"
)
"""Commands that treat their arguments as data."""

_PREFIXES = _parse_names(
    "if then else elif do while until for case in ! { time command builtin exec env nohup nice "
    "ionice setsid stdbuf timeout sudo doas chrt taskset strace ltrace unshare xargs coproc "
    "function"
)
"""Words after which a command follows, possibly after options and values."""

_VALUES = {option.name for option in TOP_OPTIONS if option.takes_value}
_HELP = frozenset({"-h", "--help"})


def find_bare_done(text: str, depth: int = 0) -> str:
    """Return how the text completes a task without the gate; empty if it does not seem to."""
    try:
        script = _parse(_insert_values(text, _parse(text)))
    except (UnreadableShellError, RecursionError):
        return _describe(text) if _mentions(text) else ""
    if depth > _MAX_DEPTH:
        return "the code is nested too deeply to be read" if _mentions(text) else ""
    return next(filter(None, _find_calls(script, text, depth)), "")


def _parse(text: str) -> ShellScript:
    if len(text) > _MAX_LENGTH:
        raise UnreadableShellError(f"longer than {_MAX_LENGTH} characters")
    return shell_words.parse(text)


def _insert_values(text: str, script: ShellScript) -> str:
    """Replace each variable that the text itself assigns, and those in its value."""
    values = {
        match[1]: match[2]
        for words in script.commands
        for word in words
        if UNKNOWN not in word and (match := _ASSIGNMENT.fullmatch(word))
    }
    used = {name: values[name] for name in set(_VARIABLE.findall(text)) & values.keys()}
    for _ in range(min(len(used), _MAX_DEPTH)):
        if len(text) > _MAX_LENGTH:
            return text
        text = _VARIABLE.sub(lambda match: used.get(match[1], match[0]), text)
    return text


def _find_calls(script: ShellScript, text: str, depth: int) -> Iterator[str]:
    is_mentioned = bool(_WORD_WG.search(_remove_quotes(text)))
    for words in script.commands:
        yield from _check_assignments(words, depth)
        yield from _check_command(words, depth, is_mentioned=is_mentioned)
    if _runs_text(script):
        if _mentions(text):
            yield _describe(text)
        yield from (find_bare_done(code, depth + 1) for code in script.inputs)


def _runs_text(script: ShellScript) -> bool:
    """Return whether a command runs what it reads, or what another one has written."""
    heads = (words[: _skip_prefixes(words) + 1] for words in script.commands)
    names = {_name(word) for head in heads for word in head}
    written = {_name(file) for file in script.outputs}
    for words in script.commands:
        written.update(map(_name, words[1:] if words[0] == "tee" else ()))
    return not names.isdisjoint(_FROM_INPUT | written) or any(map(_LANGUAGES.fullmatch, names))


def _check_assignments(words: Sequence[str], depth: int) -> Iterator[str]:
    """Yield a description of each assigned text or alias that is a call."""
    for word in words:
        assignment = _ASSIGNMENT.fullmatch(word)
        if not assignment:
            if words[0] not in ("alias", "export", "local", "declare", "typeset", "readonly"):
                return
            continue
        code = assignment[2]
        if any(blank in code.strip() for blank in " \t\n") and find_bare_done(code, depth + 1):
            yield _describe(code)
        if words[0] == "alias" and find_bare_done(f"{code} {DONE} task", depth + 1):
            yield f"`alias {word}` gives wg another name"


def _check_command(words: Sequence[str], depth: int, *, is_mentioned: bool) -> Iterator[str]:
    head = _skip_prefixes(words)
    name = _name(words[head]) if head < len(words) else ""
    if _is_isosmoke(words[head:]):
        return
    if name in _DATA_COMMANDS:
        if name == "git" and any("alias." in word and _mentions(word) for word in words):
            yield _describe(" ".join(words))
        return
    yield from _check_arguments(words, head)
    hides_wg = head < len(words) and (UNKNOWN in words[head] or is_mentioned)
    if hides_wg and _takes_done(words[head + 1 :]):
        yield _describe(" ".join(words[head:]))
    yield from _check_code(words, depth)


def _check_arguments(words: Sequence[str], head: int) -> Iterator[str]:
    """Yield the calls of wg in the words of a command, which may pass them to another one."""
    for index, word in enumerate(words):
        end = index + _MAX_WORDS
        if (word == "{}" or _WG.fullmatch(_name(word))) and _is_done(
            words[index + 1 : end], words[:head]
        ):
            yield _describe(" ".join(words[index:end]))


def _check_code(words: Sequence[str], depth: int) -> Iterator[str]:
    """Yield the calls in the arguments that a command runs as code."""
    names = [_name(word) for word in words]
    if "eval" in names:
        yield find_bare_done(" ".join(words[names.index("eval") + 1 :]), depth + 1)
    has_shell = not _SHELLS.isdisjoint(names)
    has_language = any(map(_LANGUAGES.fullmatch, names))
    runs_text = not _RUNNERS.isdisjoint(names)
    for option, word in zip(("", *words), words, strict=False):
        if has_shell and _WITH_CODE.fullmatch(option):
            yield find_bare_done(word, depth + 1)
        elif runs_text and any(blank in word for blank in " \t\n"):
            yield find_bare_done(word.removeprefix("-c").removeprefix("-S"), depth + 1)
        if has_language and _mentions(word):
            yield _describe(word)


def _skip_prefixes(words: Sequence[str]) -> int:
    """Return the index of the word that is the command, after reserved words and prefixes."""
    index = 0
    is_after_prefix = False
    while index < len(words):
        word = words[index]
        if _name(word) in _PREFIXES:
            is_after_prefix = True
        elif not _ASSIGNMENT.fullmatch(word) and not (
            is_after_prefix and (word.startswith("-") or re.fullmatch(r"[\d.]+[smhd]?", word))
        ):
            break
        index += 1
    return index


def _is_done(arguments: Sequence[str], before: Sequence[str]) -> bool:
    """Return whether these arguments of wg call `done`, or hide which command they call."""
    if not _HELP.isdisjoint(arguments):
        return False
    command, has_unknown_option = _find_command(arguments)
    if command is None:
        return any(_name(word) in ("xargs", "parallel") for word in before)
    return (
        UNKNOWN in command or command in ("{}", DONE) or (has_unknown_option and DONE in arguments)
    )


def _takes_done(arguments: Sequence[str]) -> bool:
    return _find_command(arguments)[0] == DONE and _HELP.isdisjoint(arguments)


def _find_command(arguments: Sequence[str]) -> tuple[str | None, bool]:
    """Return the first argument that is no option of wg, and whether an unknown option precedes."""
    known = {option.name for option in TOP_OPTIONS} | {
        f"-{option.letter}" for option in TOP_OPTIONS
    }
    has_unknown = False
    remaining = iter(arguments)
    for argument in remaining:
        if argument in _VALUES:
            next(remaining, None)
        elif not argument.startswith("-"):
            return argument, has_unknown
        else:
            has_unknown = has_unknown or argument.partition("=")[0] not in known
    return None, has_unknown


def _is_isosmoke(words: Sequence[str]) -> bool:
    """Return whether a command is isosmoke, which gates a task itself or runs in a sandbox."""
    return "isosmoke" in [_name(word) for word in words[:4]][:1] or (
        list(words[1:3]) == ["-m", "isosmoke"] or list(words[1:4]) == ["-P", "-m", "isosmoke"]
    )


def _name(word: str) -> str:
    """Return the last component of a path."""
    return word.rpartition("/")[2]


def _mentions(text: str) -> bool:
    """Return whether `wg done` is in the text, once quotes and the marks of lists are removed."""
    spaced = re.sub(r"[\"'`,;+()\[\]{}\\]+", " ", text)
    return bool(_MENTION.search(spaced) or _MENTION.search(_remove_quotes(text)))


def _remove_quotes(text: str) -> str:
    return re.sub(r"\\\n|[\"'\\]", "", text)


def _describe(call: str) -> str:
    shown = " ".join(call.replace(UNKNOWN, "…").split())
    return f"`{shown[:100]}` completes a task without the gate"
