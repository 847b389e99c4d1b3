# Only SIGKILL ends it.
trap '' TERM
while :; do sleep 0.1; done
