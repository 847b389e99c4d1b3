# The last line is a line too.
printf 'the last word'
