# An ordinary user in a login session, who has limits of processes only.
. /share/common
cat >/tmp/session.sh <<'END'
export ISOSMOKE_STATE=/var/tmp/state-ordinary HOME=/home/ordinary
. /share/common
export ISOSMOKE_STATE=/var/tmp/state-ordinary HOME=/home/ordinary
cat /proc/self/cgroup
check_doctor true false true && grep -q 'systemd-run --user --scope -p Delegate=yes isosmoke' "$work/doctor.json" &&
	isosmoke demo
END
check session su --login ordinary -c 'sh /tmp/session.sh'
echo DONE
