# Signal a process of the host. Signal 0 shows whether any other could be sent.
kill -0 $$ && [ -n "$VICTIM_PID" ] || exit 99
! kill -0 "$VICTIM_PID" 2>/dev/null || { echo "escaped: $VICTIM_PID can be signalled" >&2; exit 1; }
echo "refused: $VICTIM_PID does not exist here"
