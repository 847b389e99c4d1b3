"""Durations on the command line, such as those of `stress --for` and `teeth --budget`."""

import click
import pytest

from isosmoke.cli import options

OPTION = click.Option(["--for"])
CONTEXT = click.Context(click.Command("any"))


def test_duration_has_a_unit() -> None:
    """A number of seconds, minutes or hours is returned in seconds; None means not given."""
    texts = ("30s", "1.5m", "2h", None)

    assert [options.parse_duration(CONTEXT, OPTION, text) for text in texts] == [30, 90, 7200, None]


@pytest.mark.parametrize("text", ["", "30", "0s", "0.0h", "-1s", "1d", "ten", "9999999999s"])
def test_other_text_is_refused(text: str) -> None:
    """The error shows the text, and what to write."""
    with pytest.raises(click.BadParameter, match="is not a duration: write 30s, 10m or 2h"):
        options.parse_duration(CONTEXT, OPTION, text)
