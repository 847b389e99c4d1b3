# What the manifest allows is what there is.
test "$(ulimit -n)" = 64
