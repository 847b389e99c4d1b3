# A failure stays a failure; the leak is listed beside it.
sleep 600 >/dev/null 2>&1 &
exit 1
