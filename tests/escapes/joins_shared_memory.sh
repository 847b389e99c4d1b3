# A System V segment of the host (shmget(2)).
python3 -c '
import ctypes, os, sys
found = ctypes.CDLL(None).shmget(int(os.environ["SHARED_KEY"]), 0, 0)
sys.exit(found >= 0 and "escaped: shared memory of the host was found")
'
