# Exit 77 means that the scenario cannot run here. It never blocks, but it is always reported.
echo "no model answers at http://localhost:9/v1" >&2
exit 77
