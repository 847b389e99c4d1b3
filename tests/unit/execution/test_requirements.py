"""What a scenario needs: met, or named; asked of a real server on this machine."""

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
    """A server that answers every path with its last part as the status."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """The address of a server on this machine that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

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
    """A server of this test alone, reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(int(request.path.rpartition("/")[2]))
        request.send_header("Content-Length", "0")
        request.end_headers()

    with served(answer) as address:
        yield Server(address, asked)


def scenario(image: str = "host", **requires: list[str]) -> Scenario:
    """A scenario that requires these things."""
    text = {"name": "one", "script": "one.sh", "image": image, "requires": requires}
    return Scenario.model_validate(text)


def unmet(
    one: Scenario, environment: Mapping[str, str] | None = None, *, has_binary: bool = False
) -> str:
    """What is missing for one scenario."""
    return Requirements(environment or {}, has_binary=has_binary).find_missing(one)


def free_address() -> str:
    """An address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def tools(tmp_path: Path) -> Mapping[str, str]:
    """An environment whose PATH has one program, and one file that is no program."""
    (tmp_path / "tool").touch(mode=0o755)
    (tmp_path / "text").touch(mode=0o644)
    return {"PATH": str(tmp_path)}


def test_nothing_required_is_met() -> None:
    """A scenario without requirements runs anywhere."""
    assert unmet(scenario()) == ""


def test_command_must_be_a_program_on_the_callers_path(tools: Mapping[str, str]) -> None:
    """A command is there when the caller's PATH has a program of that name, and is named if not."""
    assert unmet(scenario(commands=["tool"]), tools) == ""
    assert unmet(scenario(commands=["text"]), tools) == "command 'text' not found"
    assert unmet(scenario(commands=["gone"]), tools) == "command 'gone' not found"


def test_command_is_not_sought_on_isosmokes_own_path(
    tools: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the environment that was handed in counts, even where it has no PATH."""
    monkeypatch.setenv("PATH", tools["PATH"])

    assert unmet(scenario(commands=["tool"]), {}) == "command 'tool' not found"


@pytest.mark.parametrize("image", ["host", "debian"])
def test_wg_is_the_binary_under_test(image: str) -> None:
    """`wg` is there in every image when there is a binary, and in none when there is not."""
    needs = scenario(image, commands=["wg"])

    assert unmet(needs, {"PATH": "/gone"}, has_binary=True) == ""
    assert unmet(needs, {"PATH": "/gone"}) == "command 'wg' not found"


def test_command_in_an_image_is_for_the_script_to_find(tools: Mapping[str, str]) -> None:
    """What another image holds cannot be searched from here, so it is no reason to skip."""
    assert unmet(scenario("debian", commands=["gone"]), tools) == ""


def test_variable_must_be_set_to_something() -> None:
    """A variable that is missing or empty is named."""
    needs = scenario(env=["SET", "EMPTY", "GONE"])

    told = unmet(needs, {"SET": "secret", "EMPTY": ""})

    assert told == "variable EMPTY not set; variable GONE not set"
    assert "secret" not in told


def test_all_that_is_missing_is_told_at_once() -> None:
    """Commands, variables and endpoints are told together, in the order of the manifest."""
    address = free_address()
    told = unmet(scenario(commands=["gone"], env=["GONE"], endpoints=[address]), {"PATH": ""})
    command, variable, endpoint = told.split("; ")

    assert (command, variable) == ("command 'gone' not found", "variable GONE not set")
    assert endpoint.startswith(f"endpoint {address} unreachable: ")


@pytest.mark.parametrize("status", [200, 204, 301, 401, 404, 429, 500])
def test_endpoint_that_answers_is_there(server: Server, status: int) -> None:
    """Any answer of its own shows that a service is there, also a refusal or a redirection."""
    assert unmet(scenario(endpoints=[f"{server.address}/{status}"])) == ""
    assert server.asked == [f"/{status}"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_endpoint_whose_upstream_is_down_is_not_there(server: Server, status: int) -> None:
    """A gateway that speaks for nobody is told with its answer."""
    address = f"{server.address}/{status}"

    assert unmet(scenario(endpoints=[address])) == f"endpoint {address} answers {status}"


def test_endpoint_is_asked_once_in_a_run(server: Server) -> None:
    """However many scenarios need it, and whatever it answered, an endpoint is asked once."""
    requirements = Requirements({}, has_binary=False)
    up, down = f"{server.address}/200", f"{server.address}/503"
    told = [requirements.find_missing(scenario(endpoints=[up, down, up])) for _ in range(3)]

    assert len(set(told)) == 1
    assert server.asked == ["/200", "/503"]


def test_endpoint_that_never_ends_its_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of events never ends; that it began is enough, and nobody waits for the rest."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    over = Event()

    def stream(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"data: 1\n\n")
        request.wfile.flush()
        over.wait(60)

    with served(stream) as address:
        try:
            assert check_endpoint(address) == ""
        finally:
            over.set()


@pytest.mark.parametrize(
    "endpoint", ["", "localhost", "tcp://127.0.0.1:1", "http://", "http://[", "http://a:b", "\x00"]
)
def test_endpoint_that_is_no_address_is_check_endpoint(endpoint: str) -> None:
    """What cannot be asked at all is a reason to skip, never a crash."""
    assert check_endpoint(endpoint).startswith(f"endpoint {endpoint} unreachable: ")


def test_secrets_of_an_address_are_not_told() -> None:
    """User, password and query, where tokens are, are in no report."""
    told = check_endpoint("http://bob:hunter2@127.0.0.1:1/models?token=hunter2")

    assert told.startswith("endpoint http://127.0.0.1:1/models unreachable: ")
    assert "hunter2" not in told


def test_endpoint_may_name_variables(server: Server) -> None:
    """An endpoint is asked at the address that the caller's variables make of it."""
    one = scenario(endpoints=["${WHERE:-http://127.0.0.1:1}/${STATUS:-503}"])

    assert unmet(one, {"WHERE": server.address, "STATUS": "200"}) == ""
    assert unmet(one, {"WHERE": server.address}).endswith("answers 503")
    assert server.asked == ["/200", "/503"]


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
def test_references_are_replaced_as_a_shell_would(text: str, expected: str) -> None:
    """A variable gives its value, or the default where it is missing or empty."""
    assert expand(text, {"SET": "value", "EMPTY": ""}) == expected


@given(st.text(alphabet="${}:-AB \\", max_size=40))
def test_values_are_not_expanded_again(value: str) -> None:
    """A value that looks like a reference itself is put in as it is."""
    assert expand("<${A}>", {"A": value, "B": "no"}) == f"<{value}>"
