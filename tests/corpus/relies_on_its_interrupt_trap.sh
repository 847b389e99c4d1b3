# A shell started with SIGINT ignored can never trap it: so a runner in the background breaks scripts.
trap 'echo "cleaned up"; exit 0' INT
kill -INT $$
exit 1
