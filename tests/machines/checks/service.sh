# Root in a service with a limit: a scenario that asks for more does not get it.
. /share/common
write_limits /tmp/limits
sed -i 's/memory = "100M"/memory = "1G"/' /tmp/limits/manifest.toml
check escape_refused expect 1 '1 FAIL' systemd-run --quiet --pipe --wait -p MemoryMax=150M -p MemorySwapMax=0 \
	-p OOMPolicy=continue env HOME=/root ISOSMOKE_STATE=/var/tmp/state-root PATH="$PATH" \
	isosmoke run --engine bubblewrap --manifest /tmp/limits/manifest.toml holds_much
check nothing_left check_nothing_left
echo DONE
