# A name, a home that can be written, a folder for temporary files, a locale that knows UTF-8.
set -e
test "$(id -un)" = "$USER"
test "$(whoami)" = "$(getent passwd "$(id -u)" | cut -d: -f1)"
test -w "$HOME" && test -z "$(ls -A "$HOME")"
test ~ = "$HOME"
mktemp >/dev/null
test "$(locale charmap)" = UTF-8
word=$'\u00fc'
test "${#word}" = 1
