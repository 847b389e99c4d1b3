# No other process runs here: PID 1 is the keeper, and this shell is its only child.
set -eu
others=0
for process in /proc/[0-9]*; do
	case ${process#/proc/} in
	1 | "$$") ;;
	*) others=$((others + 1)) ;;
	esac
done
echo "$others other processes"
test "$others" -eq 0
