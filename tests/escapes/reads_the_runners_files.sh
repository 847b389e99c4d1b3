# Logs of other scenarios, receipts, and the layers of other sandboxes.
for name in "$RUNNERS_STATE"/* .isosmoke/*; do
	[ ! -e "$name" ] || { echo "escaped: $name is there" >&2; exit 1; }
done
