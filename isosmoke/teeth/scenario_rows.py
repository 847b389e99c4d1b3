"""The rows of a measurement: a scenario, its honest run and its cells; and those of past ones."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from isosmoke import __version__
from isosmoke.dataclass import dataclass
from isosmoke.gate.in_toto import Resource
from isosmoke.gate.proofs.teeth_cells import Cell, Sabotage, Verdict
from isosmoke.host import files, state
from isosmoke.host.binary import COMMAND_NAME
from isosmoke.keeper import STAND_IN_FILE
from isosmoke.results.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A scenario, the outcome and the duration of its honest run in seconds, and its cells.

    `subcommands` are those that it calls, in order; they have no cells if it does not pass.
    `program` is the name of the binary.
    """

    name: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    subcommands: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    program: str = COMMAND_NAME

    @property
    def passes(self) -> bool:
        """True if the honest run passed, so that a failure can be due to a sabotage."""
        return self.outcome in {Outcome.PASS, Outcome.FLAKY}

    def find_missing(self, wanted: Sequence[Sabotage]) -> tuple[tuple[str, Sabotage], ...]:
        """Return the subcommands and sabotages that have no cell yet."""
        known = {(cell.subcommand, cell.sabotage) for cell in self.cells}
        pairs = ((name, sabotage) for name in self.subcommands for sabotage in wanted)
        return tuple(pair for pair in pairs if pair not in known)


_ROW: TypeAdapter[Row] = TypeAdapter(Row)
_DIRECTORY = "teeth"
_FINAL = frozenset(verdict for verdict in Verdict if verdict not in {Verdict.VOID, Verdict.ERROR})


def compute_key(inputs: Iterable[Resource], others: Iterable[str]) -> str:
    """Return a digest of everything that the row of a scenario depends on.

    That is its entry, its script, the files that these name, its image, isosmoke and the stand-in.
    `others` are further values: the digests of the binaries, and the patterns.
    """
    parts = [
        *(repr(resource) for resource in inputs if resource.name != "policy [gate]"),
        __version__,
        files.sha256(STAND_IN_FILE),
        *others,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def load(keys: Mapping[str, str], program: str) -> dict[str, Row]:
    """Return the stored rows, by scenario; a row that cannot be read is measured again.

    The binary has the name `program` now; only its content is a part of the key.
    """
    rows = {}
    directory = state.ensure_directory(_DIRECTORY)
    for name, key in keys.items():
        with suppress(OSError, ValidationError):
            row = _ROW.validate_json(files.read(directory / f"{key}.json", follow=False))
            rows[name] = replace(row, program=program)
    return rows


def save(key: str, row: Row) -> None:
    """Store the cells of a row that another measurement need not run again."""
    cells = tuple(cell for cell in row.cells if cell.verdict in _FINAL)
    content = _ROW.dump_json(
        Row(
            name=row.name,
            outcome=row.outcome,
            reason=row.reason,
            seconds=row.seconds,
            subcommands=row.subcommands,
            cells=cells,
        )
    )
    files.write(state.ensure_directory(_DIRECTORY) / f"{key}.json", content)
