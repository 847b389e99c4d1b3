# The tests of control groups, and the contract of bubblewrap, as root.
. /share/common
export ISOSMOKE_REQUIRE_ENGINES=bubblewrap
check cgroup_tests pytest -q -p no:cacheprovider tests/engines/test_cgroup.py
check contract pytest -q -p no:cacheprovider tests/engines/test_contract.py -k bubblewrap
check nothing_left check_nothing_left
echo DONE
