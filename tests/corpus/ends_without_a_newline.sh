# The last line counts even without a newline.
printf 'the last word'
