"""What `isosmoke.errors` promises to whoever raises, catches or prints."""

import inspect
import pickle

import pytest

from isosmoke import errors
from isosmoke.errors import ExitCode, IsosmokeError

CODES = {
    "OK": 0,
    "BLOCKED": 1,
    "USAGE": 2,
    "NOTHING_SELECTED": 4,
    "ALL_SKIPPED": 77,
    "INFRASTRUCTURE": 125,
    "INTERRUPTED": 130,
    "TERMINATED": 143,
}

ENDINGS = {
    "IsosmokeError": 125,
    "UsageError": 2,
    "ManifestError": 2,
    "NothingSelectedError": 4,
    "BinaryError": 125,
    "RecordError": 125,
    "BundleError": 125,
    "EngineError": 125,
    "EngineUnavailableError": 125,
    "LeftBehindError": 125,
    "ImageError": 125,
}

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind is not ExitCode]


def test_exit_codes_are_the_published_ones() -> None:
    """Each exit code has the number scripts rely on, and no number has two names."""
    assert dict(ExitCode.__members__) == CODES
    assert len(set(ExitCode)) == len(ExitCode.__members__)


def test_exit_codes_are_documented() -> None:
    """Each exit code is followed by a sentence saying what it means."""
    source = inspect.getsource(ExitCode)
    for name, number in CODES.items():
        assert f'{name} = {number}\n    """' in source


def test_errors_end_as_published() -> None:
    """Each kind of error, and no other, ends the command with its published exit code."""
    found = {kind.__name__: kind.exit_code for kind in KINDS if issubclass(kind, IsosmokeError)}

    assert found == ENDINGS


def test_tree_in_the_module_names_every_error() -> None:
    """The tree that opens the module leaves no error out."""
    for name in ENDINGS:
        assert name in (errors.__doc__ or "")


def test_error_reads_as_its_message() -> None:
    """An error is its message when printed, and has no hint unless one was given."""
    plain, hinted = IsosmokeError("it broke"), IsosmokeError("it broke", hint="mend it")

    assert (str(plain), plain.message, plain.hint) == ("it broke", "it broke", "")
    assert (str(hinted), hinted.message, hinted.hint) == ("it broke", "it broke", "mend it")


@pytest.mark.parametrize("name", ENDINGS)
def test_error_survives_another_process(name: str) -> None:
    """An error keeps its kind, message and hint across a pickle, as pytest-xdist sends it."""
    error = getattr(errors, name)("it broke", hint="mend it")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  we wrote these bytes

    assert (type(copy), copy.message, copy.hint) == (type(error), "it broke", "mend it")
