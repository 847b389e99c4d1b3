"""Exit codes, messages and pickling of errors."""

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

EXIT_CODES = {
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
    """Each exit code has its published number, and no number has two names."""
    assert dict(ExitCode.__members__) == CODES
    assert len(set(ExitCode)) == len(ExitCode.__members__)


def test_exit_codes_are_documented() -> None:
    """Each exit code has a docstring."""
    source = inspect.getsource(ExitCode)
    for name, number in CODES.items():
        assert f'{name} = {number}\n    """' in source


def test_errors_have_published_exit_codes() -> None:
    """Each kind of error has its published exit code."""
    exit_codes = {
        kind.__name__: kind.exit_code for kind in KINDS if issubclass(kind, IsosmokeError)
    }

    assert exit_codes == EXIT_CODES


def test_tree_in_the_module_names_every_error() -> None:
    """The tree in the module docstring names each error."""
    for name in EXIT_CODES:
        assert name in (errors.__doc__ or "")


def test_error_is_printed_as_its_message() -> None:
    """An error is printed as its message; its hint is empty by default."""
    plain, hinted = IsosmokeError("it broke"), IsosmokeError("it broke", hint="fix it")

    assert (str(plain), plain.message, plain.hint) == ("it broke", "it broke", "")
    assert (str(hinted), hinted.message, hinted.hint) == ("it broke", "it broke", "fix it")


@pytest.mark.parametrize("name", EXIT_CODES)
def test_error_can_be_pickled(name: str) -> None:
    """An error keeps its kind, message and hint when pickled, as by pytest-xdist."""
    error = getattr(errors, name)("it broke", hint="fix it")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - created by this test

    assert (type(copy), copy.message, copy.hint) == (type(error), "it broke", "fix it")
