# A process in another session is out of reach of the script's process group.
setsid sleep 600 >/dev/null 2>&1 &
