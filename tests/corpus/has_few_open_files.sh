# The manifest's limit is in force.
test "$(ulimit -n)" = 64
