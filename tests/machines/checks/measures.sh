# Peaks come from the files of the group, and a limit that ended the script is named.
. /share/common
# Run a command with limits. The reason must contain `$1`, and the peaks must be as in its Python.
# shellcheck disable=SC2154 # work is set in common
measure() {
	limit=$1
	shift
	isosmoke run --engine bubblewrap --memory 60M --processes 40 --json -- bash -c "$*" >"$work/run.json"
	python - "$work/run.json" "$limit" <<-'END'
		import json, sys
		from pathlib import Path
		_, report, limit = sys.argv
		attempt, = json.load(open(report))["scenarios"][0]["attempts"]
		peaks = attempt["evidence"]["peaks"]
		print(attempt["reason"], peaks)
		assert f"{limit} was reached" in attempt["reason"]
		assert limit != "memory" or 50 << 20 < peaks["memory"] <= 60 << 20
		counted = any(Path("/sys/fs/cgroup").glob("*/pids.peak"))
		assert ("processes" in peaks) == counted
		assert limit != "processes" or peaks.get("processes", 40) == 40
		assert peaks["cpu"] > 0
		for resource in ("cpu", "memory", "io"):
		    assert (f"{resource}_pressure" in peaks) == Path("/proc/pressure", resource).exists()
	END
}
for resource in cpu memory io; do
	[ -e /proc/pressure/$resource ] || echo "this kernel does not measure the pressure of $resource"
done
check memory measure memory 'set -o pipefail; head -c 80M /dev/zero | tail | wc -c'
tail -n 1 "$work/output"
# shellcheck disable=SC2016 # the machine's shell expands it
check processes measure processes 'for _ in $(seq 60); do sleep 60 & done; wait'
tail -n 1 "$work/output"
echo DONE
