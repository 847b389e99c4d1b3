# The main thread has ended, so /proc shows state Z, while another thread listens and sleeps.
python3 - <<'END'
import ctypes
import os
import platform
import socket
import threading
import time

EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]

source, sink = os.pipe()
if os.fork():
    os.read(source, 1)
    os._exit(0)


def serve():
    server = socket.create_server(("127.0.0.1", 0))
    while "\nState:\tZ" not in open(f"/proc/{os.getpid()}/status").read():
        time.sleep(0.01)
    os.write(sink, b"x")
    time.sleep(600)
    server.close()


null = os.open(os.devnull, os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(null, descriptor)
threading.Thread(target=serve).start()
ctypes.CDLL(None).syscall(EXIT, 0)
END
