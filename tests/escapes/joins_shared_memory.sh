# Look for a System V segment of the host (shmget(2)).
python3 -c '
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(int(os.environ["SHARED_KEY"]), 0, 0) >= 0:
    sys.exit("escaped: shared memory of the host was found")
print("refused: shmget:", os.strerror(ctypes.get_errno()))
if ctypes.get_errno() != errno.ENOENT:
    sys.exit(99)
'
