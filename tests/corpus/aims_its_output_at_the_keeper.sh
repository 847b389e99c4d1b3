# Make the kernel signal PID 1, with each signal in turn, when a pipe becomes readable or
# writable.
python3 - <<'END'
import fcntl
import os

source = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
for number in range(1, 65):
    for stream in (1, 2, source):
        fcntl.fcntl(stream, fcntl.F_SETOWN, 1)
        fcntl.fcntl(stream, fcntl.F_SETSIG, number)
        fcntl.fcntl(stream, fcntl.F_SETFL, fcntl.fcntl(stream, fcntl.F_GETFL) | os.O_ASYNC)
    for _ in range(20):
        os.write(1, b"x")
        os.write(2, b"x")
END
sleep 600 &
