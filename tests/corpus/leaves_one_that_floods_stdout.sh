# The child prints forever, faster than any reader.
yes &
