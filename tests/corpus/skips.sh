# Exit 77: the scenario cannot be tried here.
echo "reason: no model answers" >&2
exit 77
