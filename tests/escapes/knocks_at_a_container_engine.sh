# Connect to a container engine: a client of one is root on the host.
python3 -c '
import os, socket, sys
home, runtime = os.environ["HOME"], f"/run/user/{os.getuid()}"
for path in ("/var/run/docker.sock", "/run/docker.sock", f"{runtime}/docker.sock",
             "/run/podman/podman.sock", f"{runtime}/podman/podman.sock",
             "/run/containerd/containerd.sock", f"{home}/.docker/run/docker.sock"):
    error = socket.socket(socket.AF_UNIX).connect_ex(path)
    if error == 0:
        sys.exit(f"escaped: {path} answers")
    print(f"refused: {path}: {os.strerror(error)}")
'
