# Write a setting's current value again, directly and through the /proc of new namespaces.
export TMP=${TMPDIR:-/tmp}
cat >$TMP/again.sh <<'END'
setting=/proc/sys/vm/swappiness
cat $setting >$TMP/value || exit 99
sh -c "cat $TMP/value >$setting" 2>/dev/null || exit 3
END
cat >$TMP/remount.sh <<'END'
mount -o remount,rw,bind /proc/sys 2>/dev/null || mount -o bind /proc/sys /proc/sys || exit 99
exec sh $TMP/again.sh
END
cat >$TMP/another.sh <<'END'
mount -t proc proc /proc 2>$TMP/why && exec sh $TMP/again.sh
grep -q -e "denied" -e "not permitted" -e "superuser" $TMP/why && exit 3
cat $TMP/why
exit 99
END
outcome=0
sh $TMP/again.sh
case $? in
0) echo "escaped: written directly" >&2; outcome=1 ;;
3) echo "refused: written directly" ;;
*) exit 99 ;;
esac
python3 namespaces.py "$NAMESPACES" NEWUSER,NEWNS $TMP/remount.sh || outcome=$?
[ "$outcome" != 99 ] || exit 99
python3 namespaces.py "$NAMESPACES" NEWUSER,NEWNS,NEWPID $TMP/another.sh || outcome=$?
exit "$outcome"
