# Look for a key in the kernel's keyrings of the caller's login (keyrings(7)).
python3 -c '
import ctypes, errno, os, platform, sys
number = {"x86_64": 249, "aarch64": 218}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
key = libc.syscall(number, b"user", b"isosmoke-test", None, 0)
if key > 0:
    sys.exit("escaped: a key of the caller was found")
print("refused: request_key:", os.strerror(ctypes.get_errno()))
if ctypes.get_errno() not in (errno.ENOKEY, errno.EPERM, errno.EACCES, errno.ENOSYS):
    sys.exit(99)
'
