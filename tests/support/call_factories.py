"""Calls of the stand-in, as data."""

from typing import Any

from isosmoke.teeth.calls.call_log import Call, CallOutput


def create_call(text: str = "out\n", **fields: Any) -> Call:
    """Return a call that prints a text on stdout and exits with 0."""
    output = CallOutput(len(text), hash(text), text.encode())
    defaults: dict[str, Any] = {
        "name": "put",
        "argv": (b"wg", b"put"),
        "arguments": 1,
        "nested": False,
        "applied": "",
        "pid": 2,
        "ancestors": (),
        "kinds": ("null", "pipe", "pipe"),
        "status": 0,
        "stdout": output,
        "stderr": CallOutput(0, 0, b""),
        "effects": "it wrote a file",
    }
    return Call(**{**defaults, **fields})
