# This differs from an end by SIGTERM, although a shell reports both alike.
exit 143
