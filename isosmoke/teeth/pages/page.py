"""The results of a measurement as a self-contained HTML page without scripts (pure)."""

from isosmoke.reports.html.page_files import load_style, load_template, render_policy
from isosmoke.teeth.pages import matrices
from isosmoke.teeth.report import TeethDocument


def render(document: TeethDocument) -> str:
    """Return the page as text, to be encoded in UTF-8."""
    sheet = load_style()
    page = load_template("teeth_page.html.jinja").render(
        policy=render_policy(sheet), style=sheet, teeth=matrices.describe(document)
    )
    return f"{page}\n"
