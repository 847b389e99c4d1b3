# As loggers do; with a socket instead of a pipe this is refused.
set -e
echo "to stderr" >/dev/stderr
echo "to stdout" >/dev/stdout
echo "to descriptor 2" >/proc/self/fd/2
