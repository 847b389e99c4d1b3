# A credential of the caller's environment that the manifest does not name.
[ -z "${UNNAMED_TOKEN:-}" ] || { echo "escaped: $UNNAMED_TOKEN" >&2; exit 1; }
