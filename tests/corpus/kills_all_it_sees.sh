# Kill every process that may be signalled; the keeper is not among them.
sleep 600 &
kill -9 -1
exit 0
