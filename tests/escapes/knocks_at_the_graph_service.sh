# The live service of the workspace's graph must not answer.
cd .wg/service || exit 99
python3 -c '
import socket, sys
sys.exit(socket.socket(socket.AF_UNIX).connect_ex("daemon.sock") == 0 and "escaped: it answers")
'
