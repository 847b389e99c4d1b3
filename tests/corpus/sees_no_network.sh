# `network = "isolated"` leaves only loopback.
set -e
test "$(wc -l </proc/net/route)" -le 1
python3 - <<'END'
import socket

server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
END
