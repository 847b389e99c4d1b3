"""Companion containers of a scenario, by testcontainers: ready before its script, gone after it.

    isosmoke ── attach stream ── keeper: PID 1 of a lifeline, an empty sandbox
                                   └── its PID namespace: every process of the service's container

However isosmoke ends, the lifeline's keeper reads the end of its stdin, and the kernel ends all of
that namespace. So testcontainers' own reaper (Ryuk) has nothing to do and is never started. The
service itself runs as its image says, with its own user and health check; only its pid is not
1. The services of one attempt share a network that is theirs alone, and know each other there by
name. No image is pulled.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Self

from docker.models.containers import Container
from docker.types import LogConfig
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import WaitStrategy
from testcontainers.core.waiting_utils import WaitStrategyTarget

from isosmoke.engines import service_engine
from isosmoke.engines.base import START_SECONDS, Engine
from isosmoke.errors import EngineError, LeftBehindError
from isosmoke.execution.requirements import expanded
from isosmoke.execution.service_log import Transcript
from isosmoke.host.caller import Caller
from isosmoke.interrupt import Interrupt
from isosmoke.keeper import KEEPER_FILE
from isosmoke.keeper.client import Conversation, StoppedError
from isosmoke.keeper.protocol import Output
from isosmoke.manifest.models import Scenario, Service, Wait
from isosmoke.redaction import Redactor
from isosmoke.runner.output import Capture
from isosmoke.sandbox.spec import HOST_IMAGE, KEEPER, ReadOnly, SandboxSpec

HOST = "127.0.0.1"
"""Where a service's ports are published: nobody else's machine reaches them."""

_ANY_PORT = 0
_POLL_SECONDS = 0.1
_LINES_TOLD = 5

_PROXY_SECONDS = 0.25
"""Docker's proxy accepts for a service that does not listen, and hangs up once it has found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAttempt:
    """The attempt that services are for: where their logs go, and what may stop it."""

    scenario: Scenario
    number: int
    record: Path
    caller: Caller
    redactor: Redactor
    interrupt: Interrupt

    @property
    def label(self) -> str:
        """What its containers are known by."""
        return f"{self.scenario.name}: service"

    def log(self, service: Service) -> Path:
        """Where a service's output is kept."""
        return self.record / self.scenario.name / f"service-{service.name}-{self.number}.log"

    def variables(self, service: Service) -> dict[str, str]:
        """A service's own environment: of the caller's, it may name what the scenario is passed."""
        given = self.caller.environment
        passed = {name: given[name] for name in self.scenario.pass_env if name in given}
        return {name: expanded(value, passed) for name, value in service.env.items()}


class Services:
    """The services of a run's scenarios, on one daemon; asks once for each thing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = service_engine(engine)
        self._images: dict[str, bool] = {}
        self._asking = Lock()

    def find_missing(self, services: Sequence[Service]) -> str:
        """Why they cannot be started here; empty when they can."""
        with self._asking:
            return "; ".join(self._list_missing(services))

    def _list_missing(self, services: Sequence[Service]) -> Iterator[str]:
        if self._unusable:
            yield f"services need a container engine: {self._unusable}"
            return
        for service in services:
            if not self._has(service.image):
                hint = f"try: {self._engine.name} pull {service.image}"
                yield f"service '{service.name}': no image '{service.image}' here ({hint})"

    @cached_property
    def _unusable(self) -> str:
        try:
            self._engine.preflight()
            with suppress(LeftBehindError):  # of a dead run: it keeps nothing from starting here
                self._engine.sweep()
        except EngineError as error:
            return f"{error.message} (try: {error.hint})" if error.hint else error.message
        return ""

    def _has(self, image: str) -> bool:
        if image not in self._images:
            self._images[image] = self._engine.images.has(image)
        return self._images[image]

    @contextmanager
    def running(self, attempt: ServiceAttempt) -> Iterator[Mapping[str, str]]:
        """All services of a scenario, one after another; yields the variables that say where.

        Raises:
            EngineError: if one does not become ready, with the last that it printed.
            StoppedError: if the run is interrupted meanwhile.
        """
        variables: dict[str, str] = {}
        with ExitStack() as stack:
            network = stack.enter_context(self._engine.companions.network(attempt.label))
            for service in attempt.scenario.services:
                running = stack.enter_context(self._running_service(service, network, attempt))
                with self._engine.companions.errors(f"find the ports of service '{service.name}'"):
                    variables |= _variables(service, running)
            yield variables

    @contextmanager
    def _running_service(
        self, service: Service, network: str, attempt: ServiceAttempt
    ) -> Iterator["Companion"]:
        label = f"{attempt.label} {service.name}"
        with ExitStack() as stack:
            lifeline = stack.enter_context(self._engine.sandbox(_lifeline(label, attempt.caller)))
            keeper = Conversation(lifeline.channel, sink=_drop, interrupt=attempt.interrupt)
            keeper.ready(START_SECONDS)
            transcript = stack.enter_context(_transcript(service, attempt))
            name, labels = stack.enter_context(self._engine.companions.reserved(label))
            made = Companion(
                service,
                network,
                docker_client_kw=self._engine.companions.for_testcontainers,
                name=name,
                labels=labels,
                pid_mode=f"container:{lifeline.name}",
                ulimits=self._engine.companions.ulimits,
            )
            stack.enter_context(closing(made))
            made.with_envs(**attempt.variables(service))
            made.waiting_for(Readiness(service, transcript, attempt.interrupt))
            with self._engine.companions.errors(f"start service '{service.name}'"):
                made.make()
                transcript.follow(self._engine.companions.printing(name))
                made.start()
            yield made


def _transcript(service: Service, attempt: ServiceAttempt) -> Transcript:
    log, limit = attempt.log(service), attempt.scenario.limits.output
    awaited = service.wait.log if service.wait else None
    return Transcript(Capture(log, limit, redactor=attempt.redactor), awaited)


def _lifeline(label: str, caller: Caller) -> SandboxSpec:
    return SandboxSpec(
        label=label,
        image=HOST_IMAGE,
        mounts=(ReadOnly(KEEPER_FILE, KEEPER),),
        uid=caller.uid,
        gid=caller.gid,
        network="isolated",
    )


def _drop(output: Output) -> None:
    """A lifeline runs nothing that could print."""


def _variables(service: Service, running: "Companion") -> dict[str, str]:
    """`DB_HOST`; `DB_PORT_5432` for each of its ports, and `DB_PORT` for the first."""
    places = {port: str(running.get_exposed_port(port)) for port in service.ports}
    first = {f"{service.prefix}_PORT": place for place in list(places.values())[:1]}
    each = {f"{service.prefix}_PORT_{port}": place for port, place in places.items()}
    return {f"{service.prefix}_HOST": HOST, **first, **each}


class Companion(DockerContainer):
    """The container of one service."""

    def __init__(self, service: Service, network: str, **options: Any) -> None:
        super().__init__(service.image, **options)
        self._network_name, self._network_aliases = network, [service.name]
        self.image = service.image  # without a prefix of testcontainers' own
        self._command = list(service.command) or None
        self._published = {f"{port}/tcp": (HOST, _ANY_PORT) for port in service.ports}

    def make(self) -> None:
        """What testcontainers starts at once; no image is pulled, and the daemon keeps no log."""
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
        """Start what was made, and wait for it; no reaper is started."""
        self.get_wrapped_container().start()
        if self._wait_strategy is not None:
            self._wait_strategy.wait_until_ready(self)
        return self

    def close(self) -> None:
        """Give up the connection to the daemon; the container is not ended by this."""
        self.get_docker_client().client.close()

    def get_container_host_ip(self) -> str:
        """Not testcontainers' guess: ports are published nowhere else."""
        return HOST

    def get_exposed_port(self, port: int) -> int:
        return int(self.get_docker_client().port(self.get_container_id(), port))


class Readiness(WaitStrategy):
    """What the manifest says of when a service is ready; an interrupt ends the waiting at once."""

    def __init__(self, service: Service, transcript: Transcript, interrupt: Interrupt) -> None:
        super().__init__()
        self.with_startup_timeout(service.timeout_seconds)
        self._service = service
        self._transcript = transcript
        self._interrupt = interrupt

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        deadline = monotonic() + self._startup_timeout
        while not self._holds(container):
            wrapped = container.get_wrapped_container()
            wrapped.reload()
            if wrapped.status != "running":
                self._transcript.settle()
                if self._transcript.has_it:
                    return
                code = wrapped.attrs["State"]["ExitCode"]
                raise self._error(f"ended with code {code} before it was ready")
            if monotonic() > deadline:
                raise self._error(f"was not ready within {self._startup_timeout:g} s")
            self._pause()

    def _holds(self, container: WaitStrategyTarget) -> bool:
        wait = self._service.wait or Wait.model_construct(
            port=next(iter(self._service.ports), None)
        )
        if wait.log is not None:
            return self._transcript.has_it
        if wait.health:
            return self._healthy(container.get_wrapped_container())
        return wait.port is None or _accepts(container, wait.port)

    def _healthy(self, wrapped: Container) -> bool:
        wrapped.reload()
        health = wrapped.attrs["State"].get("Health")
        if not health:
            raise self._error("waits for a health check, and its image has none")
        return bool(health["Status"] == "healthy")

    def _error(self, words: str) -> EngineError:
        last = self._transcript.last(_LINES_TOLD)
        return EngineError(
            f"service '{self._service.name}' {words}"
            + (f"; it printed last: {last}" if last else "; it printed nothing")
        )

    def _pause(self) -> None:
        if self._interrupt.within(_POLL_SECONDS):
            raise StoppedError(self._interrupt.reason)


def _accepts(container: WaitStrategyTarget, port: int) -> bool:
    """Whether somebody behind the proxy listens: one that is connected and stays, or speaks."""
    try:
        place = (HOST, container.get_exposed_port(port))
        with socket.create_connection(place, _PROXY_SECONDS) as line:
            line.settimeout(_PROXY_SECONDS)
            with suppress(TimeoutError):
                return bool(line.recv(1))
            return True
    except OSError:
        return False
