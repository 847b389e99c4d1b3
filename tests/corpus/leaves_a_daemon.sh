# Fork, setsid, fork: nobody's child, with a TCP port and an abstract socket of the host's network.
python3 - <<'END'
import os
import socket
import time

server = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX)
abstract.bind(f"\0isosmoke-corpus-{server.getsockname()[1]}")
abstract.listen()
started, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.write(tell, b"up")
    time.sleep(600)
os.read(started, 2)
END
