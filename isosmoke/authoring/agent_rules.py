"""The rule that agents live by: one text, printed for prompts and placed in a project's files."""

from importlib.resources import files

from isosmoke.errors import UsageError

BEGIN = "<!-- isosmoke:begin -->"
END = "<!-- isosmoke:end -->"


def text() -> str:
    """The rule, in Markdown."""
    return files("isosmoke.authoring").joinpath("guide.md").read_text(encoding="utf-8")


def placed(document: str) -> str:
    """`document` with the rule of today between its markers, else at its end; the rest as it was.

    Raises:
        UsageError: if the markers are not one pair, so that nobody can say what lies between them.
    """
    newline = "\r\n" if "\r\n" in document else "\n"
    block = f"{BEGIN}\n{text()}{END}".replace("\n", newline)
    if BEGIN not in document and END not in document:
        return f"{_ended(document, newline)}{block}{newline}"
    before, rest = _cut(document, BEGIN)
    _, after = _cut(rest, END)
    return f"{before}{block}{after}"


def _ended(document: str, newline: str) -> str:
    """`document` with an empty line after its last one."""
    text = document if document.endswith(("\n", "\ufeff")) or not document else document + newline
    return text + newline if text.strip("\ufeff") else text


def _cut(document: str, marker: str) -> tuple[str, str]:
    parts = document.split(marker)
    if len(parts) != 2:  # noqa: PLR2004 - what is before it, and what is after
        raise UsageError(
            f"{marker} stands there {len(parts) - 1} times where it should be once, in its order",
            f"leave one {BEGIN} and, after it, one {END}",
        )
    return parts[0], parts[1]
