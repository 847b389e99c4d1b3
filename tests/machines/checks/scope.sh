# An ordinary user in a delegated scope of the user's own systemd, who has both limits.
. /share/common
mkdir -p /home/ordinary/limits
cat >/tmp/inside.sh <<'END'
. /share/common
export ISOSMOKE_STATE=/var/tmp/state-ordinary HOME=/home/ordinary
write_limits /home/ordinary/limits
run="systemd-run --quiet --user --scope -p Delegate=yes isosmoke"
$run doctor --json >"$work/doctor.json"
cat "$work/doctor.json"
grep -q '"memory_limit": *true' "$work/doctor.json" &&
	expect 1 'memory was reached' $run run --engine bubblewrap --manifest /home/ordinary/limits/manifest.toml holds_much &&
	expect 0 '1 PASS' $run run --engine bubblewrap --manifest /home/ordinary/limits/manifest.toml reads_its_limit
END
chown -R ordinary: /home/ordinary
loginctl enable-linger ordinary
check scope su --login ordinary -c "XDG_RUNTIME_DIR=/run/user/$(id -u ordinary) sh /tmp/inside.sh"
echo DONE
