"""The answer to an order, as versioned JSON: the record of an attempt, or what the place lacks.

An answer that lacks any field is not an answer: `decode` raises an error, and the attempt is lost.
"""

import json
import math
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from isosmoke.dataclass import dataclass
from isosmoke.execution.places.order import PROTOCOL
from isosmoke.execution.places.stand_in_mounts import (
    MAX_BYTES,
    MAX_FILES,
    PLAIN_NAME,
    ReturnedFiles,
)
from isosmoke.results.evidence import Change, Evidence, Pane
from isosmoke.results.leaks import LeakVerdict, Tolerated
from isosmoke.results.outcome import (
    Ending,
)
from isosmoke.results.run_results import Attempt, CapturedOutput, Worker
from isosmoke.sandbox.survivors import Process, Usage

_ENDINGS: Mapping[str, type[Ending]] = {kind.__name__: kind for kind in get_args(Ending)}
_NUMBERS = frozenset({"code", "number"})
"""The fields of endings that are integers: an exit code, and a signal."""


MAX_ANSWER = 2 * MAX_BYTES
"""The maximum size of an answer in bytes: a log and returned files, in Base64, and the rest."""


class AnswerError(ValueError):
    """The bytes are not a complete answer to the order."""


_INVALID = (
    *(ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError, zlib.error),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The digests of content that the place lacks; nothing was started."""

    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRefusal:
    """The reason why the place cannot have the content of the order; nothing was started."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The attempt of an order, without its log, and the content of that log.

    `is_gone` is true if the sandbox was destroyed and that was proved, or if none was created.
    `files` are those that stand-ins left; None if the order has none, or nothing was run.
    """

    attempt: Attempt
    log: bytes | None
    is_gone: bool
    notes: tuple[str, ...] = ()
    files: ReturnedFiles | None = None


def describe_remains(attempt: Attempt) -> str:
    """Return why an attempt whose sandbox may still exist is lost."""
    return f"nothing shows that its sandbox is gone: {'; '.join(attempt.leftovers)}"


def encode_needs(nonce: str, digests: tuple[str, ...]) -> bytes:
    """Return the answer that the place lacks content."""
    values = {"protocol": PROTOCOL, "nonce": nonce, "needs": digests}
    return json.dumps(values).encode("ascii")


def encode_refusal(nonce: str, reason: str) -> bytes:
    """Return the answer that the place cannot have the content of the order."""
    values = {"protocol": PROTOCOL, "nonce": nonce, "refusal": reason}
    return json.dumps(values).encode("ascii")


def encode(nonce: str, answer: Answer) -> bytes:
    """Return the answer to the order with this nonce; the log is compressed."""
    attempt = answer.attempt
    values = {
        "protocol": PROTOCOL,
        "nonce": nonce,
        "ending": {"kind": type(attempt.ending).__name__, **asdict(attempt.ending)},
        "leaked": [asdict(process) for process in attempt.verdict.leaked],
        "tolerated": [asdict(survivor) for survivor in attempt.verdict.tolerated],
        "leak_blocks": attempt.leak_blocks,
        "output": _encode_output(attempt.output),
        "stderr": _encode_output(attempt.stderr),
        "log": None if answer.log is None else _encode_bytes(answer.log),
        "unlogged": attempt.unlogged,
        "phases": dict(attempt.phases),
        "environment": dict(attempt.environment),
        "evidence": None if attempt.evidence is None else asdict(attempt.evidence),
        "leftovers": attempt.leftovers,
        "reached_limits": attempt.reached_limits,
        "missing_program": attempt.missing_program,
        "script_sha256": attempt.script_sha256,
        "worker": None if attempt.worker is None else asdict(attempt.worker),
        "is_gone": answer.is_gone,
        "notes": answer.notes,
        "files": None if answer.files is None else _encode_files(answer.files),
    }
    return json.dumps(values).encode("ascii")


def decode(content: bytes, nonce: str) -> Answer | Needs | ContentRefusal:
    """Return the answer to the order with this nonce.

    Raises:
        AnswerError: if it is incomplete, or the answer to another order.
    """
    if len(content) > MAX_ANSWER:
        raise AnswerError(f"the answer has more than {MAX_ANSWER >> 20} MiB")
    try:
        values = json.loads(content)
        if values["protocol"] != PROTOCOL:
            raise AnswerError(f"the answer has protocol {values['protocol']}")
        if values["nonce"] != nonce:
            raise AnswerError("the answer is to another order")
        if "needs" in values:
            return Needs(digests=tuple(map(str, values["needs"])))
        if "refusal" in values:
            return ContentRefusal(reason=str(values["refusal"]))
        return _decode_attempt(values)
    except _INVALID as error:
        if isinstance(error, AnswerError):
            raise
        raise AnswerError(f"the record of the attempt is incomplete: {error!r}") from error


def _decode_attempt(values: Mapping[str, Any]) -> Answer:
    if values["is_gone"] not in (True, False):
        raise AnswerError("the record does not say whether the sandbox is gone")
    attempt = Attempt(
        ending=_decode_ending(values["ending"]),
        verdict=LeakVerdict(
            tuple(map(_decode_process, values["leaked"])),
            tuple(
                Tolerated(_decode_process(item["process"]), item["reason"])
                for item in values["tolerated"]
            ),
        ),
        leak_blocks=_require_bool(values["leak_blocks"]),
        output=_decode_output(values["output"]),
        stderr=_decode_output(values["stderr"]),
        unlogged=values["unlogged"],
        phases={str(name): _require_seconds(value) for name, value in values["phases"].items()},
        environment=dict(values["environment"]),
        evidence=_decode_evidence(values["evidence"]),
        leftovers=tuple(values["leftovers"]),
        reached_limits=tuple(values["reached_limits"]),
        missing_program=values["missing_program"],
        script_sha256=values["script_sha256"],
        worker=None if values["worker"] is None else Worker(**values["worker"]),
    )
    log = None if values["log"] is None else _decode_bytes(values["log"])
    return Answer(
        attempt=attempt,
        log=log,
        is_gone=values["is_gone"],
        notes=tuple(values["notes"]),
        files=None if values["files"] is None else _decode_files(values["files"]),
    )


def _encode_files(directories: ReturnedFiles) -> Mapping[str, Mapping[str, str]]:
    return {
        at: {name: _encode_bytes(content) for name, content in contents.items()}
        for at, contents in directories.items()
    }


def _decode_files(directories: Mapping[str, Mapping[str, str]]) -> ReturnedFiles:
    """Return the files of an answer, whose names, number and size a worker may have chosen."""
    names = [name for contents in directories.values() for name in contents]
    if not all(map(PLAIN_NAME.fullmatch, names)):
        raise AnswerError("a file of a stand-in has no plain name")
    if len(names) > MAX_FILES:
        raise AnswerError(f"the stand-ins left more than {MAX_FILES} files")
    remaining = MAX_BYTES
    decoded: dict[str, dict[str, bytes]] = {}
    for at, contents in directories.items():
        decoded[at] = {}
        for name, text in contents.items():
            content = _decode_bytes(text, remaining)
            remaining -= len(content)
            decoded[at][name] = content
    return decoded


def _require_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise AnswerError(f"{value!r} is not true or false")
    return value


def _require_seconds(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise AnswerError(f"{value!r} is no number of seconds")
    return float(value)


def _decode_ending(values: Mapping[str, Any]) -> Ending:
    arguments = {name: value for name, value in values.items() if name != "kind"}
    for name in _NUMBERS & arguments.keys():
        if type(arguments[name]) is not int:
            raise AnswerError(f"the {name} of the ending is {arguments[name]!r}")
    return _ENDINGS[values["kind"]](**arguments)


def _decode_process(values: Mapping[str, Any]) -> Process:
    names = {item.name for item in fields(Process)}
    if set(values) != names:
        raise AnswerError("a process is incomplete")
    return Process(**{**values, "argv": tuple(values["argv"]), "listens": tuple(values["listens"])})


def _decode_evidence(values: Mapping[str, Any] | None) -> Evidence | None:
    if values is None:
        return None
    usage = values["usage"]
    return Evidence(
        changes=tuple(Change(**change) for change in values["changes"]),
        changes_left_out=values["changes_left_out"],
        panes=tuple(Pane(**{**pane, "lines": tuple(pane["lines"])}) for pane in values["panes"]),
        usage=None if usage is None else Usage(**usage),
        peaks=dict(values["peaks"]),
        missing=tuple(values["missing"]),
    )


def _encode_output(output: CapturedOutput) -> Mapping[str, Any]:
    return {
        "head": _encode_bytes(output.head),
        "tail": _encode_bytes(output.tail),
        "size": output.size,
    }


def _decode_output(values: Mapping[str, Any]) -> CapturedOutput:
    return CapturedOutput(
        head=_decode_bytes(values["head"]),
        tail=_decode_bytes(values["tail"]),
        size=int(values["size"]),
    )


def _encode_bytes(content: bytes) -> str:
    return b64encode(zlib.compress(content, 1)).decode("ascii")


def _decode_bytes(text: str, most: int = MAX_BYTES) -> bytes:
    """Return the content that was compressed, which may have at most `most` bytes."""
    inflater = zlib.decompressobj()
    content = inflater.decompress(b64decode(text, validate=True), most + 1)
    if len(content) > most:
        raise AnswerError("the content of the answer is too large")
    if not inflater.eof:
        raise AnswerError("the content of the answer is incomplete")
    return content


def take_log(path: Path | None) -> bytes | None:
    """Return the content of the log of an attempt, and remove the file; None without a log."""
    if path is None or not path.exists():
        return None
    content = path.read_bytes()
    path.unlink()
    return content
