# Connect to the live service of the workspace's graph, which must not answer.
cd .wg/service || exit 99
python3 -c '
import os, socket, sys
error = socket.socket(socket.AF_UNIX).connect_ex("daemon.sock")
if error == 0:
    sys.exit("escaped: it answers")
print(f"refused: {os.strerror(error)}")
'
