# Not the same as being ended by SIGTERM, though a shell shows both so.
exit 143
