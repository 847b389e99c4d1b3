# The user has a name, a writable home, a directory for temporary files and a UTF-8 locale.
set -e
test "$(id -un)" = "$USER"
test "$(whoami)" = "$(getent passwd "$(id -u)" | cut -d: -f1)"
test -w "$HOME" && test -z "$(ls -A "$HOME")"
test ~ = "$HOME"
mktemp >/dev/null
test "$(locale charmap)" = UTF-8
word=$'\u00fc'
test "${#word}" = 1
