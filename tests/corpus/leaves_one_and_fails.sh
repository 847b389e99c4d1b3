# A failure remains a failure; the leak is listed as well.
sleep 600 >/dev/null 2>&1 &
exit 1
