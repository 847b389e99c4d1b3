"""Requirements of scenarios, checked against a real server on this machine."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isosmoke.execution.requirements import Requirements, check_endpoint, expand
from isosmoke.manifest.models import Scenario


@dataclass(slots=True)
class Server:
    """A server that responds to every path with its last part as the status."""

    address: str
    requested_paths: list[str] = field(default_factory=list)


@contextmanager
def serving(respond: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Yield the address of a server on this machine that responds with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Yield a server that only this test uses, reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    requested_paths: list[str] = []

    def respond(request: BaseHTTPRequestHandler) -> None:
        requested_paths.append(request.path)
        request.send_response(int(request.path.rpartition("/")[2]))
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(respond) as address:
        yield Server(address, requested_paths)


def create_scenario(image: str = "host", **requires: list[str]) -> Scenario:
    """Return a scenario with these requirements."""
    entry = {"name": "one", "script": "one.sh", "image": image, "requires": requires}
    return Scenario.validate(entry)


def find_missing(
    scenario: Scenario, environment: Mapping[str, str] | None = None, *, has_binary: bool = False
) -> str:
    """Return the missing requirements of a scenario."""
    return Requirements(environment or {}, has_binary=has_binary).find_missing(scenario)


def free_address() -> str:
    """Return an address of this machine at which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server_socket:
        return f"http://127.0.0.1:{server_socket.getsockname()[1]}"


@pytest.fixture
def tools(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment whose PATH has a program, and a file that is not executable."""
    (tmp_path / "tool").touch(mode=0o755)
    (tmp_path / "text").touch(mode=0o644)
    return {"PATH": str(tmp_path)}


def test_scenario_without_requirements_can_run() -> None:
    """A scenario without requirements can run anywhere."""
    assert find_missing(create_scenario()) == ""


def test_command_must_be_executable_on_callers_path(tools: Mapping[str, str]) -> None:
    """A command is found if the caller's PATH has a program of that name, else reported."""
    assert find_missing(create_scenario(commands=["tool"]), tools) == ""
    assert find_missing(create_scenario(commands=["text"]), tools) == "command 'text' not found"
    assert find_missing(create_scenario(commands=["gone"]), tools) == "command 'gone' not found"


def test_command_is_not_searched_on_path_of_isosmoke(
    tools: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the environment that was passed in counts, even if it has no PATH."""
    monkeypatch.setenv("PATH", tools["PATH"])

    assert find_missing(create_scenario(commands=["tool"]), {}) == "command 'tool' not found"


@pytest.mark.parametrize("image", ["host", "debian"])
def test_wg_is_the_binary_under_test(image: str) -> None:
    """`wg` is found in every image if there is a binary, and in no image otherwise."""
    scenario = create_scenario(image, commands=["wg"])

    assert find_missing(scenario, {"PATH": "/gone"}, has_binary=True) == ""
    missing = find_missing(scenario, {"PATH": "/gone"})
    assert missing.startswith("command 'wg' not found")
    assert "--binary" in missing


def test_command_in_other_image_is_not_checked(tools: Mapping[str, str]) -> None:
    """Another image cannot be searched from here, so a missing command is no reason to skip."""
    assert find_missing(create_scenario("debian", commands=["gone"]), tools) == ""


def test_variable_must_not_be_empty() -> None:
    """A variable that is missing or empty is reported."""
    scenario = create_scenario(env=["SET", "EMPTY", "GONE"])

    missing = find_missing(scenario, {"SET": "secret", "EMPTY": ""})

    assert missing == "variable EMPTY not set; variable GONE not set"
    assert "secret" not in missing


def test_all_missing_requirements_are_reported_together() -> None:
    """Commands, variables and endpoints are reported in the order of the manifest."""
    address = free_address()
    missing = find_missing(
        create_scenario(commands=["gone"], env=["GONE"], endpoints=[address]), {"PATH": ""}
    )
    command, variable, endpoint = missing.split("; ")

    assert (command, variable) == ("command 'gone' not found", "variable GONE not set")
    assert endpoint.startswith(f"endpoint {address} unreachable: ")


@pytest.mark.parametrize("status", [200, 204, 301, 401, 404, 429, 500])
def test_endpoint_that_responds_is_available(server: Server, status: int) -> None:
    """Any response of its own shows that a service is available, even a refusal or a redirect."""
    assert find_missing(create_scenario(endpoints=[f"{server.address}/{status}"])) == ""
    assert server.requested_paths == [f"/{status}"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_error_makes_endpoint_unavailable(server: Server, status: int) -> None:
    """A gateway without an upstream is reported with its status."""
    address = f"{server.address}/{status}"

    assert (
        find_missing(create_scenario(endpoints=[address]))
        == f"endpoint {address} responded with {status}"
    )


def test_endpoint_is_requested_once_per_run(server: Server) -> None:
    """An endpoint is requested once, for any number of scenarios and with any response."""
    requirements = Requirements({}, has_binary=False)
    up, down = f"{server.address}/200", f"{server.address}/503"
    missing = [
        requirements.find_missing(create_scenario(endpoints=[up, down, up])) for _ in range(3)
    ]

    assert len(set(missing)) == 1
    assert server.requested_paths == ["/200", "/503"]


def test_endpoint_with_endless_response_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event stream never ends; its beginning is sufficient."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    is_finished = Event()

    def stream(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"data: 1\n\n")
        request.wfile.flush()
        is_finished.wait(60)

    with serving(stream) as address:
        try:
            assert check_endpoint(address) == ""
        finally:
            is_finished.set()


@pytest.mark.parametrize(
    "endpoint", ["", "localhost", "tcp://127.0.0.1:1", "http://", "http://[", "http://a:b", "\x00"]
)
def test_invalid_endpoint_is_unreachable(endpoint: str) -> None:
    """An endpoint that cannot be requested at all is a reason to skip, never a crash."""
    assert check_endpoint(endpoint).startswith(f"endpoint {endpoint} unreachable: ")


def test_secrets_of_endpoint_are_not_reported() -> None:
    """User, password and query, which may contain tokens, are in no report."""
    missing = check_endpoint("http://bob:hunter2@127.0.0.1:1/models?token=hunter2")

    assert missing.startswith("endpoint http://127.0.0.1:1/models unreachable: ")
    assert "hunter2" not in missing


def test_endpoint_may_refer_to_variables(server: Server) -> None:
    """An endpoint is requested at the address that results from the caller's variables."""
    scenario = create_scenario(endpoints=["${WHERE:-http://127.0.0.1:1}/${STATUS:-503}"])

    assert find_missing(scenario, {"WHERE": server.address, "STATUS": "200"}) == ""
    assert find_missing(scenario, {"WHERE": server.address}).endswith("responded with 503")
    assert server.requested_paths == ["/200", "/503"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${SET}", "value"),
        ("${SET:-default}", "value"),
        ("${EMPTY:-default}", "default"),
        ("${GONE:-default}", "default"),
        ("${GONE:-http://h:1/a?b=c-d}", "http://h:1/a?b=c-d"),
        ("${GONE:-}", ""),
        ("${GONE}", ""),
        ("a${SET}b${GONE:-c}d", "avaluebcd"),
        ("$SET ${} ${SET ${a-b}", "$SET ${} ${SET ${a-b}"),
    ],
)
def test_references_are_expanded_as_in_a_shell(text: str, expected: str) -> None:
    """A variable expands to its value, or to the default if it is missing or empty."""
    assert expand(text, {"SET": "value", "EMPTY": ""}) == expected


@given(st.text(alphabet="${}:-AB \\", max_size=40))
def test_values_are_not_expanded_again(value: str) -> None:
    """A value that looks like a reference is inserted unchanged."""
    assert expand("<${A}>", {"A": value, "B": "no"}) == f"<{value}>"
