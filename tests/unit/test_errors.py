"""Exit codes, messages and pickling of errors."""

import errno
import inspect
import os
import pickle

import pytest

from isosmoke import errors
from isosmoke.errors import ExitCode, IsosmokeError, convert_os_error, suggest_remedy

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


NUMBERS = [
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ENOTDIR, errno.ELOOP, 9999),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: errno.errorcode.get(number, "?"))
def test_error_of_the_machine_says_what_where_and_what_next(number: int) -> None:
    """Python's own text has a number in place of a next step."""
    error = convert_os_error(OSError(number, os.strerror(number), "/a b"))

    assert error.message == f"/a b: {os.strerror(number)}"
    assert error.hint
    assert "{" not in error.hint
    assert "Errno" not in error.message


def test_error_of_the_machine_names_both_paths() -> None:
    """A rename has two, and some errors have none."""
    renamed = OSError(errno.EXDEV, "Invalid cross-device link", "/one", None, "/two")

    assert convert_os_error(renamed).message == "/one -> /two: Invalid cross-device link"
    assert "/one" in convert_os_error(renamed).hint
    assert convert_os_error(OSError(errno.ENOSPC, "No space left on device")).message
    assert convert_os_error(OSError("unknown")).message == "the machine reported: unknown"


def test_remedy_can_be_pasted_into_a_shell() -> None:
    """The path is quoted."""
    error = OSError(errno.ENOSPC, "No space left on device", "/a b/new")

    assert suggest_remedy(error).endswith("df -h '/a b'")
    assert suggest_remedy(error, "/other/new").endswith("df -h /other")
