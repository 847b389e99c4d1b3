# Try to write a keeper's message to each of the keeper's descriptors; none can be opened.
forged=0
for descriptor in /proc/1/fd/* $(seq -f '/proc/1/fd/%.0f' 0 63); do
	if printf 'X\0\0\0\4\0\0\0\0' 2>/dev/null >"$descriptor"; then forged=1; fi
	if exec 9<"$descriptor"; then forged=1; fi
done 2>/dev/null
exit "$forged"
