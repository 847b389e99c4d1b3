"""Service containers of a scenario, by testcontainers: ready before its script, removed after it.

    isosmoke ── attach stream ── keeper: PID 1 of a lifeline, an empty sandbox
                                   └── its PID namespace: every process of the service's container

When isosmoke ends for any reason, the lifeline's keeper reads the end of its stdin, and the kernel
kills every process of the namespace. Testcontainers' own reaper (Ryuk) is therefore never started.
The service itself runs as its image specifies, with its own user and health check, but not as pid
1. The services of an attempt share a private network, where they reach each other by name. No image
is pulled.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self

from docker.models.containers import Container
from docker.types import LogConfig
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import WaitStrategy
from testcontainers.core.waiting_utils import WaitStrategyTarget

from isosmoke.dataclass import dataclass
from isosmoke.engines import select_service_engine
from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.execution.requirements import expand
from isosmoke.execution.service_log import Transcript
from isosmoke.host.caller_process import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import Conversation
from isosmoke.keeper.events import Output
from isosmoke.keeper.exchange import StoppedError
from isosmoke.keeper.running_time_deadline import Deadline
from isosmoke.manifest.models import Scenario, Service, Wait
from isosmoke.redaction import Redactor
from isosmoke.runner.environment import select_passed_variables
from isosmoke.runner.output import Capture
from isosmoke.sandbox.spec import HOST_IMAGE, KEEPER, ReadOnly, SandboxSpec

HOST = "127.0.0.1"
"""The address at which ports are published, unreachable from other machines."""

_ANY_PORT = 0
_POLL_SECONDS = 0.1
_LINES_SHOWN = 5

_PROXY_SECONDS = 0.25
"""Docker's proxy accepts a connection before it knows whether the service listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAttempt:
    """The attempt for which services are started."""

    scenario: Scenario
    number: int
    record: Path
    caller: Caller
    redactor: Redactor
    interrupt: Interrupt

    @property
    def label(self) -> str:
        """The label of its containers."""
        return f"{self.scenario.name}: service"

    def get_log_path(self, service: Service) -> Path:
        """Return the path of a service's log."""
        return self.record / self.scenario.name / f"service-{service.name}-{self.number}.log"

    def build_variables(self, service: Service) -> dict[str, str]:
        """Return a service's own environment; it may refer to variables passed to the scenario."""
        passed = select_passed_variables(self.scenario, self.caller.environment)
        return {name: expand(value, passed) for name, value in service.env.items()}


class Services:
    """The services of a run's scenarios on one daemon; each image is looked up once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = select_service_engine(engine)
        self._images: dict[str, bool] = {}
        self._lock = Lock()

    def find_missing(self, services: Sequence[Service]) -> str:
        """Return the reasons why these services cannot be started; empty if they can."""
        with self._lock:
            return "; ".join(self._list_missing(services))

    def _list_missing(self, services: Sequence[Service]) -> Iterator[str]:
        if self._engine_error:
            yield f"services need a container engine: {self._engine_error}"
            return
        for service in services:
            if not self._has_image(service.image):
                hint = f"try: {self._engine.name} pull {service.image}"
                yield f"service '{service.name}': no image '{service.image}' here ({hint})"

    @cached_property
    def _engine_error(self) -> str:
        try:
            self._engine.preflight()
            with suppress(LeftBehindError):  # remains of a dead run do not prevent a start
                self._engine.sweep()
        except EngineError as error:
            return f"{error.message} (try: {error.hint})" if error.hint else error.message
        return ""

    def _has_image(self, image: str) -> bool:
        if image not in self._images:
            self._images[image] = self._engine.images.has(image)
        return self._images[image]

    @contextmanager
    def running(self, attempt: ServiceAttempt) -> Iterator[Mapping[str, str]]:
        """Start all services of a scenario in order, and yield the variables with their addresses.

        Raises:
            EngineError: if a service does not become ready; the error ends with its last output.
            StoppedError: if the run is interrupted.
        """
        variables: dict[str, str] = {}
        with ExitStack() as stack:
            network = stack.enter_context(self._engine.companions.network(attempt.label))
            for service in attempt.scenario.services:
                container = stack.enter_context(self._running_service(service, network, attempt))
                with self._engine.companions.errors(f"find the ports of service '{service.name}'"):
                    variables |= _build_address_variables(service, container)
            yield variables

    @contextmanager
    def _running_service(
        self, service: Service, network: str, attempt: ServiceAttempt
    ) -> Iterator["ServiceContainer"]:
        label = f"{attempt.label} {service.name}"
        with ExitStack() as stack:
            lifeline = stack.enter_context(
                self._engine.sandbox(_build_lifeline_spec(label, attempt.caller))
            )
            keeper = Conversation(
                lifeline.channel, sink=_ignore_output, interrupt=attempt.interrupt
            )
            keeper.wait_until_ready(START_SECONDS)
            transcript = stack.enter_context(_create_transcript(service, attempt))
            name, labels = stack.enter_context(self._engine.companions.reserved_container(label))
            container = ServiceContainer(
                service,
                network,
                docker_client_kw=self._engine.companions.for_testcontainers,
                name=name,
                labels=labels,
                pid_mode=f"container:{lifeline.name}",
                ulimits=self._engine.companions.ulimits,
            )
            stack.enter_context(closing(container))
            container.with_envs(**attempt.build_variables(service))
            container.waiting_for(Readiness(service, transcript, attempt.interrupt))
            with self._engine.companions.errors(f"start service '{service.name}'"):
                container.create()
                transcript.follow(self._engine.companions.attached_output(name))
                container.start()
            yield container


def _create_transcript(service: Service, attempt: ServiceAttempt) -> Transcript:
    log, limit = attempt.get_log_path(service), attempt.scenario.limits.output
    awaited = service.wait.log if service.wait else None
    return Transcript(Capture(log, limit, redactor=attempt.redactor), awaited)


def _build_lifeline_spec(label: str, caller: Caller) -> SandboxSpec:
    return SandboxSpec(
        label=label,
        image=HOST_IMAGE,
        mounts=(ReadOnly(KEEPER_FILE, KEEPER),),
        uid=caller.uid,
        gid=caller.gid,
        network="isolated",
    )


def _ignore_output(output: Output) -> None:
    """Ignore the output: a lifeline runs nothing that could print."""


def _build_address_variables(service: Service, container: "ServiceContainer") -> dict[str, str]:
    """Return `DB_HOST`, `DB_PORT_5432` for each port, and `DB_PORT` for the first port."""
    addresses = {port: str(container.get_exposed_port(port)) for port in service.ports}
    first = {f"{service.prefix}_PORT": number for number in list(addresses.values())[:1]}
    each = {f"{service.prefix}_PORT_{port}": number for port, number in addresses.items()}
    return {f"{service.prefix}_HOST": HOST, **first, **each}


class ServiceContainer(DockerContainer):
    """The container of one service."""

    def __init__(self, service: Service, network: str, **options: Any) -> None:
        super().__init__(service.image, **options)
        self._network_name, self._network_aliases = network, [service.name]
        self.image = service.image  # without the prefix that testcontainers adds
        self._command = list(service.command) or None
        self._published = {f"{port}/tcp": (HOST, _ANY_PORT) for port in service.ports}

    def create(self) -> None:
        """Create the container without starting it; pull no image and store no log."""
        client = self.get_docker_client().client
        endpoint = client.api.create_endpoint_config(aliases=self._network_aliases)
        self._container = client.containers.create(
            self.image,
            command=self._command,
            environment=self.env,
            name=self._name,
            ports=self._published,
            network=self._network_name,
            networking_config={self._network_name: endpoint},
            log_config=LogConfig(type="none"),
            **self._kwargs,
        )

    def start(self) -> Self:
        """Start the created container and wait until it is ready, without a reaper."""
        self.get_wrapped_container().start()
        if self._wait_strategy is not None:
            self._wait_strategy.wait_until_ready(self)
        return self

    def close(self) -> None:
        """Close the connection to the daemon; the container keeps running."""
        self.get_docker_client().client.close()

    def get_container_host_ip(self) -> str:
        """Return the address at which all ports are published."""
        return HOST

    def get_exposed_port(self, port: int) -> int:
        return int(self.get_docker_client().port(self.get_container_id(), port))


class Readiness(WaitStrategy):
    """The manifest's condition for a service to be ready; an interrupt ends the wait at once."""

    def __init__(self, service: Service, transcript: Transcript, interrupt: Interrupt) -> None:
        super().__init__()
        self.with_startup_timeout(service.timeout_seconds)
        self._service = service
        self._transcript = transcript
        self._interrupt = interrupt

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        deadline = Deadline(self._startup_timeout)
        while not self._is_ready(container):
            wrapped = container.get_wrapped_container()
            wrapped.reload()
            if wrapped.status != "running":
                self._transcript.settle()
                if self._transcript.has_match:
                    return
                code = wrapped.attrs["State"]["ExitCode"]
                raise self._create_error(f"ended with code {code} before it was ready")
            if not deadline.look():
                raise self._create_error(f"was not ready within {self._startup_timeout:g} s")
            self._pause()

    def _is_ready(self, container: WaitStrategyTarget) -> bool:
        wait = self._service.wait or Wait(port=next(iter(self._service.ports), None))
        if wait.log is not None:
            return self._transcript.has_match
        if wait.health:
            return self._is_healthy(container.get_wrapped_container())
        return wait.port is None or _is_listening(container, wait.port)

    def _is_healthy(self, wrapped: Container) -> bool:
        wrapped.reload()
        health = wrapped.attrs["State"].get("Health")
        if not health:
            raise self._create_error("waits for a health check, but its image defines none")
        return bool(health["Status"] == "healthy")

    def _create_error(self, problem: str) -> EngineError:
        last = self._transcript.last_lines(_LINES_SHOWN)
        return EngineError(
            f"service '{self._service.name}' {problem}"
            + (f"; its last output: {last}" if last else "; it printed nothing")
        )

    def _pause(self) -> None:
        if self._interrupt.wait(_POLL_SECONDS):
            raise StoppedError(self._interrupt.reason)


def _is_listening(container: WaitStrategyTarget, port: int) -> bool:
    """Return True if the service accepts connections and does not close them at once."""
    try:
        address = (HOST, container.get_exposed_port(port))
        with socket.create_connection(address, _PROXY_SECONDS) as connection:
            connection.settimeout(_PROXY_SECONDS)
            with suppress(TimeoutError):
                return bool(connection.recv(1))
            return True
    except OSError:
        return False
