# Open the caller's terminal, into which commands could then be typed (ioctl_tty(2), TIOCSTI).
[ -c /dev/tty ] || exit 99
! { : >/dev/tty; } 2>/dev/null || { echo "escaped: the caller's terminal is open" >&2; exit 1; }
echo "refused: /dev/tty exists, but cannot be opened"
