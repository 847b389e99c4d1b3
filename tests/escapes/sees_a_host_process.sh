# Find a process of the host; a process that can be found can be watched.
grep -qs -- "$0" /proc/$$/cmdline && [ -n "$VICTIM_NAME" ] || exit 99
found=$(grep -ls -- "$VICTIM_NAME" /proc/[0-9]*/cmdline 2>/dev/null)
[ -z "$found" ] || { echo "escaped: $found is a process of the host" >&2; exit 1; }
echo "refused: no process in /proc is the victim"
