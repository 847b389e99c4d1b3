# The script passes, and leaves a daemon as daemons are made: fork, setsid, fork, with no handle on
# the script's output. It is nobody's child by then, and still it is found, with its socket.
python3 - <<'END'
import os
import socket
import time

listener = socket.create_server(("127.0.0.1", 0))
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
echo "service stopped"
