# With swap, a scenario does not get more memory by swapping.
. /share/common
swapon -L swap
check limits check_limits /tmp/limits
echo DONE
