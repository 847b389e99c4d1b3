# Fork, setsid, fork: an orphan with a TCP port and an abstract socket in the host's network.
python3 - <<'END'
import os
import socket
import time

server = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind(f"\0isosmoke-corpus-{server.getsockname()[1]}")
abstract.listen()
source, sink = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.write(sink, b"up")
    time.sleep(600)
os.read(source, 2)
END
