# SIGTERM is ignored, so SIGKILL follows after the grace.
trap '' TERM
echo "not listening to SIGTERM"
while :; do sleep 0.1; done
