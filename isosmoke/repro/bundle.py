"""Bundles: single files that reproduce a recorded scenario on another machine.

A bundle is a tar.gz of `bundle.json`, `workspace/` (the files that git tracks or would add, in
their current state), `binary/` (the program that was tested, identified by its hash) and
`output.log`. It has only the names of the variables and files that are passed to the scenario: no
value of `pass_env`, no content of `pass_files`, and no file that contains one of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from isosmoke.errors import BundleError, ImageError
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.origin import BinaryRecord
from isosmoke.results.run_record import ScenarioRecord

MAX_FILES = 100_000
"""The maximum number of a workspace's files; an unpacked bundle may have some more."""

INDEX, WORKSPACE, BINARY, LOG = "bundle.json", "workspace", "binary", "output.log"
"""The names of the members."""


class Index(RecordModel):
    """The index of a bundle; its paths start from the workspace.

    `commit` is the commit that was checked out, empty outside a repository; `left_out` names the
    files that are not in the bundle.
    """

    schema_version: Literal[1] = 1
    isosmoke: str
    run: str
    engine: str
    command: tuple[Text, ...]
    working: Text
    manifest: Text | None
    binary: BinaryRecord | None
    commit: str
    left_out: tuple[Text, ...]
    scenario: ScenarioRecord


@contextmanager
def convert_errors() -> Iterator[None]:
    """Convert the error of an exceeded limit, which is also one of images."""
    try:
        yield
    except ImageError as error:
        raise BundleError(error.message, error.hint) from error
