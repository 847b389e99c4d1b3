# Docker on control groups of version 2, with the driver systemd.
. /share/common
check_docker systemd
echo DONE
