# A stopped process cannot act on SIGTERM; the deadline must end it all the same.
kill -STOP $$
echo "somebody went on with it" >&2
exit 1
