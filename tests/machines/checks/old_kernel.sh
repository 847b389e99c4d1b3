# Linux before 5.11 is refused in one clear line.
. /share/common
write_limits /tmp/limits
check refused expect 125 'bubblewrap needs Linux 5.11 or later, this is 5.10' \
	isosmoke run --engine bubblewrap --manifest /tmp/limits/manifest.toml
check remedy expect 125 'try: use --engine docker' isosmoke doctor
echo DONE
