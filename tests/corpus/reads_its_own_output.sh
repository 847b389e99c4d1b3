# Threads read the output before the keeper can: it is lost, but the keeper does not wait.
python3 - <<'END'
import os
import threading

source = os.open("/proc/self/fd/1", os.O_RDONLY)


def steal():
    while True:
        os.read(source, 1 << 16)


for _ in range(7):
    threading.Thread(target=steal, daemon=True).start()
for _ in range(20_000):
    os.write(1, b"x")
os._exit(0)
END
