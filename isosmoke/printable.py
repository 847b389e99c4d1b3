"""Text that somebody else wrote, as one line that cannot steer the terminal it is printed on."""

_LONGEST = 300


def printable(line: str) -> str:
    """Every control character made visible."""
    return "".join(one if one.isprintable() or one == "\t" else repr(one)[1:-1] for one in line)


def shortened(text: str, most: int = _LONGEST) -> str:
    """On one line, made visible, and cut where it is longer than `most` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"
