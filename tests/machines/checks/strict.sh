# No programs in /tmp, the processes of others hidden, and few process numbers.
. /share/common
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 none /tmp
mount -o remount,hidepid=2 /proc
sysctl -q -w kernel.pid_max=4096
work=$(mktemp -d) && export work
mkdir -p /tmp/limits
check demo isosmoke demo
check limits check_limits /tmp/limits
check exec isosmoke-exec true
as_user() {
	su --login ordinary -c "mkdir -p project && cd project && PATH=$PATH ISOSMOKE_STATE=/var/tmp/state-ordinary $*"
}
check user_demo as_user isosmoke demo
check user_exec as_user isosmoke-exec true
check leak_is_found expect 1 '1 LEAK' as_user isosmoke run --engine bubblewrap -- "sh -c 'sleep 600 &'"
echo DONE
