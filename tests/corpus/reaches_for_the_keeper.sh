# Change limits, priorities and processors, as a user may for any of their processes. PID 1 has
# the same user, and could not list survivors if it were not allowed to open files.
sleep 600 &
reached=
refused() {
	! "$@" >/dev/null 2>&1 || { echo "PID 1 is reached: $*" >&2; reached=1; }
}
prlimit --pid $$ >/dev/null && taskset -p $$ >/dev/null && ionice -c 3 -p $$ && renice -n 19 -p $$ >/dev/null || exit 99
chrt --idle -p 0 $$ && prlimit --pid 1 >/dev/null || exit 99
refused prlimit --pid 1 --nofile=0:0
refused prlimit --pid 1 --as=4096:4096
refused prlimit --pid 1 --cpu=1:1
refused renice -n 19 -p 1
refused renice -n 19 -g 1
refused renice -n 19 -u "$(id -u)"
refused taskset -p 1 1
refused chrt --idle -p 0 1
refused chrt --other -p 0 1
refused ionice -c 3 -p 1
refused ionice -c 3 -P 1
refused ionice -c 3 -u "$(id -u)"
[ -z "$reached" ]
