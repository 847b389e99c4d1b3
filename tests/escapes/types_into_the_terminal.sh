# What opens the caller's terminal can type commands into it (ioctl_tty(2), TIOCSTI).
[ -c /dev/tty ] || exit 99
! { : >/dev/tty; } 2>/dev/null || { echo "escaped: the caller's terminal is open" >&2; exit 1; }
echo "refused: there is a /dev/tty, and it cannot be opened"
