# Read a credential in the caller's environment that the manifest does not name.
[ -n "${VICTIM_NAME:-}" ] || exit 99
[ -z "${UNNAMED_TOKEN:-}" ] || { echo "escaped: $UNNAMED_TOKEN" >&2; exit 1; }
echo "refused: it is not set, although others are"
