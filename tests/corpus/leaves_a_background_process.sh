# The plainest leak: a child in the background, its output elsewhere.
sleep 600 >/dev/null 2>&1 &
