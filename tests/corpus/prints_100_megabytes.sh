# More than anybody wants to keep.
head -c 104857600 /dev/zero
