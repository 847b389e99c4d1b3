# This never starts: the manifest requires a program that does not exist.
exit 1
