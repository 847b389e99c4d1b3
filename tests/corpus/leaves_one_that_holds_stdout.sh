# A reader that waits for the end of the script's output would wait for the child.
sleep 600 &
