# A plain failure: what it printed and its exit code are shown.
echo "adding two and two"
test $((2 + 2)) -eq 5 || {
	echo "expected 5, got $((2 + 2))" >&2
	exit 1
}
