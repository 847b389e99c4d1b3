# The corpus of endings, and the attempts to escape, with bubblewrap as root and as an ordinary user.
. /share/common
export ISOSMOKE_REQUIRE_ENGINES=bubblewrap
check corpus pytest -q -p no:cacheprovider tests/integration/test_corpus.py -k bubblewrap
check escapes pytest -q -p no:cacheprovider tests/integration/test_escapes.py -k 'bubblewrap or control_groups'
check nothing_left check_nothing_left
echo DONE
