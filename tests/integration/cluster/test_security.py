"""No listener of a cluster accepts a peer without a certificate, and no sandbox sees a key."""

import json
import os
import select
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support import available, clusters
from support.clusters import ClusterSite

ANY = {"one": "true\n"}


def try_handshake(port: int, context: ssl.SSLContext | None) -> str:
    """Return whether a port answers a TLS peer, or without a context a peer that speaks HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        try:
            if context is None:
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return "answered" if plain.recv(100).startswith(b"HTTP") else "refused"
            with context.wrap_socket(plain) as channel:
                return "answered" if channel.recv(1) else "refused"
        except (ssl.SSLError, ConnectionError):
            return "refused"


def create_context(directory: Path | None = None) -> ssl.SSLContext:
    """Return the context of a client that trusts everything, with a certificate or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if directory is not None:
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def list_ports(site: ClusterSite) -> list[int]:
    """Return the ports on which the processes of a cluster listen."""
    assert site.scheduler is not None
    processes = (site.scheduler, *site.workers)
    return [port for process in processes for port in clusters.list_listeners(process.pid)]


def test_every_listener_requires_a_certificate(tmp_path: Path) -> None:
    """Each process has one port, which accepts only a peer of the same authority."""
    foreign = ClusterSite(tmp_path, tmp_path / "foreign")
    command = [sys.executable, "-m", "isosmoke", "cluster", "certificates"]
    with clusters.running(tmp_path, ANY, workers=2) as site:
        made = subprocess.run(command, env=foreign.environment(), check=False, cwd=tmp_path)
        ports = list_ports(site)
        contexts = {
            "plain": None,
            "no certificate": create_context(),
            "another authority": create_context(foreign.state / "cluster/own"),
            "own": create_context(site.state / "cluster/own"),
        }
        answers = {
            (port, name): try_handshake(port, context)
            for port in ports
            for name, context in contexts.items()
        }

    assert made.returncode == 0
    assert len(ports) == 3
    assert {key for key, reply in answers.items() if reply == "answered"} == {
        (port, "own") for port in ports
    }


def test_client_of_another_authority_is_refused(tmp_path: Path) -> None:
    """A client whose certificate another authority signed gets exit code 125 and a sentence."""
    with clusters.running(tmp_path, ANY, workers=1) as site:
        variables = {**site.environment(), "ISOSMOKE_STATE": str(tmp_path / "foreign")}
        made = [sys.executable, "-m", "isosmoke", "cluster", "certificates"]
        subprocess.run(made, env=variables, check=True, stdout=subprocess.DEVNULL)
        run = subprocess.run(
            site.command(), cwd=site.top, env=variables, capture_output=True, text=True, check=False
        )

    assert run.returncode == 125
    assert "no scheduler with a certificate of this user answers" in run.stderr


def test_keys_are_private_and_invisible(tmp_path: Path) -> None:
    """Keys have mode 0600, and a scenario finds neither them nor a port that accepts it."""
    script = """
for key in "$KEYS"/*/key.pem "$KEYS"/*.key; do
    test ! -e "$key" || exit 1
done
exec python3 - <<'END'
import os, socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for port in os.environ["PORTS"].split():
    try:
        channel = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 20))
        if channel.recv(1):
            sys.exit(f"escaped: port {port} answered")
    except (ssl.SSLError, ConnectionError) as error:
        print("refused:", type(error).__name__)
END
"""
    keys = 'plain_env = ["KEYS", "PORTS"]'
    with clusters.running(tmp_path, {"one": script}, workers=1, one=keys) as site:
        files = [*site.state.glob("cluster/*.key"), *site.state.glob("cluster/*/key.pem")]
        modes = {stat.S_IMODE(file.stat().st_mode) for file in files}
        variables = {
            "KEYS": str(site.state / "cluster"),
            "PORTS": " ".join(map(str, list_ports(site))),
        }
        run = subprocess.run(
            site.command(),
            cwd=site.top,
            env=site.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )

    (scenario,) = json.loads(run.stdout)["scenarios"]
    assert scenario["outcome"] == "PASS", scenario["reason"]
    assert scenario["output"]["last_lines"].count("refused: SSLError") == 2
    assert modes == {0o600}
    assert len(files) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root can put a state directory below /opt")
def test_keys_below_a_shown_directory_are_masked(tmp_path: Path) -> None:
    """A state directory that the host's image would show does not show its keys."""
    available.require_engine("bubblewrap")
    state = Path("/opt") / f"isosmoke-test-{os.getpid()}"
    script = f'test -d {state}/cluster && test -z "$(ls -A {state}/cluster 2>/dev/null)"\n'
    site = ClusterSite.within(tmp_path, {"one": script})
    site.state = state
    state.mkdir(mode=0o755)
    try:
        made = [sys.executable, "-m", "isosmoke", "cluster", "certificates"]
        subprocess.run(made, env=site.environment(), check=True, stdout=subprocess.DEVNULL)
        run = subprocess.run(
            [sys.executable, "-m", "isosmoke", "run", "--manifest", "manifest.toml", "--json"],
            cwd=site.top,
            env=site.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-r", str(state)], check=True)

    assert json.loads(run.stdout)["scenarios"][0]["outcome"] == "PASS", run.stdout


def test_others_must_not_read_a_key(tmp_path: Path) -> None:
    """A key that others may read is refused, with the command that fixes it."""
    site = ClusterSite(tmp_path, tmp_path / "state")
    made = [sys.executable, "-m", "isosmoke", "cluster", "certificates"]
    subprocess.run(made, env=site.environment(), check=True, stdout=subprocess.DEVNULL)
    key = site.state / "cluster/own/key.pem"
    key.chmod(0o640)
    again = subprocess.run(
        made, env=site.environment(), capture_output=True, text=True, check=False
    )

    assert again.returncode == 125
    assert f"chmod 600 {key}" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("gate", "task", "--place", "local:2"), "[gate] places lacks it"),
        (("gate", "task", "--place", "local:2", "--shard", "1/2"), "--place cannot be combined"),
        (("teeth", "--place", "local:2", "--receipts", "proofs"), "has no receipts"),
        (("run", "--place", "nowhere"), "names no place"),
        (("run", "--place", "tcp://127.0.0.1:1"), "names no place"),
        (("run", "--place", "local:0"), "names no place"),
        (("run", "--place", f"local:{'9' * 5000}"), "names no place"),
        (("cluster", "certificates", "a\nb"), r"'a\nb' is not the name of a machine"),
        (("cluster", "certificates", "../a"), "'../a' is not the name of a machine"),
    ],
)
def test_other_places_are_refused(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    """A gate accepts no place that no manifest lists, and no place is without certificates."""
    site = ClusterSite.within(tmp_path, ANY)
    run = subprocess.run(
        [sys.executable, "-m", "isosmoke", *arguments],
        cwd=site.top,
        env=site.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert expected in run.stderr


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
def test_damaged_file_of_an_identity_is_named(name: str, tmp_path: Path) -> None:
    """A file that is no certificate or key is named, with the remedy."""
    site = ClusterSite.within(tmp_path, ANY)
    site.list_certificates()
    damaged = site.state / "cluster/own" / name
    damaged.write_bytes(b"\xff garbage")
    run = subprocess.run(
        [sys.executable, "-m", "isosmoke", "run", "--place", "local:1"],
        cwd=site.top,
        env=site.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 125
    assert f"{damaged} is damaged" in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_server_that_is_no_scheduler_is_named(*, is_encrypted: bool, tmp_path: Path) -> None:
    """A server that sends anything else is no scheduler: 125 and a sentence with its address."""
    site = ClusterSite.within(tmp_path, ANY)
    site.list_certificates()
    own = site.state / "cluster/own"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own / "cert.pem", own / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as server:
        site.address = f"tls://127.0.0.1:{server.getsockname()[1]}"
        run = site.start_run()
        while run.poll() is None:
            if select.select([server], [], [], 0.1)[0]:
                send_garbage(server.accept()[0], context if is_encrypted else None)
        _, errors = run.communicate()

    assert run.returncode == 125
    message = errors.splitlines()[0]
    assert f"no scheduler with a certificate of this user answers at {site.address}: " in message
    assert not message.endswith(": ")
    assert "memory" not in errors
    assert "Traceback" not in errors


def send_garbage(plain: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer a peer with bytes that are no message, and end the connection."""
    with plain, suppress(OSError):
        channel = context.wrap_socket(plain, server_side=True) if context else plain
        with channel:
            channel.sendall(b"\xff" * 8 + b"garbage" * 100)
            channel.recv(1)
