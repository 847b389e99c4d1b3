# Exit 77: it cannot be tried here.
echo "reason: no model answers" >&2
exit 77
