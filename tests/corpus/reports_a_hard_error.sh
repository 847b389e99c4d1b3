# Exit 99: the script's own preparation failed, so there is no verdict on the program.
echo "the fixture could not be built" >&2
exit 99
