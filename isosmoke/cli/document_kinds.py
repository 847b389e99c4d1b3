"""Kinds of JSON documents that commands read and write."""

from importlib import import_module
from typing import Any, NamedTuple


class DocumentKind(NamedTuple):
    """A kind of document: a description of its source, and its model.

    A command that is often run without printing the document names the model as `MODULE:CLASS`,
    because a module with models is slow to import.
    """

    description: str
    model: Any

    def load_model(self) -> Any:
        """Return the model itself."""
        if not isinstance(self.model, str):
            return self.model
        module, _, name = self.model.partition(":")
        return getattr(import_module(module), name)
