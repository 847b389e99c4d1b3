# Not text in any encoding, and unsuitable for a terminal.
printf '\0\1\2\377\376\033[2J\r\n'
head -c 4096 /dev/urandom
