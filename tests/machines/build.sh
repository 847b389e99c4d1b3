#!/bin/sh
# Build in the current directory what the machines boot: `build.sh root SUITE` a disk with a Debian,
# `build.sh kernel SERIES` a kernel with its initial file system, `build.sh uml SERIES` the same
# kernel as a program (user-mode Linux) with its modules and libraries. What is already there is kept.
set -eu
here=$(dirname "$(realpath "$0")")
mirror=${ISOSMOKE_DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=systemd,systemd-sysv,libpam-systemd,dbus,dbus-user-session,udev,kmod,procps,iproute2,\
apparmor,docker.io,python3,python3-venv,bubblewrap,git,tmux,gcc,libc6-dev,less
modules="virtio_pci virtio_blk ext4 9p 9pnet_virtio virtio_rng overlay autofs4"
uml_modules="overlay"

build_root() {
	root=$PWD/root-$1
	if [ "$(cat "$root/built" 2>/dev/null)" != "$packages" ]; then
		rm -rf "$root" "$root.ext4"
		debootstrap --variant=minbase --include="$packages" "$1" "$root" "$mirror"
		chroot "$root" useradd --create-home --shell /bin/bash ordinary
		echo machine >"$root/etc/hostname"
		echo '127.0.0.1 localhost machine' >"$root/etc/hosts"
		mkdir -p "$root/share" "$root/opt/isosmoke"
		rm -f "$root"/var/cache/apt/archives/*.deb
		rm -f "$root"/etc/systemd/system/*.wants/*docker.* \
			"$root"/etc/systemd/system/*.wants/containerd.* "$root"/etc/systemd/system/*.wants/e2scrub*
		echo "$packages" >"$root/built"
	fi
	cmp -s "$here/agent.sh" "$root/usr/local/sbin/machine-agent" || rm -f "$root.ext4"
	[ ! -e "$root.ext4" ] || return 0
	install_agent
	truncate -s 3G "$root.ext4.part"
	mke2fs -q -t ext4 -d "$root" "$root.ext4.part"
	mv "$root.ext4.part" "$root.ext4"
}

# The agent runs the scripts that the host puts into the shared directory.
install_agent() {
	install -m 755 "$here/agent.sh" "$root/usr/local/sbin/machine-agent"
	cat >"$root/etc/systemd/system/machine-agent.service" <<-'END'
		[Unit]
		Description=Run the scripts in the shared directory
		After=systemd-user-sessions.service systemd-logind.service dbus.service
		[Service]
		ExecStart=/usr/local/sbin/machine-agent
		KillMode=process
		[Install]
		WantedBy=multi-user.target
	END
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	ln -sf ../machine-agent.service "$root/etc/systemd/system/multi-user.target.wants/"
}

# Which Debian has a series of kernels.
find_suite() {
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	*) echo "build: no suite is known for Linux $1" >&2 && return 1 ;;
	esac
}

# Run apt with package lists of our own, so that the host's stay as they are.
run_apt() {
	program=$1 lists=$2
	shift 2
	"$program" -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$lists/lists" -o Dir::State::Status="$lists/status" \
		-o Dir::Cache="$lists/cache" "$@"
}

# Prepare the directory `$1` for packages of the Debian that has the kernels `$2`.
prepare_packages() {
	rm -rf "$1"
	mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial" "$1/files"
	touch "$1/apt/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror" \
		"$(find_suite "$2") main" >"$1/apt/sources.list"
	run_apt apt-get "$1/apt" -qq update
}

# Unpack the package `$2` into the directory `files` of `$1`.
unpack() {
	(cd "$1" && run_apt apt-get "$1/apt" -qq download "$2")
	dpkg-deb -x "$1"/*.deb "$1/files"
	rm "$1"/*.deb
}

build_uml() {
	kernel=$PWD/kernels/uml-$1
	build_preloaded
	[ ! -e "$kernel/linux.uml" ] || return 0
	prepare_packages "$kernel" "$1"
	unpack "$kernel" user-mode-linux
	unpack "$kernel" libc6
	libc=$(find "$kernel/files" -name libc.so.6 -path '*x86_64*')
	mv "$(dirname "$libc")" "$kernel/libraries"
	mkdir "$kernel/modules"
	for module in $uml_modules; do
		find "$kernel/files" -name "$module.ko" -exec cp {} "$kernel/modules/" ';'
	done
	mv "$kernel/files/usr/bin/linux.uml" "$kernel/linux.uml"
	rm -rf "$kernel/files" "$kernel/apt"
}

# It uses nothing of the C library that differs between versions of Debian.
build_preloaded() {
	mkdir -p kernels
	cc -std=gnu11 -O2 -Wall -Wextra -shared -fPIC -o kernels/registers.so "$here/registers.c"
}

build_kernel() {
	series=$1
	kernel=$PWD/kernels/kernel-$series
	[ ! -e "$kernel/initrd" ] || return 0
	prepare_packages "$kernel" "$series"
	package=$(run_apt apt-cache "$kernel/apt" depends linux-image-amd64 |
		sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	unpack "$kernel" "$package"
	[ -d "$kernel/files/lib" ] || ln -s usr/lib "$kernel/files/lib"
	release=$(basename "$kernel"/files/lib/modules/*)
	depmod -b "$kernel/files" "$release"
	mv "$kernel/files/boot/vmlinuz-$release" "$kernel/vmlinuz"
	build_initrd "$kernel" "$release"
	rm -rf "$kernel/files" "$kernel/apt"
}

# The smallest initial file system that mounts the root: busybox, and all modules that are needed.
build_initrd() {
	tree=$1/tree
	mkdir -p "$tree/bin" "$tree/new" "$tree/dev" "$tree/proc" "$tree/modules"
	cp "$(command -v busybox)" "$tree/bin/busybox"
	for module in $modules; do
		modprobe -d "$1/files" --set-version "$2" --show-depends "$module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
		name=$(basename "$file")
		case $name in
		*.xz) name=${name%.xz} && xz -dc "$file" >"$tree/modules/$name" ;;
		*) cp "$file" "$tree/modules/$name" ;;
		esac
		echo "$name" >>"$tree/modules/order"
	done
	cat >"$tree/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox mount -t devtmpfs dev /dev
		/bin/busybox mount -t proc proc /proc
		while read -r name; do /bin/busybox insmod "/modules/$name"; done </modules/order
		until [ -b /dev/vda ]; do :; done
		/bin/busybox mount -t ext4 /dev/vda /new
		/bin/busybox mount --move /dev /new/dev
		/bin/busybox umount /proc
		exec /bin/busybox switch_root /new /sbin/init
	END
	chmod 755 "$tree/init"
	(cd "$tree" && find . | busybox cpio -o -H newc) 2>/dev/null |
		gzip -1 >"$1/initrd.part"
	mv "$1/initrd.part" "$1/initrd"
	rm -rf "$tree"
}

what=$1
shift
"build_$what" "$@"
