# More output than isosmoke keeps.
head -c 104857600 /dev/zero
