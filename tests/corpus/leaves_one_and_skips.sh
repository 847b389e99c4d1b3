# A skip that leaves a process is a leak.
sleep 600 >/dev/null 2>&1 &
exit 77
