# Root in a system service next to other programs: doctor, the demo, limits.
. /share/common
check doctor check_doctor true true true
check demo isosmoke demo
check limits check_limits /tmp/limits
check nothing_left check_nothing_left
echo DONE
