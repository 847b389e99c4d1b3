# Docker on control groups of version 2, with the driver cgroupfs.
. /share/common
check_docker cgroupfs
echo DONE
