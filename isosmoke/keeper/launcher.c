/*
 * launcher: creates one sandbox for root, with the options of bwrap(1) that isosmoke uses.
 *
 * bwrap sets the flags of each bind mount and of the mounts in it one by one, and reads the table
 * of all mounts to find them. In a sandbox of root, which has a mount for each private file, this
 * takes most of the time of a short scenario. The launcher sets them with one system call
 * (mount_setattr(2), Linux 5.12). It leaves user namespaces to bwrap, so only root can use it.
 *
 * Rules:
 *  1. The options are those of bwrap_args.py, in this order: namespaces, capabilities, mounts. They
 *     mean what they mean for bwrap. Any other option is an error.
 *  2. A target is a path inside the sandbox: no link in it leads to a file of the host.
 *  3. The command starts after the last mount, without the host's root, without capabilities other
 *     than the added ones, and after its PID is known to the caller (--info-fd).
 *  4. If the launcher ends before it has reported the PID, its child does not start the command.
 *     However the launcher ends, the kernel kills the child, even while a mount blocks it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* System calls and constants that the headers of older C libraries lack; the numbers are those of
 * every architecture. */
#define CALL_OPEN_TREE 428
#define CALL_MOVE_MOUNT 429
#define CALL_OPENAT2 437
#define CALL_MOUNT_SETATTR 442
#define CLONE_TREE (1 | O_CLOEXEC)   /* OPEN_TREE_CLONE */
#define WITH_SUBMOUNTS 0x8000        /* AT_RECURSIVE */
#define TO_OPEN_PATH 0x40            /* MOVE_MOUNT_T_EMPTY_PATH */
#define TO_OPEN_PATHS (0x04 | 0x40)  /* and MOVE_MOUNT_F_EMPTY_PATH */
#define INSIDE_ROOT 0x10             /* RESOLVE_IN_ROOT */
#define READ_ONLY 1                  /* MOUNT_ATTR_RDONLY */
#define NO_SETUID 2                  /* MOUNT_ATTR_NOSUID */
#define NO_DEVICES 4                 /* MOUNT_ATTR_NODEV */
#define NEW_CGROUP 0x02000000        /* CLONE_NEWCGROUP */

struct attributes { uint64_t set, clear, propagation, user_namespace; };
struct how { uint64_t flags, mode, resolve; };

#define BASE "/tmp"          /* exists everywhere, and no other user can replace it by a link */
#define HOST "/oldroot"      /* the host's root, until all mounts exist */
#define SANDBOX "/newroot"
#define NEW "/newmount"      /* a new file system, until it is moved to its target */
#define MAX_OPTIONS_SIZE 4096 /* mount(2) ignores the rest */

static const char *const capability_names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
	"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
	"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"
};
#define CAPABILITY_COUNT (sizeof capability_names / sizeof *capability_names)

static struct {
	unsigned long namespaces;
	uint32_t capabilities;
	int info; /* the descriptor that receives the PID of the command; -1 for none */
	char **mounts, **command;
} request = { .namespaces = CLONE_NEWNS, .info = -1 };

static int overlays_in_memory; /* so far, each with its own layer */
static int host = -1, sandbox = -1; /* their roots */

/* ---- errors ---- */

__attribute__((noreturn)) static void refuse(const char *what, const char *why)
{
	dprintf(STDERR_FILENO, "launcher: %s: %s\n", what, why);
	_exit(1);
}

__attribute__((noreturn)) static void fail(const char *what)
{
	refuse(what, strerror(errno));
}

static int is_same(const char *text, const char *other)
{
	return strcmp(text, other) == 0;
}

static void join(char path[PATH_MAX], const char *first, const char *second)
{
	if (snprintf(path, PATH_MAX, "%s%s", first, second) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		fail(second);
	}
}

/* ---- paths of the host and of the sandbox ---- */

static int open_root(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	return fd;
}

/* Open a path in one of the roots: links in it do not lead out of the root. Return -1 with errno if
 * there is no such file. */
static int open_in(int root, const char *path)
{
	struct how how = { .flags = O_PATH | O_CLOEXEC, .resolve = INSIDE_ROOT };
	int fd;
	do /* a link to "..", while another process renames or mounts something */
		fd = (int)syscall(CALL_OPENAT2, root, path, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN);
	return fd;
}

#define PRIVATE 0700 /* the mode of a directory that only leads to a mount, as with bwrap */

/* Open a path in the sandbox, which is created if it is missing: a directory with this mode, or for
 * mode 0 an empty file. A directory above it that is missing is created with the mode `above`. */
static int open_mount_point(const char *path, mode_t mode, mode_t above);

/* Open the parent of a path, which is created if it is missing, and set `name` to the last part. */
static int open_parent(const char *path, mode_t above, const char **name)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		refuse(path, "not an absolute path");
	*name = slash + 1;
	/* not on the stack: a path may have thousands of parts */
	char *parent = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	if (!parent)
		fail(path);
	int fd = open_mount_point(parent, above, above);
	free(parent);
	return fd;
}

static int open_mount_point(const char *path, mode_t mode, mode_t above)
{
	int fd = open_in(sandbox, path);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		fail(path);
	const char *name;
	int parent = open_parent(path, above, &name), created;
	if (mode)
		created = mkdirat(parent, name, mode);
	else
		created = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (created < 0)
		fail(path);
	if (!mode)
		close(created);
	close(parent);
	fd = open_in(sandbox, path);
	if (fd < 0)
		fail(path);
	return fd;
}

/* ---- mounts ---- */

static void set_attributes(int fd, unsigned flags, uint64_t set, const char *path)
{
	struct attributes attributes = { .set = set };
	if (syscall(CALL_MOUNT_SETATTR, fd, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes))
		fail(path);
}

/* Mount a file or directory of a root, and what is mounted in it, with at least these attributes.
 * With `may_be_missing`, do nothing if there is no such file. */
static void mount_tree(int root, const char *source, const char *target, uint64_t attributes, int may_be_missing)
{
	struct stat status;
	int opened = open_in(root, source);
	if (opened < 0 && errno == ENOENT && may_be_missing)
		return;
	int tree = opened < 0 ? -1 : (int)syscall(CALL_OPEN_TREE, opened, "", AT_EMPTY_PATH | CLONE_TREE | WITH_SUBMOUNTS);
	if (tree < 0 || fstat(tree, &status))
		fail(source);
	set_attributes(tree, WITH_SUBMOUNTS, attributes, target);
	int point = open_mount_point(target, S_ISDIR(status.st_mode) ? 0755 : 0, PRIVATE);
	if (syscall(CALL_MOVE_MOUNT, tree, "", point, "", TO_OPEN_PATHS))
		fail(target);
	close(point);
	close(tree);
	close(opened);
	if (is_same(target, "/")) {
		close(sandbox);
		sandbox = open_root(SANDBOX);
	}
}

/* Mount a new file system, elsewhere at first: a caller in a user namespace may not enter a directory
 * of a user that is unknown there, but may mount over it. */
static void mount_new(const char *type, const char *target, mode_t above, unsigned long flags, const char *options)
{
	int point = open_mount_point(target, 0755, above);
	if (mount(type, NEW, type, flags, options)
	    || syscall(CALL_MOVE_MOUNT, AT_FDCWD, NEW, point, "", TO_OPEN_PATH))
		fail(target);
	close(point);
}

static void mount_memory(const char *target, mode_t mode)
{
	char options[32];
	mode_t above = 0755; /* whom the directory excludes, the directories above it do too */
	if (!(mode & 0070))
		above &= ~(mode_t)0050;
	if (!(mode & 0007))
		above &= ~(mode_t)0005;
	snprintf(options, sizeof options, "mode=%#o", (unsigned)mode);
	mount_new("tmpfs", target, above, MS_NOSUID | MS_NODEV, options);
}

/* Mount the processes of the sandbox, with the parts read-only through which root controls the
 * kernel, even without capabilities. */
static void mount_processes(const char *target)
{
	static const char *const controls[] = { "/sys", "/sysrq-trigger", "/irq", "/bus" };
	char inside[PATH_MAX];
	mount_new("proc", target, PRIVATE, MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
		join(inside, target, controls[i]);
		if (faccessat(sandbox, inside + 1, W_OK, 0) == 0)
			mount_tree(sandbox, inside, inside, READ_ONLY | NO_SETUID | NO_DEVICES, 0);
		else if (errno != ENOENT && errno != EACCES && errno != EROFS)
			fail(inside);
	}
}

static void link_inside(const char *content, const char *path)
{
	char existing[PATH_MAX];
	const char *name;
	int parent = open_parent(path, PRIVATE, &name);
	if (symlinkat(content, parent, name)) {
		ssize_t size = errno == EEXIST ? readlinkat(parent, name, existing, sizeof existing) : -1;
		if (size < 0)
			fail(path);
		if ((size_t)size != strlen(content) || memcmp(existing, content, (size_t)size))
			refuse(path, "a link to another path exists");
	}
	close(parent);
}

static void mount_devices(const char *target)
{
	static const char *const nodes[] = { "/null", "/zero", "/full", "/random", "/urandom", "/tty" };
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/fd" }, { "/proc/self/fd/0", "/stdin" },
		{ "/proc/self/fd/1", "/stdout" }, { "/proc/self/fd/2", "/stderr" },
		{ "/proc/kcore", "/core" }, { "pts/ptmx", "/ptmx" }
	};
	char source[PATH_MAX], inside[PATH_MAX];
	mount_memory(target, 0755);
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		join(source, "/dev", nodes[i]);
		join(inside, target, nodes[i]);
		mount_tree(host, source, inside, NO_SETUID, 0);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		join(inside, target, links[i][1]);
		link_inside(links[i][0], inside);
	}
	join(inside, target, "/shm");
	close(open_mount_point(inside, 0755, PRIVATE));
	join(inside, target, "/pts");
	mount_new("devpts", inside, PRIVATE, MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
}

/* ---- overlays ---- */

static struct {
	char text[MAX_OPTIONS_SIZE];
	size_t size;
} options;

static void add_character(char character)
{
	if (options.size + 1 >= sizeof options.text)
		refuse("overlay", "its paths are too long");
	options.text[options.size++] = character;
	options.text[options.size] = 0;
}

static void add_text(const char *text)
{
	while (*text)
		add_character(*text++);
}

/* A path may contain the characters that separate options and directories. */
static void add_path(const char *before, const char *path)
{
	for (add_text(before); *path; add_character(*path++))
		if (strchr("\\,:", *path))
			add_character('\\');
}

/* Each directory covers those that are given before it. */
static void mount_overlay(char **sources, size_t count, const char *upper, const char *work, const char *target)
{
	add_path("upperdir=", upper);
	add_path(",workdir=", work);
	for (size_t i = count; i-- > 0;)
		add_path(i + 1 == count ? ",lowerdir=" HOST : ":" HOST, sources[2 * i]);
	add_text(",userxattr");
	mount_new("overlay", target, PRIVATE, 0, options.text);
	options.size = 0;
}

static void mount_overlay_on_disk(char **sources, size_t count, const char *upper, const char *work, const char *target)
{
	char upper_path[PATH_MAX], work_path[PATH_MAX];
	join(upper_path, HOST, upper);
	join(work_path, HOST, work);
	mount_overlay(sources, count, upper_path, work_path, target);
}

static void mount_overlay_in_memory(char **sources, size_t count, const char *target)
{
	char upper[32], work[32];
	int number = overlays_in_memory++;
	snprintf(upper, sizeof upper, "/tmp-overlay-upper-%d", number);
	snprintf(work, sizeof work, "/tmp-overlay-work-%d", number);
	if (mkdir(upper, 0755) || mkdir(work, 0755))
		fail(target);
	mount_overlay(sources, count, upper, work, target);
}

/* ---- the options, in the order of the command line ---- */

static char **require(char **arguments, int count)
{
	for (int i = 0; i <= count; i++)
		if (!arguments[i])
			refuse(arguments[0], "an argument is missing");
	return arguments + count + 1;
}

static uint32_t parse_capability(const char *name)
{
	for (unsigned number = 0; number < CAPABILITY_COUNT; number++)
		if (strncmp(name, "CAP_", 4) == 0 && strcmp(name + 4, capability_names[number]) == 0)
			return UINT32_C(1) << number;
	refuse(name, "no such capability");
}

static unsigned long find_namespace(const char *option)
{
	static const struct { const char *option; unsigned long flag; } namespaces[] = {
		{ "--unshare-pid", CLONE_NEWPID }, { "--unshare-ipc", CLONE_NEWIPC },
		{ "--unshare-uts", CLONE_NEWUTS }, { "--unshare-net", CLONE_NEWNET },
		{ "--unshare-cgroup-try", NEW_CGROUP }
	};
	for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
		if (is_same(option, namespaces[i].option))
			return namespaces[i].flag;
	return 0;
}

/* Parse the options that precede the mounts. The command has an empty environment and is PID 1, and
 * has no capability that is not added, also without the options that say so. */
static void parse_process_options(char **at)
{
	for (;;) {
		unsigned long namespace = *at ? find_namespace(*at) : 0;
		if (!*at)
			refuse("command line", "no command");
		if (namespace) {
			request.namespaces |= namespace;
			at++;
		} else if (is_same(*at, "--cap-drop")) {
			if (!is_same(require(at, 1)[-1], "ALL"))
				refuse(at[1], "only ALL can be dropped");
			at += 2;
		} else if (is_same(*at, "--cap-add")) {
			at = require(at, 1);
			request.capabilities |= parse_capability(at[-1]);
		} else if (is_same(*at, "--info-fd")) {
			at = require(at, 1);
			request.info = (int)strtol(at[-1], NULL, 10);
		} else if (is_same(*at, "--clearenv") || is_same(*at, "--as-pid-1")) {
			at++;
		} else {
			request.mounts = at;
			return;
		}
	}
}

/* Replace a path of the host by one without links, because the kernel resolves the paths of an
 * overlay in the root at that time. */
static void resolve(char **path)
{
	char *real = realpath(*path, NULL);
	if (!real)
		fail(*path);
	*path = real;
}

/* Return the number of arguments of an option for a mount. */
static int count_arguments(const char *option)
{
	static const char *const one[] = { "--proc", "--dev", "--tmpfs", "--perms", "--overlay-src", "--tmp-overlay", "--remount-ro", "--chdir" };
	static const char *const two[] = { "--bind", "--ro-bind", "--ro-bind-try", "--dev-bind", "--symlink" };
	for (size_t i = 0; i < sizeof one / sizeof *one; i++)
		if (is_same(option, one[i]))
			return 1;
	for (size_t i = 0; i < sizeof two / sizeof *two; i++)
		if (is_same(option, two[i]))
			return 2;
	if (is_same(option, "--overlay"))
		return 3;
	refuse(option, "no such option");
}

/* Find the command, and resolve the paths of overlays. */
static void check_mounts(void)
{
	char **at = request.mounts;
	while (*at && !is_same(*at, "--")) {
		char **next = require(at, count_arguments(*at));
		if (is_same(*at, "--overlay-src") || is_same(*at, "--overlay"))
			resolve(&at[1]);
		if (is_same(*at, "--overlay"))
			resolve(&at[2]);
		at = next;
	}
	if (!*at || !at[1])
		refuse("command line", "no command");
	request.command = at + 1;
}

static void mount_one(char **at, mode_t mode, size_t sources)
{
	const char *option = at[0];
	if (is_same(option, "--ro-bind") || is_same(option, "--ro-bind-try"))
		mount_tree(host, at[1], at[2], READ_ONLY | NO_SETUID | NO_DEVICES, is_same(option, "--ro-bind-try"));
	else if (is_same(option, "--bind"))
		mount_tree(host, at[1], at[2], NO_SETUID | NO_DEVICES, 0);
	else if (is_same(option, "--dev-bind"))
		mount_tree(host, at[1], at[2], NO_SETUID, 0);
	else if (is_same(option, "--tmpfs"))
		mount_memory(at[1], mode);
	else if (is_same(option, "--proc"))
		mount_processes(at[1]);
	else if (is_same(option, "--dev"))
		mount_devices(at[1]);
	else if (is_same(option, "--symlink"))
		link_inside(at[1], at[2]);
	else if (is_same(option, "--overlay"))
		mount_overlay_on_disk(at + 1 - 2 * sources, sources, at[1], at[2], at[3]);
	else if (is_same(option, "--tmp-overlay"))
		mount_overlay_in_memory(at + 1 - 2 * sources, sources, at[1]);
	else if (is_same(option, "--remount-ro")) {
		int point = open_mount_point(at[1], 0755, PRIVATE);
		set_attributes(point, 0, READ_ONLY | NO_SETUID | NO_DEVICES, at[1]);
		close(point);
	}
}

/* `--perms` is for the option that follows, and `--overlay-src` for the overlay that follows. */
static const char *mount_all(void)
{
	const char *directory = "/";
	mode_t mode = 0755;
	size_t sources = 0;
	for (char **at = request.mounts; !is_same(*at, "--"); at += count_arguments(*at) + 1) {
		mount_one(at, mode, sources);
		if (is_same(*at, "--chdir"))
			directory = at[1];
		sources = is_same(*at, "--overlay-src") ? sources + 1 : 0;
		mode = is_same(*at, "--perms") ? (mode_t)strtoul(at[1], NULL, 8) : 0755;
	}
	return directory;
}

/* ---- the roots ---- */

/* Make an empty file system the root, with the host's root and an empty root of the sandbox in it.
 * Mounts of the host stay visible, as in bwrap, and mounts of the sandbox never appear there. */
static void enter_base(void)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		fail("cannot detach the mounts from those of the host");
	if (mount("tmpfs", BASE, "tmpfs", MS_NODEV | MS_NOSUID, NULL) || chdir(BASE))
		fail("cannot mount a root");
	if (mkdir("." SANDBOX, 0755) || mkdir("." HOST, 0755) || mkdir("." NEW, 0700))
		fail("cannot create a root");
	if (mount("." SANDBOX, "." SANDBOX, NULL, MS_BIND, NULL))
		fail("cannot mount the root of the sandbox");
	if (syscall(SYS_pivot_root, ".", "." HOST) || chdir("/"))
		fail("cannot change the root");
	host = open_root(HOST);
	sandbox = open_root(SANDBOX);
}

/* Make the root of the sandbox the root, and unmount all other roots. */
static void leave_host(void)
{
	close(host);
	close(sandbox);
	if (mount(NULL, HOST, NULL, MS_REC | MS_PRIVATE, NULL) || umount2(HOST, MNT_DETACH))
		fail("cannot unmount the root of the host");
	int base = open("/", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (base < 0 || chdir(SANDBOX) || syscall(SYS_pivot_root, ".", "."))
		fail("cannot enter the root of the sandbox");
	if (fchdir(base) || umount2(".", MNT_DETACH) || chdir("/"))
		fail("cannot unmount the former root");
	close(base);
}

/* ---- the processes ---- */

static void raise_loopback(void)
{
	struct ifreq interface = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &interface))
		fail("cannot set up the loopback interface");
	close(fd);
}

/* Keep only these capabilities. Without new privileges, a program that is started gets no others. */
static void keep_capabilities(uint32_t kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { kept, kept, kept } };
	if (syscall(SYS_capset, &header, sets))
		fail("cannot drop capabilities");
}

/* End with the launcher (rule 4), which may have ended already: then the child is never released. */
static void end_with_launcher(int released)
{
	struct pollfd waiting = { .fd = released, .events = POLLIN };
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		fail("cannot end with the launcher");
	if (poll(&waiting, 1, 0) > 0 && !(waiting.revents & POLLIN))
		_exit(1);
}

__attribute__((noreturn)) static void start_command(int released)
{
	char *const environment[] = { NULL };
	char byte;
	end_with_launcher(released);
	if (request.namespaces & CLONE_NEWNET)
		raise_loopback();
	mode_t mask = umask(0);
	check_mounts();
	enter_base();
	const char *directory = mount_all();
	leave_host();
	keep_capabilities(request.capabilities);
	umask(mask);
	if (chdir(directory))
		fail(directory);
	if (read(released, &byte, 1) != 1)
		_exit(1); /* rule 4 */
	execve(request.command[0], request.command, environment);
	fail(request.command[0]);
}

static int wait_for_command(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail("cannot wait for the command");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int release[2];
	if (argc < 2 || getuid() != 0)
		refuse("launcher", "only isosmoke calls it, as root");
	parse_process_options(argv + 1);
	signal(SIGCHLD, SIG_DFL); /* if an inherited SIG_IGN stayed, no child could be waited for */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || pipe2(release, O_CLOEXEC))
		fail("cannot prepare a sandbox");
	if (request.info >= 0 && fcntl(request.info, F_SETFD, FD_CLOEXEC))
		fail("--info-fd");
	pid_t pid = (pid_t)syscall(SYS_clone, request.namespaces | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		fail("cannot create namespaces");
	if (pid == 0) {
		close(release[1]);
		start_command(release[0]);
	}
	close(release[0]);
	keep_capabilities(0);
	signal(SIGPIPE, SIG_IGN);
	if (request.info >= 0 && dprintf(request.info, "{\"child-pid\": %d}", pid) < 0)
		fail("--info-fd"); /* the child ends too */
	if (write(release[1], "", 1) < 0 && errno != EPIPE)
		fail("cannot start the command");
	return wait_for_command(pid);
}
