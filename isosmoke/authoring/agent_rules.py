"""The rules for agents: a text that is printed for prompts and inserted into project files."""

from importlib.resources import files

from isosmoke.errors import UsageError

BEGIN = "<!-- isosmoke:begin -->"
END = "<!-- isosmoke:end -->"


SKILL_NAME = "isosmoke"

_SKILL_DESCRIPTION = (
    "Run smoke scenarios in fresh sandboxes with isosmoke, find the processes that tests leave "
    "behind, add regression scenarios, and finish tasks through the gate. Use before finishing a "
    "task, after changing the program under test, or when a scenario fails, leaks or is flaky."
)


def build_skill() -> str:
    """Return a skill with the rules, in the format of agentskills.io."""
    head = f"---\nname: {SKILL_NAME}\ndescription: {_SKILL_DESCRIPTION}\n---\n\n"
    return insert_rules(head)


def read_rules() -> str:
    """Return the rules for agents, in Markdown."""
    return files("isosmoke.authoring").joinpath("guide.md").read_text(encoding="utf-8")


def insert_rules(document: str) -> str:
    """Return `document` with the current rules between its markers, or appended if it has none.

    Raises:
        UsageError: The document does not have exactly one pair of markers in the right order.
    """
    newline = "\r\n" if "\r\n" in document else "\n"
    block = f"{BEGIN}\n{read_rules()}{END}".replace("\n", newline)
    if BEGIN not in document and END not in document:
        return f"{_append_blank_line(document, newline)}{block}{newline}"
    before, rest = _split_at(document, BEGIN)
    _, after = _split_at(rest, END)
    return f"{before}{block}{after}"


def _append_blank_line(document: str, newline: str) -> str:
    """Return `document` with an empty line at its end; an empty document stays empty."""
    is_complete = document.endswith(("\n", "\ufeff")) or not document
    lines = document if is_complete else document + newline
    return lines + newline if lines.strip("\ufeff") else lines


def _split_at(document: str, marker: str) -> tuple[str, str]:
    parts = document.split(marker)
    if len(parts) != 2:  # noqa: PLR2004 - the text before and after the marker
        raise UsageError(
            f"{marker} must occur exactly once, and in order; found {len(parts) - 1}",
            f"keep one {BEGIN} and, after it, one {END}",
        )
    return parts[0], parts[1]
