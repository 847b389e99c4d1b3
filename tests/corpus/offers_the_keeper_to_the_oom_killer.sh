# Whoever may make the keeper the first to be killed for want of memory gains no pass by it.
echo 1000 2>/dev/null >/proc/1/oom_score_adj || :
sleep 600 &
