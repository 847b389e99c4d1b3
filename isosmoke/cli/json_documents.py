"""Kinds of JSON documents that commands read and write."""

from typing import Any, NamedTuple


class DocumentKind(NamedTuple):
    """A kind of document: a description of its source, and its model."""

    description: str
    model: Any
