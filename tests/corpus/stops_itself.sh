# A stopped process cannot act on SIGTERM; the deadline must still end it.
kill -STOP $$
echo "the script was resumed" >&2
exit 1
