/*
 * The first effect of a program and its descendants outside its own outputs: a changed file, a
 * connection, a signal, a process that stays. standin.c includes this file.
 *
 * The program is traced (ptrace(2)) until the first effect or its end. A system call that may have
 * an effect counts as one, so only a program that is shown to read and print counts as free of
 * effects. The calls are named by the man pages of section 2.
 */
#include <linux/audit.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#if defined __x86_64__
#define NATIVE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "the audit architecture of this machine is not known"
#endif

#define GET_SYSCALL_INFO 0x420e /* PTRACE_GET_SYSCALL_INFO, since Linux 5.3 */
#define ENTRY 1                 /* PTRACE_SYSCALL_INFO_ENTRY */
#define EVENT_STOP 128          /* PTRACE_EVENT_STOP */
#define CLONE_FILE 0x40049409   /* FICLONE of ioctl_ficlone(2) */
#define MAX_TRACED 4096
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE \
	| PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)

struct system_call { /* struct ptrace_syscall_info at the entry of a system call */
	uint8_t op, reserved, flags;
	uint32_t arch;
	uint64_t instruction, stack, number, arguments[6];
};

static struct {
	char effect[512]; /* empty: none so far */
	pid_t pids[MAX_TRACED];
	size_t count;
	int is_over;      /* an effect was found, or the program has ended */
} traced;

static void note_effect(const char *what, const char *where)
{
	if (!*traced.effect)
		snprintf(traced.effect, sizeof traced.effect, "%s%s%s", what, *where ? " " : "", where);
	traced.is_over = 1;
}

/* ---- the memory and the files of a traced process ---- */

/* Read whole words, none of which crosses a page. */
static int peek_memory(pid_t pid, uint64_t from, char *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		size_t skip = (from + done) % sizeof(long), count = sizeof(long) - skip;
		errno = 0;
		long word = ptrace(PTRACE_PEEKDATA, pid, (void *)(uintptr_t)(from + done - skip), NULL);
		if (errno)
			return 0;
		if (count > size - done)
			count = size - done;
		memcpy(to + done, (char *)&word + skip, count);
		done += count;
	}
	return 1;
}

/* Docker's filter of system calls allows ptrace(2) and refuses process_vm_readv(2). */
static int read_memory(pid_t pid, uint64_t from, void *to, size_t size)
{
	struct iovec own = { to, size }, other = { (void *)(uintptr_t)from, size };
	return process_vm_readv(pid, &own, 1, &other, 1, 0) == (ssize_t)size
		|| peek_memory(pid, from, to, size);
}

/* A string may end at the end of a page, so it is read byte by byte. */
static int read_string(pid_t pid, uint64_t from, char *to, size_t capacity)
{
	for (size_t i = 0; i < capacity; i++) {
		if (!read_memory(pid, from + i, to + i, 1))
			return 0;
		if (!to[i])
			return 1;
	}
	return 0;
}

static int stat_descriptor(pid_t pid, int fd, struct stat *status, char *target, size_t capacity)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
	ssize_t size = readlink(path, target, capacity - 1);
	target[size < 0 ? 0 : size] = 0;
	return size >= 0 && stat(path, status) == 0;
}

static int is_own_output(const struct stat *status)
{
	struct stat own;
	for (int fd = 1; fd <= 2; fd++)
		if (fstat(fd, &own) == 0 && own.st_dev == status->st_dev && own.st_ino == status->st_ino)
			return 1;
	return 0;
}

/* A file without a name, and a pipe without one, is seen by no other program. */
static void check_write(pid_t pid, int fd)
{
	struct stat status;
	char target[256];
	if (!stat_descriptor(pid, fd, &status, target, sizeof target) || is_own_output(&status))
		return;
	int is_named_pipe = S_ISFIFO(status.st_mode) && strncmp(target, "pipe:", 5) != 0;
	int is_file = S_ISREG(status.st_mode) && status.st_nlink > 0 && strncmp(target, "/proc/", 6) != 0;
	if (is_file || is_named_pipe)
		note_effect("wrote", target);
}

/* Store where the tracer finds a path of the process; 0 if it cannot be read. */
static int find_path(pid_t pid, int directory, uint64_t at, char *path, size_t capacity, char *given)
{
	if (!read_string(pid, at, given, PATH_MAX))
		return 0;
	if (*given == '/')
		snprintf(path, capacity, "%s", given);
	else if (directory == AT_FDCWD)
		snprintf(path, capacity, "/proc/%d/cwd/%s", pid, given);
	else
		snprintf(path, capacity, "/proc/%d/fd/%d/%s", pid, directory, given);
	return 1;
}

/* Creation and truncation are effects of open(2) itself; others follow when the file is written. */
static void check_open(pid_t pid, int directory, uint64_t at, uint64_t flags)
{
	char path[PATH_MAX + 64], given[PATH_MAX];
	struct stat status;
	if ((flags & O_TMPFILE) == O_TMPFILE || !(flags & (O_CREAT | O_TRUNC)))
		return;
	if (!find_path(pid, directory, at, path, sizeof path, given))
		note_effect("opened", "a path that cannot be read");
	else if (strncmp(given, "/dev/", 5) == 0 || strncmp(given, "/proc/", 6) == 0)
		return;
	else if (stat(path, &status) != 0) {
		if (flags & O_CREAT)
			note_effect("created", given);
	} else if ((flags & O_TRUNC) && S_ISREG(status.st_mode) && status.st_size && !is_own_output(&status))
		note_effect("truncated", given);
}

/* The C library looks for the daemon of nscd(8) at a path that usually does not exist. */
static void check_connect(pid_t pid, uint64_t at, uint64_t size)
{
	struct sockaddr_un address = { 0 };
	if (size > sizeof address || size < sizeof address.sun_family || !read_memory(pid, at, &address, size)) {
		note_effect("connected", "");
		return;
	}
	if (address.sun_family == AF_NETLINK || address.sun_family == AF_UNSPEC)
		return;
	int is_path = address.sun_family == AF_UNIX && address.sun_path[0] == '/';
	address.sun_path[sizeof address.sun_path - 1] = 0;
	if (!is_path || access(address.sun_path, F_OK) == 0)
		note_effect("connected", is_path ? address.sun_path : "");
}

static void check_send(pid_t pid, uint64_t at, uint64_t size)
{
	if (at && size)
		check_connect(pid, at, size);
}

/* ---- system calls ---- */

static const struct { long number; const char *name; } CHANGES[] = {
#ifdef SYS_unlink
	{ SYS_unlink, "unlink" }, { SYS_rename, "rename" }, { SYS_mkdir, "mkdir" }, { SYS_rmdir, "rmdir" },
	{ SYS_link, "link" }, { SYS_symlink, "symlink" }, { SYS_chmod, "chmod" }, { SYS_chown, "chown" },
	{ SYS_lchown, "lchown" }, { SYS_mknod, "mknod" }, { SYS_utime, "utime" }, { SYS_utimes, "utimes" },
	{ SYS_futimesat, "futimesat" },
#endif
#ifdef SYS_renameat
	{ SYS_renameat, "renameat" },
#endif
	{ SYS_unlinkat, "unlinkat" }, { SYS_renameat2, "renameat2" }, { SYS_mkdirat, "mkdirat" },
	{ SYS_linkat, "linkat" }, { SYS_symlinkat, "symlinkat" }, { SYS_truncate, "truncate" },
	{ SYS_fchmod, "fchmod" }, { SYS_fchmodat, "fchmodat" }, { 452, "fchmodat2" }, { SYS_fchown, "fchown" },
	{ SYS_fchownat, "fchownat" }, { SYS_mknodat, "mknodat" }, { SYS_utimensat, "utimensat" },
	{ SYS_setxattr, "setxattr" }, { SYS_lsetxattr, "lsetxattr" }, { SYS_fsetxattr, "fsetxattr" },
	{ SYS_removexattr, "removexattr" }, { SYS_lremovexattr, "lremovexattr" },
	{ SYS_fremovexattr, "fremovexattr" }, { SYS_mount, "mount" }, { SYS_umount2, "umount2" },
	{ SYS_bind, "bind" }, { SYS_ptrace, "ptrace" }, { SYS_shmget, "shmget" }, { SYS_semget, "semget" },
	{ SYS_msgget, "msgget" }, { SYS_mq_open, "mq_open" }, { 425, "io_uring_setup" },
	{ 424, "pidfd_send_signal" }, { SYS_rt_sigqueueinfo, "rt_sigqueueinfo" },
	{ SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo" }, { SYS_process_vm_writev, "process_vm_writev" },
};

static const long WRITES[] = { /* their first argument is the descriptor that they write to */
	SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_ftruncate, SYS_fallocate,
	SYS_sendfile, SYS_vmsplice,
};

static int is_same_process(pid_t pid, int other)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task/%d", other, pid);
	return other == pid || access(path, F_OK) == 0;
}

static void check_signal(const struct system_call *entry, pid_t pid)
{
	int signal_at = entry->number == SYS_tgkill ? 2 : 1;
	if (entry->arguments[signal_at] && !is_same_process(pid, (int)entry->arguments[0]))
		note_effect("sent a signal", "");
}

static void check_mapping(const struct system_call *entry, pid_t pid)
{
	if ((entry->arguments[3] & MAP_SHARED) && (entry->arguments[2] & PROT_WRITE)
	    && !(entry->arguments[3] & MAP_ANONYMOUS))
		check_write(pid, (int)entry->arguments[4]);
}

static void check_message(const struct system_call *entry, pid_t pid)
{
	struct msghdr message;
	if (!read_memory(pid, entry->arguments[1], &message, sizeof message))
		note_effect("sent a message", "");
	else
		check_send(pid, (uint64_t)(uintptr_t)message.msg_name, message.msg_namelen);
}

static void check_named_call(const struct system_call *entry)
{
	for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++)
		if ((long)entry->number == CHANGES[i].number)
			note_effect("called", CHANGES[i].name);
}

static void check_open_call(const struct system_call *entry, pid_t pid)
{
	const uint64_t *arguments = entry->arguments;
	uint64_t flags;
	if (entry->number == SYS_openat)
		check_open(pid, (int)arguments[0], arguments[1], arguments[2]);
	else if (entry->number == 437) { /* openat2: its third argument points to the flags */
		if (read_memory(pid, arguments[2], &flags, sizeof flags))
			check_open(pid, (int)arguments[0], arguments[1], flags);
		else
			note_effect("opened", "a path that cannot be read");
	}
#ifdef SYS_open
	else if (entry->number == SYS_open)
		check_open(pid, AT_FDCWD, arguments[0], arguments[1]);
	else if (entry->number == SYS_creat)
		check_open(pid, AT_FDCWD, arguments[0], O_CREAT | O_TRUNC);
#endif
}

static void check_system_call(const struct system_call *entry, pid_t pid)
{
	const uint64_t *arguments = entry->arguments;
	if (entry->arch != NATIVE) {
		note_effect("made a system call", "of another architecture");
		return;
	}
	for (size_t i = 0; i < sizeof WRITES / sizeof *WRITES; i++)
		if ((long)entry->number == WRITES[i])
			check_write(pid, (int)arguments[0]);
	if (entry->number == SYS_copy_file_range || entry->number == SYS_splice)
		check_write(pid, (int)arguments[2]);
	if (entry->number == SYS_ioctl && arguments[1] == CLONE_FILE)
		check_write(pid, (int)arguments[0]);
	if (entry->number == SYS_connect)
		check_connect(pid, arguments[1], arguments[2]);
	if (entry->number == SYS_sendto)
		check_send(pid, arguments[4], arguments[5]);
	if (entry->number == SYS_sendmsg)
		check_message(entry, pid);
	if (entry->number == SYS_mmap)
		check_mapping(entry, pid);
	if (entry->number == SYS_kill || entry->number == SYS_tkill || entry->number == SYS_tgkill)
		check_signal(entry, pid);
	check_open_call(entry, pid);
	check_named_call(entry);
}

/* ---- tracing ---- */

static void remember(pid_t pid)
{
	for (size_t i = 0; i < traced.count; i++)
		if (traced.pids[i] == pid)
			return;
	if (traced.count == MAX_TRACED)
		note_effect("started", "too many processes");
	else
		traced.pids[traced.count++] = pid;
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < traced.count; i++)
		if (traced.pids[i] == pid)
			traced.pids[i] = traced.pids[--traced.count];
}

/* Only a stopped process can be let go. */
static void stop_all(void)
{
	for (size_t i = 0; i < traced.count; i++)
		ptrace(PTRACE_INTERRUPT, traced.pids[i], 0, 0);
}

static void inspect(pid_t pid)
{
	struct system_call entry = { 0 };
	if (ptrace(GET_SYSCALL_INFO, pid, sizeof entry, &entry) <= 0)
		note_effect("made a system call", "that cannot be read");
	else if (entry.op == ENTRY)
		check_system_call(&entry, pid);
}

static int is_stopping(int number)
{
	return number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

static void take_stop(pid_t pid, int status)
{
	int number = WSTOPSIG(status), event = status >> 16, delivered = 0;
	int was_over = traced.is_over;
	remember(pid);
	if (number == (SIGTRAP | 0x80)) {
		if (!traced.is_over)
			inspect(pid);
	} else if (!event)
		delivered = number;
	if (traced.is_over) {
		ptrace(PTRACE_DETACH, pid, 0, delivered);
		forget(pid);
		if (!was_over)
			stop_all();
	} else if (event == EVENT_STOP && is_stopping(number))
		ptrace(PTRACE_LISTEN, pid, 0, 0);
	else
		ptrace(PTRACE_SYSCALL, pid, 0, delivered);
}

/* Take all that has happened; return 1 if the program itself has ended, with its wait status. */
static int take_events(pid_t program, int *ending)
{
	int status, has_ended = 0;
	pid_t pid;
	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status)) {
			take_stop(pid, status);
			continue;
		}
		forget(pid);
		if (pid == program) {
			*ending = status;
			has_ended = 1;
		}
	}
	return has_ended;
}

/* Let go of the processes that outlive the program. */
static void release_others(void)
{
	int status;
	pid_t pid;
	if (traced.count)
		note_effect("left", "a process");
	traced.is_over = 1;
	stop_all();
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || (pid < 0 && errno == EINTR)) {
		if (pid > 0 && WIFSTOPPED(status)) {
			note_effect("left", "a process");
			take_stop(pid, status);
		} else if (pid > 0)
			forget(pid);
	}
}
