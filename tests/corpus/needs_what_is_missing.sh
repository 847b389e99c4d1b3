# Never started: the manifest asks for a program that nobody has.
exit 1
