# With the capabilities of a user namespace of its own.
for try in "mount -o remount,rw,bind /usr" "umount /usr" "mount -o remount,rw /"; do
	unshare -Urm bash -c "$try && touch /usr/isosmoke-footprint" 2>/dev/null || continue
	echo "escaped: $try" >&2
	exit 1
done
