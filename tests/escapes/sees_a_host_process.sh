# A process of the host that can be found is one that can be watched.
found=$(grep -ls -- "$VICTIM_NAME" /proc/[0-9]*/cmdline 2>/dev/null)
[ -z "$found" ] || { echo "escaped: $found is a process of the host" >&2; exit 1; }
