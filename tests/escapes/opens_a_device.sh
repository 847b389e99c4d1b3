# Open memory, the kernel's log and disks. The read of /dev/zero proves that the tool works.
head -c 1 /dev/zero >/dev/null || exit 99
for name in /dev/mem /dev/kmsg /dev/port /dev/[svx]d[a-z]* /dev/nvme* /dev/loop0 /dev/dm-*; do
	[ ! -r "$name" ] || ! head -c 1 "$name" >/dev/null 2>&1 ||
		{ echo "escaped: $name can be read" >&2; exit 1; }
done
echo "refused: no device of the host can be read"
