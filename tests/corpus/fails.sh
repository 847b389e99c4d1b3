# A plain failure, with its reason on stderr.
echo "expected 5, got 4" >&2
exit 1
