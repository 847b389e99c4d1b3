"""The options of a command: the keys of a manifest that describe a sandbox."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from isosmoke.errors import UsageError
from isosmoke.manifest.key_meaning import list_sandbox_keys
from isosmoke.manifest.models import Scenario, Settings
from isosmoke.manifest.table_base import InvalidTableError
from isosmoke.manifest.validation.diagnostics import describe_mistake
from isosmoke.text import suggest_match

_OPTIONS = {
    "timeout" if key == "timeout_seconds" else key: key
    for key in (*list_sandbox_keys(Settings), "leaks")
}
"""The manifest key of each option of a command: the keys of a sandbox, and `leaks`, because the
caller may itself end a process that its command left running."""


class SandboxOptions(TypedDict, total=False):
    """The options of a command, with the meaning and the defaults of the keys in a manifest.

    `timeout` is `timeout_seconds`. A table of a manifest is a mapping.
    """

    timeout: int
    image: str
    requires: Mapping[str, Sequence[str]]
    leaks: Literal["fail", "report"] | Mapping[str, Any]
    services: Sequence[Mapping[str, Any]]
    network: Literal["host", "isolated"]
    locks: Sequence[str]
    weight: int
    env: Mapping[str, str]
    pass_env: Sequence[str]
    pass_files: Sequence[str]
    plain_env: Sequence[str]
    plain_files: Sequence[str]
    settle_seconds: float
    grace_seconds: float
    limits: Mapping[str, int | str]
    capabilities: Sequence[str]
    cache: Sequence[str]
    new_namespaces: bool


def build_scenario(
    subject: str,
    options: Mapping[str, object],
    create: Callable[[Mapping[str, object]], Scenario],
) -> Scenario:
    """Return the scenario that `create` makes of the manifest keys of these options.

    An error begins with `subject`.

    Raises:
        UsageError: If an option is unknown, or its value is invalid.
    """
    for option in options:
        if option not in _OPTIONS:
            hint = f"pass any of {', '.join(_OPTIONS)}"
            raise UsageError(
                f"{subject}: unknown option {option!r}{suggest_match(option, _OPTIONS)}", hint
            )
    try:
        return create({_OPTIONS[option]: value for option, value in options.items()})
    except InvalidTableError as error:
        mistake = describe_mistake(error.details[0])
        key = ".".join(map(str, mistake.loc))
        raise UsageError(f"{subject}: {key} {mistake.text}", mistake.hint) from error
