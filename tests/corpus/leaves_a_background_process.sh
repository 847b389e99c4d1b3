# The simplest leak: a child in the background, with its output redirected.
sleep 600 >/dev/null 2>&1 &
