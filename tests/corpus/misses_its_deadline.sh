# SIGTERM at the deadline ends it at once.
sleep 600
