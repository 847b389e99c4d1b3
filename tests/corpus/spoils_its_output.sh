# Make the pipes small and non-blocking, fill them, and leave a process.
python3 - <<'END'
import fcntl
import os

for stream in (1, 2):
    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
    fcntl.fcntl(stream, fcntl.F_SETFL, os.O_NONBLOCK)
    for _ in range(10_000):
        try:
            os.write(stream, b"x" * 512)
        except BlockingIOError:
            pass
    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 1 << 20)
END
sleep 600 &
