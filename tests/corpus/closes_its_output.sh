# Close all standard streams, and still run to the end.
exec >&- 2>&- <&-
for _ in 1 2 3; do /bin/true; done
exit 0
