"""The golden file of everything that a user reads from isosmoke."""

import difflib

from support import user_text


def test_user_text_is_the_reviewed_text() -> None:
    """Help pages, error messages and hints change only together with the golden file."""
    golden = user_text.GOLDEN.read_text().splitlines()
    current = user_text.render().splitlines()
    changes = difflib.unified_diff(golden, current, "golden file", "source", lineterm="", n=1)

    report = "\n".join(changes)
    assert not report, f"{report}\n\nreview the changes, then run: {user_text.REWRITE}"
