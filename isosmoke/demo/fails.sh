# A plain failure: the report shows its output and its exit code.
echo "adding two and two"
test $((2 + 2)) -eq 5 || {
	echo "expected 5, got $((2 + 2))" >&2
	exit 1
}
