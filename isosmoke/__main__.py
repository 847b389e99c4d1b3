"""Entry point of `python -m isosmoke` and of the console script."""

import sys

from isosmoke.errors import ExitCode, explain_other_system


def main() -> None:
    """Run the command line; on a system other than Linux, print why that is impossible."""
    if reason := explain_other_system(sys.platform):
        sys.stderr.write(f"isosmoke: {reason}\n")
        sys.exit(ExitCode.INFRASTRUCTURE)
    from isosmoke.inherited_state import importing, reset_inherited_state

    with importing():
        from isosmoke.cli import run
    reset_inherited_state()
    run()


if __name__ == "__main__":
    main()
