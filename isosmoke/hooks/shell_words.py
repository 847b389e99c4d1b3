"""The simple commands in a text of shell code, with quotes removed.

This reads the grammar of POSIX (Shell Command Language, 2.2 to 2.10) and what bash and zsh add to
it: `$'…'`, here-strings, process substitution and brace expansion. It expands nothing. A part that
only the shell could expand is replaced by `UNKNOWN`.
"""

import re
from collections.abc import Sequence
from dataclasses import field

from isosmoke.dataclass import dataclass

UNKNOWN = "\ufffc"
"""A part of a word that is known only when the shell runs: a variable, the output of a command."""

_SEPARATORS = frozenset(";&|()\n")
_BLANKS = frozenset(" \t\r")
_BRACES = re.compile(r"\{([^{}\s]*,[^{}\s]*)\}")
_OPENINGS = re.compile(r"\[[^\]\s]{1,99}\]|\{[^{}\s,.]{0,99}(?:,|\.\.)[^{}\s]{0,99}\}")
"""A class of characters, and a brace expansion."""

_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))", re.DOTALL
)
_LETTERS = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "f": "\f",
    "v": "\v",
}


class UnreadableShellError(ValueError):
    """A text that is not complete shell code."""


@dataclass(slots=True)
class ShellScript:
    """The simple commands of a text in order, the texts they read, and the files they write.

    Only redirections count: here-documents, here-strings and `>`.
    """

    commands: list[list[str]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


def parse(text: str) -> ShellScript:
    """Parse shell code, including the commands inside substitutions.

    Raises:
        UnreadableShellError: if a quotation or a substitution does not end.
    """
    script = ShellScript()
    _Reader(text, script).read_commands("")
    return script


@dataclass(slots=True)
class _Reader:
    """A position in a text; `pending` are here-documents whose bodies begin at the next line."""

    text: str
    script: ShellScript
    position: int = 0
    pending: list[tuple[str, bool, bool]] = field(default_factory=list)

    def read_commands(self, end: str) -> None:
        """Read commands up to the closing character `end`, or to the end of the text."""
        words: list[str] = []
        depth = 0
        while (character := self._peek()) or end:
            if not character:
                raise UnreadableShellError(f"no closing {end}")
            if character == end and not depth:
                self.position += 1
                break
            depth += {"(": 1, ")": -1}.get(character, 0)
            if character in _SEPARATORS:
                words = self._end_command(words)
            elif character in "<>":
                self._read_redirection(words)
            elif character == "#":
                self._skip_comment()
            elif character in _BLANKS or self.text.startswith("\\\n", self.position):
                self.position += 1 if character in _BLANKS else 2
            else:
                words += self._read_word()
        self._store(words)

    def _store(self, words: list[str]) -> None:
        if words:
            self.script.commands.append(words)

    def _end_command(self, words: list[str]) -> list[str]:
        """Store the words of a command, and return the list for the words of the next one."""
        self._store(words)
        self.position += 1
        if self.text[self.position - 1] == "\n":
            self._read_documents()
        return []

    def _peek(self, length: int = 1) -> str:
        return self.text[self.position : self.position + length]

    def _skip_comment(self) -> None:
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end

    def _read_redirection(self, words: list[str]) -> None:
        """Read a redirection, which takes away a number directly before it."""
        if self._peek(2) in ("<(", ">("):
            self.position += 2
            self.read_commands(")")
            words.append(UNKNOWN)
            return
        if words and words[-1].isdecimal() and self.text[self.position - 1].isdecimal():
            words.pop()
        match = re.compile(r"<<<|<<-?|[<>]+[&|]?").match(self.text, self.position)
        operator = match[0] if match else ""
        self.position += len(operator)
        while self._peek() and self._peek() in _BLANKS:
            self.position += 1
        start = self.position
        target = "".join(self._read_word()) if self._peek() not in {"", *_SEPARATORS} else ""
        if operator in ("<<", "<<-"):
            is_quoted = any(mark in self.text[start : self.position] for mark in "'\"\\")
            self.pending.append((target, operator == "<<-", is_quoted))
        elif operator == "<<<":
            self.script.inputs.append(target)
        elif ">" in operator:
            self.script.outputs.append(target)

    def _read_documents(self) -> None:
        for delimiter, is_indented, is_quoted in self.pending:
            lines: list[str] = []
            while self.position < len(self.text):
                line, newline, _ = self.text[self.position :].partition("\n")
                self.position += len(line) + len(newline)
                if (line.lstrip("\t") if is_indented else line) == delimiter:
                    break
                lines.append(line)
            body = "\n".join(lines)
            self.script.inputs.append(body)
            if not is_quoted:
                _Reader(body, self.script).read_quoted("")
        self.pending = []

    def _read_word(self) -> list[str]:
        """Read a word; return several if it is a brace expansion."""
        parts: list[str] = []
        start = self.position
        while (character := self._peek()) and character not in _SEPARATORS | _BLANKS | {"<", ">"}:
            if self.text.startswith("\\\n", self.position):
                self.position += 2
            else:
                parts.append(self._read_part(character))
        braces = _BRACES.fullmatch(self.text[start : self.position])
        return [part for part in braces[1].split(",") if part] if braces else ["".join(parts)]

    def _read_part(self, character: str) -> str:
        if character == "\\":
            self.position += 2
            return self.text[self.position - 1 : self.position]
        if character == "'":
            return self._read_until("'")
        if character == '"':
            self.position += 1
            return self.read_quoted('"')
        if character in "$`":
            return self._read_expansion()
        is_pattern = character in "*?" or _OPENINGS.match(self.text, self.position)
        self.position += 1
        return UNKNOWN if is_pattern else character

    def _read_until(self, end: str) -> str:
        """Return the literal text between the character here and the next `end`."""
        start = self.position + 1
        stop = self.text.find(end, start)
        if stop < 0:
            raise UnreadableShellError(f"no closing {end}")
        self.position = stop + 1
        return self.text[start:stop]

    def read_quoted(self, end: str) -> str:
        """Return the text up to the double quote `end`, or to the end of a here-document."""
        parts: list[str] = []
        while (character := self._peek()) != end:
            if not character:
                raise UnreadableShellError(f"no closing {end}")
            if character == "\\":
                escaped = self.text[self.position + 1 : self.position + 2]
                self.position += 2
                parts.append(
                    {"\n": ""}.get(escaped, escaped if escaped in '$`"\\' else f"\\{escaped}")
                )
            elif character in "$`":
                parts.append(self._read_expansion())
            else:
                self.position += 1
                parts.append(character)
        self.position += 1
        return "".join(parts)

    def _read_expansion(self) -> str:
        """Read what begins with a dollar sign or a backtick; read the commands in it too."""
        if self._peek() == "`":
            code = re.sub(r"\\([$`\\])", r"\1", self._read_backticks())
            _Reader(code, self.script).read_commands("")
            return UNKNOWN
        following = self.text[self.position + 1 : self.position + 2]
        self.position += 1
        if following == "(":
            self.position += 1
            self.read_commands(")")
        elif following == "{":
            self.position += 1
            self._skip_braces()
        elif following == "'":
            return self._read_ansi()
        elif following == '"':
            self.position += 1
            return self.read_quoted('"')
        elif name := _NAME.match(self.text, self.position):
            self.position = name.end()
        else:
            return "$"
        return UNKNOWN

    def _read_backticks(self) -> str:
        match = re.compile(r"`((?:\\.|[^`\\])*)`", re.DOTALL).match(self.text, self.position)
        if not match:
            raise UnreadableShellError("no closing `")
        self.position = match.end()
        return match[1]

    def _skip_braces(self) -> None:
        while (character := self._peek()) != "}":
            if not character:
                raise UnreadableShellError("no closing }")
            self._read_part(character)
        self.position += 1

    def _read_ansi(self) -> str:
        match = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL).match(self.text, self.position)
        if not match:
            raise UnreadableShellError("no closing '")
        self.position = match.end()
        return _ESCAPE.sub(_unescape, match[1])


def _unescape(match: "re.Match[str]") -> str:
    for digits, base in zip(match.groups()[:4], (16, 16, 16, 8), strict=True):
        if digits:
            return chr(min(int(digits, base), 0x10FFFF))
    return _LETTERS.get(match[5], match[5])


def is_known(words: Sequence[str]) -> bool:
    """Return whether the shell expands nothing in these words."""
    return not any(UNKNOWN in word for word in words)
