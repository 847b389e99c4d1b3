# Exit 99: its own preparation broke, which says nothing about the program.
echo "the fixture could not be built" >&2
exit 99
