# The plainest scenario there is.
echo "all is well"
