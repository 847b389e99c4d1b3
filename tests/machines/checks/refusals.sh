# Each switch that refuses sandboxes to an ordinary user is named, with its remedy.
. /share/common
write_limits /tmp/limits
as_user() {
	su --login ordinary -c "PATH=$PATH ISOSMOKE_STATE=/var/tmp/state-ordinary $*"
}
try() {
	expect 125 "$1" as_user isosmoke run --engine bubblewrap --manifest /tmp/limits/manifest.toml &&
		expect 125 "$1" as_user isosmoke doctor
}
try_exec() {
	expect 125 "$1" as_user isosmoke-exec true
}
for maximum in user=0 user=1 mnt=0; do
	setting=user.max_${maximum%=*}_namespaces
	before=$(sysctl -n "$setting")
	sysctl -q -w "$setting=${maximum#*=}"
	check "$setting=${maximum#*=}" try "sudo sysctl -w $setting=15000"
	[ "$maximum" = user=1 ] || check "exec_$setting=${maximum#*=}" try_exec "sudo sysctl -w $setting=15000"
	sysctl -q -w "$setting=$before"
done
sysctl -q -w kernel.unprivileged_userns_clone=0
check unprivileged_userns_clone try 'sudo sysctl -w kernel.unprivileged_userns_clone=1'
check exec_unprivileged_userns_clone try_exec 'sudo sysctl -w kernel.unprivileged_userns_clone=1'
sysctl -q -w kernel.unprivileged_userns_clone=1
bwrap=$(find /opt/isosmoke/.venv -name bwrap -type f)
cat >/etc/apparmor.d/strict-bwrap <<END
profile strict-bwrap $bwrap {
  file,
  unix,
}
END
apparmor_parser -r /etc/apparmor.d/strict-bwrap
check apparmor try 'AppArmor profile strict-bwrap confines'
apparmor_parser -R /etc/apparmor.d/strict-bwrap
echo DONE
