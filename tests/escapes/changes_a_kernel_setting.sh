# The value that it has already, directly and through a /proc of namespaces of its own.
setting=/proc/sys/vm/swappiness
again="cat $setting >/tmp/value && cat /tmp/value >$setting"
for try in "$again" "unshare -Urpf --mount-proc bash -c '$again'" \
	"unshare -Urm bash -c 'mount -o remount,rw,bind /proc/sys && $again'"; do
	! eval "$try" 2>/dev/null || { echo "escaped: $try" >&2; exit 1; }
done
