# Only SIGKILL ends this script.
trap '' TERM
while :; do sleep 0.1; done
