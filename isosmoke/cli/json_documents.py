"""The kinds of JSON documents that commands read and write."""

from typing import Any, NamedTuple


class Written(NamedTuple):
    """A kind of document: where it is found, and the model that makes or reads it."""

    words: str
    model: Any
