"""Regular expressions that users write, searched in text that a script controls.

The syntax is RE2's (https://github.com/google/re2/wiki/Syntax): Python's without lookaround and
back-references. A search takes time linear in the length of the text, whereas Python's `re`
backtracks: with it `(a+)+x` does not come to an end on a few dozen letters.
"""

from functools import cache
from typing import Any


class PatternError(ValueError):
    """A text is not a regular expression; the message says why."""


class Pattern:
    """A compiled regular expression; `multiline` makes `^` and `$` match at each line.

    Raises:
        PatternError: if `text` is not a regular expression of RE2, or is too large for it.
    """

    def __init__(self, text: str, *, multiline: bool = False) -> None:
        self._compiled = _compile(f"(?m){text}" if multiline else text)

    def is_in(self, text: str, start: int = 0) -> bool:
        """Return whether `text` has a match that begins at index `start` or later.

        A character that UTF-8 cannot encode, such as an undecodable byte of a command line, is
        searched as a question mark.
        """
        before = text[:start].encode(errors="replace")
        encoded = before + text[start:].encode(errors="replace")
        return self._compiled.search(encoded, len(before)) is not None


@cache
def _compile(text: str) -> Any:
    """Return the compiled pattern; the library is loaded only where a pattern is used."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text.encode(), options)
    except UnicodeEncodeError as error:
        raise PatternError(f"it has a character that UTF-8 cannot encode: {error}") from error
    except re2.error as error:
        (reason,) = error.args
        raise PatternError(reason.decode(errors="replace")) from error
