# All of these changes are discarded: none may be visible on the host.
set -e
here=$(dirname "$0")
echo "a footprint" >"$here/footprint"
echo "# changed" >>"$here/passes.sh"
rm "$here/fails.sh"
mkdir -p "$here/deep/er" && mv "$here/skips.sh" "$here/deep/er"
touch /tmp/isosmoke-footprint /var/tmp/isosmoke-footprint "$HOME/isosmoke-footprint"
test -e "$here/deep/er/skips.sh" && test ! -e "$here/fails.sh"
