# Threads print without end, and read the output before the keeper can.
python3 - <<'END'
import os
import threading
import time

if os.fork():
    time.sleep(0.5)
    os._exit(0)

source = os.open("/proc/self/fd/1", os.O_RDONLY)


def steal():
    while True:
        os.read(source, 1 << 16)


for _ in range(7):
    threading.Thread(target=steal).start()
while True:
    os.write(1, b"x")
END
