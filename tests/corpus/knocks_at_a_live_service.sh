# The workspace contains the graph directory of a live service: its socket must be unreachable.
python3 - <<'END'
import os
import pathlib
import socket
import sys

for name in (".wg/service/daemon.sock",):
    directory = pathlib.Path(name).parent
    if directory.is_dir():
        (directory / "state.json").write_text("{}")
        os.chdir(directory)
        client = socket.socket(socket.AF_UNIX)
        sys.exit("the live service answered" if client.connect_ex("daemon.sock") == 0 else 0)
END
