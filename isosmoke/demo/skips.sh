# Exit 77 says: this cannot be tried here. It never blocks, and it is never quiet.
echo "no model answers at http://localhost:9/v1" >&2
exit 77
