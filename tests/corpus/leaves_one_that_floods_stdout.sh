# The child prints for ever, faster than anybody reads.
yes &
