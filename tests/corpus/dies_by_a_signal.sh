# Crash the script itself.
ulimit -c 0
kill -SEGV $$
