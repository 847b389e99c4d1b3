# Two that fork whenever they can: to freeze them is a race that must be won.
python3 - <<'END'
import os

ready, tell = os.pipe()
if os.fork() == 0:
    while True:
        try:
            os.fork()
        except BlockingIOError:
            os.write(tell, b"full") if tell else None
            tell = 0
os.read(ready, 4)
END
