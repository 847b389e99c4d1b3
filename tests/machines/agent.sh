#!/bin/sh
# Run each script that the host puts into the shared directory, then power off.
# The output and the exit status of `NAME.sh` are in `NAME.log` and `NAME.status`.
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /share ||
	mount -t hostfs none /share
mount LABEL=project /opt/isosmoke
for module in /share/modules/*.ko; do
	[ ! -e "$module" ] || insmod "$module"
done
touch /share/booted
for script in /share/*.sh; do
	name=${script%.sh}
	timeout 3000 sh "$script" >"$name.log" 2>&1 </dev/null
	echo $? >"$name.status"
done
sync
systemctl poweroff
