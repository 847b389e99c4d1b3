"""Checks of values that depend on other values of the same table."""

from collections.abc import Callable

from pydantic import ValidationInfo

from isosmoke.manifest.models import Leaks, Requires, Service, Wait
from isosmoke.manifest.validation.value_types import build_error, format_value


def expand_leaks(value: object) -> object:
    """Return the table that a policy name is short for; return a table unchanged."""
    match value:
        case "fail" | "report":
            return {"policy": value}
        case dict() | Leaks():
            return value
        case _:
            raise build_error(
                f"must be 'fail', 'report' or a table, not {format_value(value)}",
                'write leaks = "report", or leaks = { policy = "fail", allow = [...] }',
            )


def check_single_condition(wait: Wait | None) -> Wait | None:
    """Check that a service waits for one condition."""
    if wait is not None and sum(value is not None for _, value in wait.items()) != 1:
        raise build_error(
            "must name one of 'port', 'log' and 'health'",
            'write wait = { port = 5432 }, { log = "ready" } or { health = true }',
        )
    return wait


def check_waited_port(service: Service) -> Service:
    """Check that a service has the port that it waits for."""
    port = service.wait and service.wait.port
    if port and port not in service.ports:
        raise build_error(
            f"waits for port {port}, which is not one of its ports", "add it to `ports`"
        )
    return service


def check_unique_prefixes(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Check that no two services share a prefix for their variables."""
    if len({service.prefix for service in services}) < len(services):
        raise build_error(
            "has two services with the same name",
            "rename one of them; names that differ only in case, '-' and '_' are the same",
        )
    return services


def refuse_names_of(
    secret_key: str,
) -> Callable[[tuple[str, ...], ValidationInfo], tuple[str, ...]]:
    """Return a check that none of the names is among those of `secret_key`."""

    def check(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in names:
            if name in info.data.get(secret_key, ()):
                raise build_error(
                    f"must not include {format_value(name)}, which is in '{secret_key}'",
                    f"keep it in '{secret_key}' if it is secret, and here if it is not",
                )
        return names

    return check


def check_network_admin(capabilities: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Check that a scenario with NET_ADMIN has its own network."""
    if "NET_ADMIN" in capabilities and info.data.get("network") != "isolated":
        raise build_error(
            "cannot include NET_ADMIN on the host's network",
            'add network = "isolated", since it would change the host',
        )
    return capabilities


def check_isolation(network: str, info: ValidationInfo) -> str:
    """Check that an isolated scenario needs nothing outside of its sandbox."""
    requires: Requires = info.data.get("requires", Requires())
    if network == "isolated" and requires.endpoints:
        raise build_error(
            "cannot be 'isolated' if requires.endpoints is set",
            "remove one of the two; an isolated scenario can only reach itself",
        )
    if network == "isolated" and info.data.get("services"):
        raise build_error(
            "cannot be 'isolated' if there are services",
            "remove one of the two; an isolated scenario can only reach itself",
        )
    return network
