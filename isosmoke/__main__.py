"""Entry point of `python -m isosmoke` and of the console script."""

from isosmoke.cli import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="isosmoke")


if __name__ == "__main__":
    main()
