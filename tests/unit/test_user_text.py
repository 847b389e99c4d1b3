"""The golden file of everything that a user reads from isosmoke."""

import difflib
import subprocess
import sys

from support import user_text
from support.paths import TESTS


def test_user_text_is_the_reviewed_text() -> None:
    """Help pages, error messages and hints change only together with the golden file."""
    # In a new process: click caches parts of help pages, as other tests have rendered them.
    done = subprocess.run(
        [sys.executable, "-m", "support.user_text"],
        cwd=TESTS,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    golden = user_text.GOLDEN.read_text(encoding="utf-8")
    changes = difflib.unified_diff(
        golden.splitlines(), done.stdout.splitlines(), "golden file", "source", lineterm="", n=1
    )

    report = "\n".join(changes)
    assert not report, f"{report}\n\nreview the changes, then run: {user_text.REWRITE}"
