# With swap, a scenario does not get more memory by swapping.
. /share/common
mkswap /dev/vdc >/dev/null && swapon /dev/vdc
check limits check_limits /tmp/limits
echo DONE
