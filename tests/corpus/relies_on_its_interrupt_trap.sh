# A shell that was started with SIGINT ignored cannot trap it, which would break such a script.
trap 'echo "cleaned up"; exit 0' INT
kill -INT $$
exit 1
