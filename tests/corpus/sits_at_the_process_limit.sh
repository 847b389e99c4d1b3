# All processes that the limit allows are running, so the verdict must not need another one.
python3 - <<'END'
import os
import sys
import time

for _ in range(500):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except BlockingIOError:
        sys.exit(0)
sys.exit("500 processes, and no limit")
END
