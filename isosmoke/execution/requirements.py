"""What a scenario needs of the world: met, or the words of a loud skip."""

import re
import shutil
from collections.abc import Iterator, Mapping
from threading import Lock

from isosmoke.host.binary import KNOWN_AS
from isosmoke.manifest.models import Scenario
from isosmoke.rootfs_images import store
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import HOST_IMAGE

ENDPOINT_SECONDS = 5.0
"""How long an endpoint may take to answer."""

_UPSTREAM_DOWN = (502, 503, 504)
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


class Requirements:
    """Asks once for each thing in a run, however many scenarios need it."""

    def __init__(self, environment: Mapping[str, str], *, has_binary: bool) -> None:
        self._environment = environment
        self._has_binary = has_binary
        self._answers: dict[str, str] = {}
        self._asking = Lock()

    def find_missing(self, scenario: Scenario) -> str:
        """Each thing that is missing, by name; empty when all is there."""
        return "; ".join(self._list_missing(scenario))

    def _list_missing(self, scenario: Scenario) -> Iterator[str]:
        needs = scenario.requires
        for command in needs.commands:
            if not self._has_command(command, scenario):
                yield f"command '{command}' not found"
        for name in needs.env:
            if not self._environment.get(name):
                yield f"variable {name} not set"
        for endpoint in needs.endpoints:
            yield from filter(None, [self._answer(expanded(endpoint, self._environment))])

    def _has_command(self, command: str, scenario: Scenario) -> bool:
        """An image that only an engine has cannot be searched from here: the script finds out."""
        if command == KNOWN_AS and self._has_binary:
            return True
        if root := store.root(scenario.image, scenario.folder):
            searched = scenario.env.get("PATH") or rootfs_mounts.SEARCHED
            return rootfs_mounts.which(root, command, searched) is not None
        if scenario.image != HOST_IMAGE:
            return command != KNOWN_AS
        return shutil.which(command, path=self._environment.get("PATH", "")) is not None

    def _answer(self, endpoint: str) -> str:
        with self._asking:
            if endpoint not in self._answers:
                self._answers[endpoint] = unreachable(endpoint)
            return self._answers[endpoint]


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """`${NAME}` and `${NAME:-default}` replaced, as a shell would."""

    def value(reference: re.Match[str]) -> str:
        return environment.get(reference["name"]) or reference["default"] or ""

    return _REFERENCE.sub(value, text)


def unreachable(endpoint: str) -> str:
    """Why an HTTP endpoint cannot be used; empty when anything sensible answers.

    The answer's body is not waited for: a stream of events has no end.
    """
    import httpx

    shown = _without_secrets(endpoint)
    try:
        with httpx.stream("GET", endpoint, timeout=ENDPOINT_SECONDS) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"endpoint {shown} unreachable: {error}"
    return f"endpoint {shown} answers {status}" if status in _UPSTREAM_DOWN else ""


def _without_secrets(endpoint: str) -> str:
    """The address without user, password and query, where tokens are."""
    return re.sub(r"//[^/@]*@", "//", endpoint.partition("?")[0])
