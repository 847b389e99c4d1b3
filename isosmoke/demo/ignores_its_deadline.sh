# SIGTERM is ignored, so SIGKILL follows after the grace period.
trap '' TERM
echo "ignoring SIGTERM"
while :; do sleep 0.1; done
