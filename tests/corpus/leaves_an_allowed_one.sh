# The manifest allows this exact command to remain.
sleep 601 >/dev/null 2>&1 &
