"""Entry point of `python -m isosmoke` and of the console script."""

from isosmoke.cli import run
from isosmoke.startup import reset_inherited_state


def main() -> None:
    """Run the command line."""
    reset_inherited_state()
    run()


if __name__ == "__main__":
    main()
