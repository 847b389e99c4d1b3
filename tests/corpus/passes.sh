# The simplest scenario.
echo "all is well"
