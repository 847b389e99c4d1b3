"""Text that somebody else wrote, as one line that cannot steer the terminal it is printed on."""

_LONGEST = 300


def printable(line: str) -> str:
    """Every control character made visible."""
    return "".join(one if one.isprintable() or one == "\t" else repr(one)[1:-1] for one in line)


def cut(line: str, most: int = _LONGEST) -> str:
    """Made visible, and cut where it is longer than `most` characters."""
    shown = printable(line)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def shortened(text: str, most: int = _LONGEST) -> str:
    """On one line, made visible, and cut where it is longer than `most` characters."""
    return cut(" ".join(text.split()), most)
