# The script passes but leaves a daemon, created as usual by fork, setsid and fork, and without the
# script's output. It is no longer a child of the script, but is found nevertheless, with its socket.
python3 - <<'END'
import os
import socket
import time

listener = socket.create_server(("127.0.0.1", 0))
started, notify = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.write(notify, b"up")
    time.sleep(600)
os.read(started, 2)
END
echo "service stopped"
