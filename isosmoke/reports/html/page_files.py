"""The files of the page: its templates, its style sheet, its script, and the policy for both."""

import hashlib
from base64 import b64encode
from functools import cache
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from isosmoke.results.outcome import Outcome

_DIRECTORY = files("isosmoke.reports") / "page"


@cache
def load_template(name: str) -> Template:
    """Return a template of the page; templates can include each other."""
    templates = {
        file.name: file.read_text() for file in _DIRECTORY.iterdir() if ".jinja" in file.name
    }
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=DictLoader(templates),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


@cache
def load_style() -> str:
    """Return the style sheet of all pages, with the colours of each outcome."""
    return (_DIRECTORY / "page.css").read_text() + _render_colours()


@cache
def load_script() -> str:
    """Return the script of the report."""
    return (_DIRECTORY / "page.js").read_text()


def render_policy(style: str, script: str = "") -> str:
    """Return a Content-Security-Policy that allows only this style sheet and this script."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return (
        f"default-src 'none'; style-src {_hash(style)}; {scripts}base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _render_colours() -> str:
    """Return the CSS rules for each outcome's class: its colour on a light and a dark page."""
    light = " ".join(f"--{outcome}: {outcome.facts.page.light};" for outcome in Outcome)
    dark = " ".join(f"--{outcome}: {outcome.facts.page.dark};" for outcome in Outcome)
    classes = "\n".join(f".{outcome} {{ --accent: var(--{outcome}); }}" for outcome in Outcome)
    scheme = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return "\n".join([f":root {{ {light} }}", scheme, classes, ""])
