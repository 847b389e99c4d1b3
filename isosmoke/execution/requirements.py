"""The requirements of scenarios: commands, variables and endpoints."""

import re
import shutil
from collections.abc import Iterator, Mapping
from threading import Lock

from isosmoke.host.binary import COMMAND_NAME, HOW_TO_NAME
from isosmoke.manifest.models import Scenario
from isosmoke.rootfs_images import image_kinds
from isosmoke.sandbox import rootfs_mounts
from isosmoke.sandbox.spec import HOST_IMAGE

ENDPOINT_SECONDS = 5.0
"""The timeout for the response of an endpoint."""

_UPSTREAM_DOWN = (502, 503, 504)
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


class Requirements:
    """The requirements of a run's scenarios; each endpoint is requested once."""

    def __init__(self, environment: Mapping[str, str], *, has_binary: bool) -> None:
        self._environment = environment
        self._has_binary = has_binary
        self._endpoint_errors: dict[str, str] = {}
        self._lock = Lock()

    def find_missing(self, scenario: Scenario) -> str:
        """Return a description of all missing requirements; empty if none is missing."""
        return "; ".join(self._list_missing(scenario))

    def _list_missing(self, scenario: Scenario) -> Iterator[str]:
        needs = scenario.requires
        for command in needs.commands:
            if not self._has_command(command, scenario):
                advice = f" ({HOW_TO_NAME})" if command == COMMAND_NAME else ""
                yield f"command '{command}' not found{advice}"
        for name in needs.env:
            if not self._environment.get(name):
                yield f"variable {name} not set"
        for endpoint in needs.endpoints:
            yield from filter(None, [self._check_endpoint(expand(endpoint, self._environment))])

    def _has_command(self, command: str, scenario: Scenario) -> bool:
        """Return True if the image has the command, or if it cannot be searched from here."""
        if command == COMMAND_NAME and self._has_binary:
            return True
        if root := image_kinds.find_root(scenario.image, scenario.folder):
            searched = scenario.env.get("PATH") or rootfs_mounts.DEFAULT_PATH
            return rootfs_mounts.find_program(root, command, searched) is not None
        if scenario.image != HOST_IMAGE:
            return command != COMMAND_NAME
        return shutil.which(command, path=self._environment.get("PATH", "")) is not None

    def _check_endpoint(self, endpoint: str) -> str:
        with self._lock:
            if endpoint not in self._endpoint_errors:
                self._endpoint_errors[endpoint] = check_endpoint(endpoint)
            return self._endpoint_errors[endpoint]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with `${NAME}` and `${NAME:-default}` replaced as a shell would."""

    def resolve(reference: re.Match[str]) -> str:
        return environment.get(reference["name"]) or reference["default"] or ""

    return _REFERENCE.sub(resolve, text)


def check_endpoint(endpoint: str) -> str:
    """Return the reason why an HTTP endpoint cannot be used; empty if it responds.

    The body of the response is not read, because an event stream never ends.
    """
    import httpx

    address = _remove_secrets(endpoint)
    try:
        with httpx.stream("GET", endpoint, timeout=ENDPOINT_SECONDS) as response:
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"endpoint {address} unreachable: {error}"
    return f"endpoint {address} responded with {status}" if status in _UPSTREAM_DOWN else ""


def _remove_secrets(endpoint: str) -> str:
    """Return the address without user, password and query, which may contain tokens."""
    return re.sub(r"//[^/@]*@", "//", endpoint.partition("?")[0])
