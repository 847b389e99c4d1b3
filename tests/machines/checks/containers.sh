# Containers of Docker on this machine, without privileges as CI runners have them, and as root.
. /share/common
write_limits /tmp/limits
start_docker systemd
build_image
docker info --format '{{.SecurityOptions}}'
run_inside() {
	docker run --rm --network none --volume /opt/isosmoke:/opt/isosmoke:ro --volume /share:/share \
		--volume /tmp/limits:/limits --workdir /tmp --env PATH --env LANG "$@"
}
# The options in the remedy that the last command printed; doctor indents it further.
# shellcheck disable=SC2154 # work is set in common
read_options() {
	sed -n 's/^  try: start the container with \(--[^,;]*\).*/\1/p' "$work/expected"
}
# The shell shares the group of the container, so limits have no effect, until the group is divided as doctor says.
cat >/tmp/limits/divide.sh <<'END'
. /share/common
isosmoke doctor | sed -n 's/.*divide the group of this container first, with `\([^`]*\)`.*/\1/p' | head -n 1 >/tmp/divide
cat /tmp/divide
sh /tmp/divide
check_limits /limits
END
check privileged_state_is_named expect 125 'of a container: --volume /var/tmp --env' run_inside --privileged machine \
	isosmoke run --engine bubblewrap -- true
check privileged_note expect 0 'limits.memory has no effect' run_inside --privileged --volume /var/tmp machine \
	sh -c '. /share/common; isosmoke run --engine bubblewrap --memory 60M -- true'
check privileged_divided run_inside --privileged --volume /var/tmp machine sh /limits/divide.sh
check privileged_first_process expect 1 'memory was reached' run_inside --privileged --volume /var/tmp \
	--env ISOSMOKE_STATE=/var/tmp/isosmoke machine \
	isosmoke run --engine bubblewrap --manifest /limits/manifest.toml holds_much
for user in root ordinary; do
	for program in isosmoke isosmoke-exec; do
		command="echo ran" output=ran
		[ $program = isosmoke-exec ] || command="run --engine bubblewrap -- $command" output='1 PASS'
		# shellcheck disable=SC2086
		check "${program}_names_the_filter_to_$user" expect 125 'a seccomp filter is in force, such as' \
			run_inside --user $user machine $program $command
		options=$(read_options)
		echo "remedy: $options"
		[ $program = isosmoke-exec ] || all_options=$options
		# shellcheck disable=SC2086
		check "${program}_works_with_the_options_for_$user" expect 0 "$output" \
			run_inside --user $user $options machine $program $command
	done
	check "doctor_names_the_filter_to_$user" expect 125 'a seccomp filter is in force, such as' \
		run_inside --user $user machine isosmoke doctor
done
# Without any one of the options, the next refuses, and is named. It is the only one in its remedy.
for option in $(echo "$all_options" | grep -o 'security-opt [a-z]*\|volume [^ ]*' | tr ' ' '='); do
	others=$(echo "$all_options" | sed "s|--$(echo "$option" | tr '=' ' ')[^ ]*||; s|--env [^ ]*||")
	[ "${option%%=*}" = volume ] || others="$others --env ISOSMOKE_STATE=/var/tmp/isosmoke"
	# shellcheck disable=SC2086
	check "without_$option" expect 125 "--${option%%=*} ${option#*=}" \
		run_inside --user ordinary $others machine isosmoke run --engine bubblewrap -- true
done
echo DONE
