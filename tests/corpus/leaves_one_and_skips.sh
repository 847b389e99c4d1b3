# A skip that leaves something behind is no skip.
sleep 600 >/dev/null 2>&1 &
exit 77
