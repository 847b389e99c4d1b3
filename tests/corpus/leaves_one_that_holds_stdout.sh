# Whoever reads the script's output to its end would wait for the child.
sleep 600 &
