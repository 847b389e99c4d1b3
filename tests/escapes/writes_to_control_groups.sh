# Mount control groups in new namespaces (cgroups(7), cgroup_namespaces(7)): create a group in
# each hierarchy, and write the sandbox's memory limit again.
export TMP=${TMPDIR:-/tmp}
cat >$TMP/try.sh <<'END'
refused() { echo "  $1 is refused"; exit 3; }
make_group() { mkdir "$directory/isosmoke-footprint" 2>/dev/null && rmdir "$directory/isosmoke-footprint"; }
write_again() { [ -e "$1" ] && sh -c 'cat "$1" >$TMP/value && cat $TMP/value >"$1"' - "$1" 2>/dev/null; }
kind=$1 options=$2 directory=$TMP/groups-$$
mkdir -p "$directory"
mount -t "$kind" ${options:+-o "$options"} none "$directory" 2>$TMP/why || {
	grep -q -e "denied" -e "not permitted" -e "superuser" $TMP/why && refused mount
	cat $TMP/why
	exit 99
}
[ -e "$directory/cgroup.procs" ] || exit 99
mode=$(stat -c %a "$directory")
write_again "$directory/memory.max" || write_again "$directory/memory.limit_in_bytes" && exit 0
make_group && exit 0
chmod u+w "$directory" 2>/dev/null || refused "mkdir"
make_group
code=$?
chmod "$mode" "$directory"
[ "$code" = 0 ] || refused "mkdir after chmod"
END
outcome=0
while IFS=: read -r _ controllers _; do
	if [ -n "$controllers" ]; then set -- cgroup "$controllers"; else set -- cgroup2 ""; fi
	python3 namespaces.py may-be-refused NEWUSER,NEWNS,NEWCGROUP $TMP/try.sh "$@" || outcome=$?
	[ "$outcome" != 99 ] || exit 99
done </proc/self/cgroup
exit "$outcome"
