# The tests of control groups, and the contract of bubblewrap, as root and as an ordinary user.
. /share/common
export ISOSMOKE_REQUIRE_ENGINES=bubblewrap
check cgroup_tests pytest -q -p no:cacheprovider tests/engines/test_cgroup.py
check contract pytest -q -p no:cacheprovider tests/engines/test_contract.py \
	-k 'test_engine_keeps_the_contract and bubblewrap'
check nothing_left check_nothing_left
echo DONE
