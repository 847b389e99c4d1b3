# Two processes fork whenever they can: freezing them is a race that the keeper must win.
python3 - <<'END'
import os

source, sink = os.pipe()
if os.fork() == 0:
    while True:
        try:
            os.fork()
        except BlockingIOError:
            os.write(sink, b"full") if sink else None
            sink = 0
os.read(source, 4)
END
