# The kernel's keyrings of the caller's login (keyrings(7)).
python3 -c '
import ctypes, platform, sys
number = {"x86_64": 249, "aarch64": 218}[platform.machine()]
key = ctypes.CDLL(None).syscall(number, b"user", b"isosmoke-test", None, 0)
sys.exit(key > 0 and "escaped: a key of the caller was found")
'
