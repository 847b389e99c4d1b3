/*
 * keeper: PID 1 of every sandbox.
 *
 * It starts one script, drains what the script prints, outlives it, and says
 * who else is still alive. The runner speaks to it in frames over its stdin and
 * stdout; protocol.py beside this file is the other end and names each frame.
 *
 * Rules this file lives by:
 *  1. End of file on stdin ends the keeper, and with it the kernel ends the
 *     whole PID namespace: however the runner dies, nothing outlives it.
 *  2. Nothing a script can reach is believed. The keeper is not dumpable and
 *     holds no capability, so a script cannot open its descriptors; signals
 *     from inside do not reach PID 1, for it handles none.
 *  3. After "go" judging needs no new process, so a sandbox at its process limit
 *     can still be judged. What needs one is refused there, never fatal.
 *  4. A probe leaves nothing: its whole tree is gone before it is told to be over,
 *     so no process has to be left out of a list, and none can hide as a probe's.
 *  5. Who cannot look does not say that nobody is there. A script may lower the
 *     keeper's resource limits: an error other than "it is gone" ends the sandbox.
 *  6. Nothing inside can hold the keeper up: it reads from no pipe that could make
 *     it wait, and does a bounded amount of work before it looks at its input again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION "3"
#define CHUNK 65536
#define LARGEST_COMMAND (8u << 20)
#define FREEZE_ROUNDS 1000 /* of a millisecond each */
#define LAST_CHUNKS 32
#define REAPED_AT_ONCE 1000
#define LOOKS 1000
#define STAT_SIZE 2048 /* of a line of /proc: 52 numbers and a name */

/* The names, letters and version of protocol.py; tests/unit/keeper/test_letters.py compares them. */
enum command {
	GO = 'g', TERM = 't', KILL = 'k', FREEZE = 'f', THAW = 'c', LIST = 'l', USAGE = 'u',
	PROBE = 'p', END_PROBE = 'x', SHELL = 's', TYPE = 'i', RESIZE = 'w'
};
enum event {
	READY = 'R', STDOUT = 'o', STDERR = 'e', EXITED = 'X', EMPTY = '0', FROZEN = 'F',
	THAWED = 'T', PROCESS = 'P', SOCKETS = 'S', LISTED = 'L', USED = 'U',
	PROBE_OUTPUT = 'q', PROBED = 'Q', REFUSED = 'N', SHELL_STDOUT = 'h', SHELL_STDERR = 'j',
	TOOK = 'y', LEFT = 'H', BROKEN = '!'
};

static struct {
	pid_t pid;          /* 0: not started */
	int reaped;         /* its wait status was told */
	int told_empty;
	int failed;         /* read end of what kept it from starting, -1 once that is known */
	int output[2];      /* read ends of its stdout and stderr, -1 before the first */
	int input[2];       /* the other ends: they stay open for what a script left, and for the next */
} script = { .failed = -1, .output = { -1, -1 }, .input = { -1, -1 } };

/* What a warden tells: why the probe could not be started (errno), else its wait status. Or it
 * could not look for what the probe left, and why (errno). */
struct verdict {
	int error, status, is_broken;
};

static int wardens_verdict = -1; /* write end, in a warden */

static struct {
	pid_t pid;          /* of its warden; 0: there is none */
	int output, verdict; /* read ends of what it prints and of what the warden tells */
} probe = { .output = -1, .verdict = -1 };

static struct {
	pid_t pid;          /* 0: there is none */
	int input;          /* the end that it reads from, -1 once closed */
	int output[2];      /* read ends; of a terminal only the first, which is its master */
	int no_more;        /* its input ends with what waits */
	size_t waiting;     /* what it has not taken yet */
	char typed[CHUNK];
} shell = { .input = -1, .output = { -1, -1 } };

static struct {
	long long user, system; /* microseconds */
	long long largest;      /* KiB */
} used;

static char buffer[CHUNK];

/* ---- frames: one byte of type, four of length (big endian), the payload ---- */

static void put(const void *bytes, size_t size)
{
	const char *at = bytes;
	while (size) {
		ssize_t wrote = write(STDOUT_FILENO, at, size);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			_exit(0); /* the runner is gone */
		at += wrote;
		size -= (size_t)wrote;
	}
}

static void put_u32(uint32_t value)
{
	unsigned char bytes[4] = { value >> 24, value >> 16, value >> 8, value };
	put(bytes, sizeof bytes);
}

static void put_header(enum event type, size_t size)
{
	char byte = (char)type;
	put(&byte, 1);
	put_u32((uint32_t)size);
}

static void put_frame(enum event type, const void *bytes, size_t size)
{
	put_header(type, size);
	put(bytes, size);
}

static void put_status(enum event type, int status)
{
	put_header(type, 4);
	put_u32((uint32_t)status);
}

static void put_text(enum event type, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (size >= (int)sizeof text)
		size = sizeof text - 1;
	put_frame(type, text, (size_t)size);
}

/* What was asked for cannot be done; all else goes on. */
static void refuse(const char *what)
{
	put_text(REFUSED, "%s: %s", what, strerror(errno));
}

/* A warden must not write among the frames of the keeper: the keeper gives up for it. */
__attribute__((noreturn)) static void give_up(const char *what)
{
	struct verdict verdict = { .error = errno, .is_broken = 1 };
	if (wardens_verdict < 0)
		put_text(BROKEN, "%s: %s", what, strerror(errno));
	else if (write(wardens_verdict, &verdict, sizeof verdict) < 0)
		_exit(2); /* nobody listens: the keeper is gone, or gave up */
	_exit(1);
}

static void get(void *bytes, size_t size)
{
	char *at = bytes;
	while (size) {
		ssize_t got = read(STDIN_FILENO, at, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			_exit(0); /* rule 1 */
		at += got;
		size -= (size_t)got;
	}
}

/* The size of what was read, or -1: errno says why. */
static ssize_t slurp(const char *path, char *into, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;
	ssize_t got = 0;
	if (fd < 0)
		return -1;
	while (total < size && (got = read(fd, into + total, size - total)) > 0)
		total += (size_t)got;
	int error = errno;
	close(fd);
	errno = error;
	return got < 0 ? -1 : (ssize_t)total;
}

/* ---- becoming a keeper nobody inside can touch ---- */

static void close_from(unsigned first)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
#endif
	for (unsigned fd = first; fd < 4096; fd++)
		close((int)fd);
}

/* All capabilities go, but those in `named` (a bit each): the keeper does not use them, the script
 * inherits them. No mask may hold CAP_SYS_PTRACE, which opens the keeper. */
static void drop_capabilities(uint32_t named)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct kept[2] = { { .permitted = named, .inheritable = named }, { 0 } };
	if (syscall(SYS_capset, &header, kept) != 0)
		give_up(named ? "keeping the named capabilities" : "dropping capabilities");
	for (unsigned long one = 0; one < 32; one++)
		if (named >> one & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, one, 0, 0) != 0)
			give_up("passing a named capability on");
}

/* Keys of the caller's login; a sandbox that forbids the call has no keys either. */
static void leave_session_keyring(void)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

static void harden(uint32_t named)
{
	close_from(3);
	umask(022);
	drop_capabilities(named);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		give_up("refusing new privileges");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		give_up("closing the keeper to its namespace");
	leave_session_keyring();
	fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC);
	fcntl(STDOUT_FILENO, F_SETFD, FD_CLOEXEC);
	fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
}

static int watch_children(void)
{
	sigset_t children;
	signal(SIGCHLD, SIG_DFL); /* who ignores it by inheritance has no child to wait for */
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	int fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		give_up("watching children");
	return fd;
}

/* ---- a job: "processes\0open files\0search\0folder\0argc\0argv...\0environment...\0" ---- */

static void default_signals(void)
{
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit(int resource, const char *most)
{
	if (!*most)
		return;
	rlim_t value = (rlim_t)strtoull(most, NULL, 10);
	struct rlimit both = { value, value };
	setrlimit(resource, &both);
}

/* RLIMIT_NPROC counts a user's processes in the user namespace. In the host's own that would be
 * all of that user's processes; there a control group sets the limit, or nothing does.
 * 1, 0, or -1 where that cannot be known: errno says why. */
static int counts_its_own_processes(void)
{
	char map[256];
	ssize_t size = slurp("/proc/self/uid_map", map, sizeof map - 1);
	if (size < 0)
		return errno == ENOENT ? 0 : -1; /* a kernel without user namespaces */
	map[size] = 0;
	return size > 0 && !strstr(map, "4294967295");
}

struct job {
	const char *processes, *open_files, *folder;
	char *search; /* "PATH=..." in which argv[0] is looked for, or "": the job's own */
	char **argv, **environment;
	const struct winsize *terminal; /* that its stdin is, or NULL */
};

/* ---- what no job may call (seccomp(2)) ----
 *
 * Two things are refused that permissions alone allow. In a cgroup namespace that belongs to a user
 * namespace of its own, a process may mount control groups, and write to those that its user owns.
 * And a process may change limits and priorities of any other with its own user, of the keeper too.
 *
 * The refusal is EPERM, as of a process without the privilege. clone3(2) has its flags in memory,
 * where no filter can see them: ENOSYS makes the C libraries fall back to clone(2). System calls by
 * another ABI have other numbers, so all of them are refused. */

#if defined __x86_64__
#define NATIVE_ABI AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define NATIVE_ABI AUDIT_ARCH_AARCH64
#else
#error "the system calls of this machine are not known to the filter"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the filter reads the lower half of an argument first"
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

#define X32_BIT 0x40000000    /* of a system call's number, on x86-64 */
#define EVERY_NAMESPACE 0x7e020080 /* each CLONE_NEW... of clone(2) and unshare(2) */
#define NEW_TIME 0x80         /* CLONE_NEWTIME: to clone(2) it is a part of a signal's number */
#define OF_A_USER 2           /* PRIO_USER */
#define IO_OF_A_USER 3        /* IOPRIO_WHO_USER, which no header of a C library has */
#define KEEPER 1              /* by its process ID, and by its process group's */

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define NUMBER offsetof(struct seccomp_data, nr)
#define LOWER(argument) (offsetof(struct seccomp_data, args) + 8 * (argument))
#define UPPER(argument) (LOWER(argument) + 4)
#define JUMP(test, value, if_so, if_not) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, if_so, if_not)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Refuse a system call by the lower half of one argument. The kernel reads no more of it: it is an
 * int, or flags whose upper half names nothing. */
#define REFUSE_WHERE(number, argument, test, value) \
	JUMP(BPF_JEQ, number, 0, 4), LOAD(LOWER(argument)), JUMP(test, value, 0, 1), \
	REFUSE(EPERM), LOAD(NUMBER)

static uint32_t refused_namespaces = EVERY_NAMESPACE;

/* 0, or the filter is not there and errno says why. Bound are this process and all that it starts.
 * SPEC_ALLOW leaves mitigations as they are without a filter; where it is unknown it is not needed. */
static int refuse_system_calls(void)
{
	struct sock_filter rules[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		JUMP(BPF_JEQ, NATIVE_ABI, 1, 0),
		REFUSE(EPERM),
		LOAD(NUMBER),
		JUMP(BPF_JGE, X32_BIT, 0, 1),
		REFUSE(EPERM),
		JUMP(BPF_JEQ, SYS_clone3, 0, 1),
		REFUSE(ENOSYS),
		REFUSE_WHERE(SYS_clone, 0, BPF_JSET, refused_namespaces & ~(uint32_t)NEW_TIME),
		REFUSE_WHERE(SYS_unshare, 0, BPF_JSET, refused_namespaces),
		REFUSE_WHERE(SYS_setpriority, 0, BPF_JEQ, OF_A_USER),
		REFUSE_WHERE(SYS_setpriority, 1, BPF_JEQ, KEEPER),
		REFUSE_WHERE(SYS_ioprio_set, 0, BPF_JEQ, IO_OF_A_USER),
		REFUSE_WHERE(SYS_ioprio_set, 1, BPF_JEQ, KEEPER),
		REFUSE_WHERE(SYS_sched_setaffinity, 0, BPF_JEQ, KEEPER),
		REFUSE_WHERE(SYS_sched_setscheduler, 0, BPF_JEQ, KEEPER),
		REFUSE_WHERE(SYS_sched_setparam, 0, BPF_JEQ, KEEPER),
		REFUSE_WHERE(SYS_sched_setattr, 0, BPF_JEQ, KEEPER),
		JUMP(BPF_JEQ, SYS_prlimit64, 0, 7), /* of the keeper, and not only to read its limits */
		LOAD(LOWER(0)),
		JUMP(BPF_JEQ, KEEPER, 0, 5),
		LOAD(LOWER(2)),
		JUMP(BPF_JEQ, 0, 0, 2),
		LOAD(UPPER(2)),
		JUMP(BPF_JEQ, 0, 1, 0),
		REFUSE(EPERM),
		ALLOW,
	};
	struct sock_fprog filter = { .len = sizeof rules / sizeof *rules, .filter = rules };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter) == 0)
		return 0;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}

/* ---- a job's own process ---- */

/* The rest of a child's life: the job, or what kept it from that, said to `failed`. */
static void become(const struct job *job, int in, int out, int err, int failed)
{
	const char *step = "its streams", *where = "";
	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		goto fail;
	if (job->terminal && ioctl(0, TIOCSCTTY, 0) != 0)
		goto fail;
	default_signals();
	step = job->folder;
	if (chdir(job->folder) != 0)
		goto fail;
	step = "/proc/self/uid_map";
	int counts = counts_its_own_processes(); /* before few files may be open */
	if (counts < 0)
		goto fail;
	limit(RLIMIT_NOFILE, job->open_files);
	if (counts)
		limit(RLIMIT_NPROC, job->processes);
	step = "the filter of its system calls, for which the kernel needs CONFIG_SECCOMP_FILTER";
	if (refuse_system_calls() != 0)
		goto fail;
	char *search[] = { job->search, NULL };
	environ = *job->search ? search : job->environment;
	step = job->argv[0];
	if (*job->search)
		where = ", looked for in ";
	execvpe(job->argv[0], job->argv, job->environment);
fail:
	dprintf(failed, "%s%s%s: %s", step, where, *where ? job->search : "", strerror(errno));
	_exit(127);
}

static int nothing(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static char *next(char **at, const char *end)
{
	char *word = *at;
	size_t length = strnlen(word, (size_t)(end - word));
	if (word + length >= end) {
		errno = EBADMSG;
		give_up("reading a job");
	}
	*at = word + length + 1;
	return word;
}

static void with_job(char *at, const char *end, const struct winsize *terminal,
                     void (*start)(const struct job *))
{
	struct job job = { .terminal = terminal, .processes = next(&at, end) };
	job.open_files = next(&at, end);
	job.search = next(&at, end);
	job.folder = next(&at, end);
	size_t argc = strtoul(next(&at, end), NULL, 10), most = (size_t)(end - at) + 2, count = 0;
	char **words = calloc(most, sizeof *words);
	if (!words || !argc)
		give_up("reading a job");
	job.argv = words;
	for (; count < argc; count++)
		words[count] = next(&at, end);
	words[count++] = NULL;
	job.environment = words + count;
	while (at < end)
		words[count++] = next(&at, end);
	start(&job);
	free(words);
}

/* ---- go ---- */

/* The read end is ours and never blocks: whoever holds the other end can open the pipe for reading
 * too (/proc/self/fd), and take what poll() saw. The two ends have flags of their own. */
static int open_pipe(int ends[2])
{
	return pipe2(ends, O_CLOEXEC) || fcntl(ends[0], F_SETFL, O_NONBLOCK) ? -1 : 0;
}

static void open_output(void)
{
	for (int which = 0; which < 2; which++) {
		int ends[2];
		if (open_pipe(ends))
			give_up("making pipes");
		script.output[which] = ends[0];
		script.input[which] = ends[1];
	}
}

/* Another may follow once one is over: what the first left can go on printing. */
static void go(const struct job *job)
{
	int failed[2];
	if (script.pid && !script.reaped) {
		errno = EBUSY;
		give_up("starting the script");
	}
	if (!script.pid)
		open_output();
	if (open_pipe(failed))
		give_up("making pipes");
	pid_t pid = fork();
	if (pid < 0)
		give_up("starting the script");
	if (pid == 0)
		become(job, nothing(), script.input[0], script.input[1], failed[1]);
	close(failed[1]);
	script.pid = pid;
	script.failed = failed[0];
	script.reaped = script.told_empty = 0;
}

static void close_end(int *end)
{
	if (*end >= 0)
		close(*end);
	*end = -1;
}

/* The end of the file says that it runs: the other end was closed as the child became the script. */
static void hear_start(void)
{
	ssize_t size = script.failed < 0 ? 0 : read(script.failed, buffer, sizeof buffer);
	if (size < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (size < 0)
		give_up("starting the script");
	if (size > 0)
		put_frame(BROKEN, buffer, (size_t)size);
	close_end(&script.failed);
}

/* ---- what is printed ---- */

/* One read. What it returns is told; the end of the file, or of a terminal (EIO), closes that end.
 * 0: there is nothing, by now. */
static ssize_t drain(int *end, enum event type, size_t most)
{
	if (*end < 0)
		return -1;
	ssize_t size = read(*end, buffer, most < CHUNK ? most : CHUNK);
	if (size < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (size < 0 && errno != EIO)
		give_up("reading what is printed");
	if (size > 0) {
		put_frame(type, buffer, (size_t)size);
		return size;
	}
	close_end(end);
	return -1;
}

/* Only what is there now: a child it leaves behind may go on printing for ever, or take it first. */
static void drain_pending(int *end, enum event type)
{
	int pending = 0;
	if (*end >= 0 && ioctl(*end, FIONREAD, &pending) != 0)
		give_up("reading what is printed");
	while (pending > 0) {
		ssize_t size = drain(end, type, (size_t)pending);
		if (size <= 0)
			return;
		pending -= (int)size;
	}
}

/* ---- who is alive ---- */

/* Rule 5: nothing but these two says that a process, or a task of one, is over. */
static int is_gone(int error)
{
	return error == ENOENT || error == ESRCH;
}

static void give_up_unless_gone(const char *path)
{
	if (!is_gone(errno))
		give_up(path);
}

/* NULL: whose directory it is, is gone. */
static DIR *open_directory(const char *path)
{
	DIR *directory = opendir(path);
	if (!directory)
		give_up_unless_gone(path);
	return directory;
}

static DIR *open_processes(void)
{
	DIR *processes = opendir("/proc");
	if (!processes)
		give_up("/proc");
	return processes;
}

/* The next entry that is a number, -1 at the end. */
static int next_number(DIR *directory, const char *path)
{
	struct dirent *entry;
	do {
		errno = 0;
		entry = readdir(directory);
		if (!entry && errno)
			give_up_unless_gone(path);
	} while (entry && (entry->d_name[0] < '0' || entry->d_name[0] > '9'));
	return entry ? (int)strtol(entry->d_name, NULL, 10) : -1;
}

static pid_t next_process(DIR *processes)
{
	pid_t pid;
	while ((pid = next_number(processes, "/proc")) == 1)
		;
	return pid;
}

/* What a line of /proc tells of a process, or of one of its tasks: see proc(5), `stat`. */
struct status {
	char line[STAT_SIZE];
	size_t size;
	char *state; /* a letter in the line */
	pid_t parent;
	int threads; /* of the process, the dead that nobody has waited for included */
};

/* The state follows the last ')': a command name may hold any byte. 0: it is gone. */
static int read_status(const char *path, struct status *status)
{
	ssize_t size = slurp(path, status->line, sizeof status->line - 1);
	if (size < 0) {
		give_up_unless_gone(path);
		return 0;
	}
	status->line[size] = 0;
	status->size = (size_t)size;
	status->state = strrchr(status->line, ')');
	if (status->state) /* it, its parent, 15 fields further the number of threads, and the line's end */
		status->state += 2;
	if (!status->state || status->line[size - 1] != '\n'
	    || sscanf(status->state, "%*c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
	              &status->parent, &status->threads) != 2) {
		errno = EBADMSG;
		give_up(path);
	}
	return 1;
}

static int status_of(pid_t pid, struct status *status)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	return read_status(path, status);
}

static int is_dead(char state)
{
	return state == 'Z' || state == 'X' || state == 'x';
}

/* D counts as still: with SIGSTOP pending it cannot reach its own code again, and
 * a parent in vfork() stays in D for as long as its stopped child does. */
static int is_still(char state)
{
	return is_dead(state) || state == 'T' || state == 't' || state == 'D';
}

/* How many of the tasks of a process are in a state that `is_so`; -1 in `task` or the first that
 * is not. A process that is gone has none. */
static int count_tasks(pid_t pid, int (*is_so)(char), pid_t *task, char *state)
{
	char path[64];
	int count = 0;
	*task = -1;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = open_directory(path);
	if (!tasks)
		return 0;
	while ((*task = next_number(tasks, path)) >= 0) {
		struct status status;
		snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, *task);
		if (!read_status(path, &status))
			continue;
		*state = *status.state;
		if (!is_so(*state))
			break;
		count++;
	}
	closedir(tasks);
	return count;
}

/* Fewer tasks than the process had before: one of them is new, and was not seen. */
static int is_still_process(pid_t pid)
{
	struct status status;
	pid_t moving;
	char state;
	if (!status_of(pid, &status))
		return 1;
	return count_tasks(pid, is_still, &moving, &state) >= status.threads && moving < 0;
}

static int all_still(void)
{
	DIR *processes = open_processes();
	int still = 1;
	pid_t pid;
	while (still && (pid = next_process(processes)) >= 0)
		still = is_still_process(pid);
	closedir(processes);
	return still;
}

/* A task of a process that is alive, and its state; -1: the process is over. It is when each of its
 * tasks is, and not when its main thread is: that one stays as a zombie until the last has ended. */
static pid_t living_task(pid_t pid, char *state)
{
	struct status status;
	for (int look = 0; look < LOOKS; look++) {
		pid_t living;
		if (!status_of(pid, &status))
			return -1;
		if (count_tasks(pid, is_dead, &living, state) >= status.threads || living >= 0)
			return living;
	}
	errno = EAGAIN;
	give_up("looking at the tasks of a process");
}

/* ---- probe: a command beside the script or after it ---- */

static void kill_children(void)
{
	DIR *processes = open_processes();
	struct status status;
	pid_t pid;
	while ((pid = next_process(processes)) >= 0)
		if (status_of(pid, &status) && status.parent == getpid() && kill(pid, SIGKILL) != 0)
			give_up_unless_gone("ending what a probe left");
	closedir(processes);
}

/* Until the probe ends by itself, or the keeper says so with SIGTERM. */
static int reaped_in_time(pid_t pid, int *status)
{
	sigset_t awaited;
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigaddset(&awaited, SIGTERM);
	while (sigwaitinfo(&awaited, NULL) != SIGTERM) {
		pid_t reaped;
		while ((reaped = waitpid(-1, status, WNOHANG)) > 0)
			if (reaped == pid)
				return 1;
	}
	return 0;
}

/* A probe's parent, and that of whatever the probe leaves: as long as there is a process in the
 * tree, the warden has a child, and who is killed hands its own children to it (rule 4). */
static void be_warden(const struct job *job, int out, int told)
{
	sigset_t all;
	int status = 0, ignored;
	wardens_verdict = told;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t pid = fork(), ended;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		become(job, nothing(), out, out, out);
	}
	struct verdict verdict = { .error = pid < 0 ? errno : 0 };
	int over = pid < 0 || reaped_in_time(pid, &status);
	for (kill_children(); (ended = wait(over ? &ignored : &status)) > 0; kill_children())
		over |= ended == pid;
	if (errno != ECHILD)
		give_up("waiting for what a probe left");
	verdict.status = status;
	_exit(write(told, &verdict, sizeof verdict) != sizeof verdict);
}

/* 0, or nothing was started and errno says why. */
static int try_probe(const struct job *job)
{
	int out[2] = { -1, -1 }, told[2] = { -1, -1 }, error;
	errno = EBUSY;
	pid_t pid = -1;
	if (!probe.pid && !open_pipe(out) && !open_pipe(told))
		pid = fork();
	if (pid == 0)
		be_warden(job, out[1], told[1]);
	error = errno;
	close_end(&out[1]);
	close_end(&told[1]);
	if (pid < 0) {
		close_end(&out[0]);
		close_end(&told[0]);
		errno = error;
		return -1;
	}
	probe.pid = pid;
	probe.output = out[0];
	probe.verdict = told[0];
	return 0;
}

static void start_probe(const struct job *job)
{
	if (try_probe(job) < 0)
		refuse("starting the probe");
}

/* SIGCONT too: whoever may signal the script may have stopped the warden. */
static void end_probe(void)
{
	if (!probe.pid)
		return;
	kill(probe.pid, SIGTERM);
	kill(probe.pid, SIGCONT);
}

/* A warden that somebody killed tells nothing; its own end stands for the probe's then. */
static void probe_ended(int status)
{
	struct verdict verdict;
	probe.pid = 0;
	drain_pending(&probe.output, PROBE_OUTPUT);
	ssize_t size = read(probe.verdict, &verdict, sizeof verdict);
	if (size < 0 && errno != EAGAIN && errno != EINTR)
		give_up("reading how a probe ended");
	if (size != sizeof verdict)
		verdict = (struct verdict){ .status = status };
	close_end(&probe.output);
	close_end(&probe.verdict);
	errno = verdict.error;
	if (verdict.is_broken)
		give_up("looking for what a probe left");
	if (verdict.error)
		refuse("starting the probe");
	else
		put_status(PROBED, verdict.status);
}

/* ---- shell: somebody at a terminal, or lines through pipes ---- */

/* Of /dev a script may change what it likes, of a mounted /dev/pts nothing (rule 2). */
static int open_terminal(int *master, int *slave, const struct winsize *size)
{
	char path[32];
	int unlocked = 0, number;
	*master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) || ioctl(*master, TIOCGPTN, &number)
	    || ioctl(*master, TIOCSWINSZ, size))
		return -1;
	snprintf(path, sizeof path, "/dev/pts/%d", number);
	*slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return *slave < 0 ? -1 : 0;
}

/* The shell's own three ends, and ours in `shell`. */
static int open_ends(int own[3], const struct winsize *terminal)
{
	int in[2], out[2], err[2];
	if (terminal) {
		if (open_terminal(&shell.output[0], &own[0], terminal))
			return -1;
		shell.input = fcntl(shell.output[0], F_DUPFD_CLOEXEC, 3);
		own[1] = fcntl(own[0], F_DUPFD_CLOEXEC, 3);
		own[2] = fcntl(own[0], F_DUPFD_CLOEXEC, 3);
		return shell.input < 0 || own[1] < 0 || own[2] < 0 ? -1 : 0;
	}
	if (pipe2(in, O_CLOEXEC))
		return -1;
	own[0] = in[0], shell.input = in[1];
	if (open_pipe(out))
		return -1;
	own[1] = out[1], shell.output[0] = out[0];
	if (open_pipe(err))
		return -1;
	own[2] = err[1], shell.output[1] = err[0];
	return fcntl(shell.input, F_SETFL, O_NONBLOCK);
}

static void close_shell(void)
{
	close_end(&shell.input);
	close_end(&shell.output[0]);
	close_end(&shell.output[1]);
	shell.pid = 0;
}

static void start_shell(const struct job *job)
{
	int own[3] = { -1, -1, -1 };
	pid_t pid = -1;
	if (shell.pid) {
		errno = EBUSY;
		refuse("starting the shell");
		return;
	}
	shell.waiting = 0;
	shell.no_more = 0;
	if (!open_ends(own, job->terminal))
		pid = fork();
	if (pid == 0)
		become(job, own[0], own[1], own[2], own[2]);
	shell.pid = pid;
	if (pid < 0) {
		refuse("starting the shell");
		close_shell();
	}
	for (int which = 0; which < 3; which++)
		close_end(&own[which]);
}

/* "rows\0columns\0", both blank where there is no terminal, then a job. */
static void with_terminal(char *at, const char *end)
{
	struct winsize size = { .ws_row = (unsigned short)strtoul(next(&at, end), NULL, 10) };
	size.ws_col = (unsigned short)strtoul(next(&at, end), NULL, 10);
	with_job(at, end, size.ws_row ? &size : NULL, start_shell);
}

static void taken(size_t size)
{
	shell.waiting -= size;
	memmove(shell.typed, shell.typed + size, shell.waiting);
	put_status(TOOK, (int)size);
}

/* As much as it takes now: a shell that does not read must not stop the keeper. */
static void pass_on(void)
{
	while (shell.waiting) {
		ssize_t size = shell.input < 0 ? -1 : write(shell.input, shell.typed, shell.waiting);
		if (size < 0 && shell.input >= 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (size < 0)
			close_end(&shell.input); /* nobody reads it any more */
		taken(size < 0 ? shell.waiting : (size_t)size);
	}
	if (shell.no_more)
		close_end(&shell.input);
}

/* Nothing is the end of the input. The runner sends no more than was taken of what it sent. */
static void type(const char *bytes, size_t size)
{
	if (size > sizeof shell.typed - shell.waiting) {
		errno = EMSGSIZE;
		give_up("typing");
	}
	memcpy(shell.typed + shell.waiting, bytes, size);
	shell.waiting += size;
	shell.no_more |= !size;
	pass_on();
}

static void resize(const unsigned char *bytes, size_t size)
{
	struct winsize window = { 0 };
	if (size != 4) {
		errno = EBADMSG;
		give_up("resizing");
	}
	window.ws_row = (unsigned short)(bytes[0] << 8 | bytes[1]);
	window.ws_col = (unsigned short)(bytes[2] << 8 | bytes[3]);
	if (shell.output[0] >= 0)
		ioctl(shell.output[0], TIOCSWINSZ, &window);
}

/* What it printed before it ended, and not what others may print for ever. */
static void shell_ended(int status)
{
	for (int rest = LAST_CHUNKS; rest && drain(&shell.output[0], SHELL_STDOUT, CHUNK) > 0; rest--)
		;
	for (int rest = LAST_CHUNKS; rest && drain(&shell.output[1], SHELL_STDERR, CHUNK) > 0; rest--)
		;
	close_shell();
	put_status(LEFT, status);
}

/* ---- how it ends, and what it took ---- */

static void script_ended(int status)
{
	script.reaped = 1;
	hear_start();
	drain_pending(&script.output[0], STDOUT);
	drain_pending(&script.output[1], STDERR);
	put_status(EXITED, status);
}

static long long microseconds(struct timeval time)
{
	return (long long)time.tv_sec * 1000000 + time.tv_usec;
}

/* What a process took includes what its own reaped children took. */
static void add_usage(const struct rusage *one)
{
	used.user += microseconds(one->ru_utime);
	used.system += microseconds(one->ru_stime);
	if (one->ru_maxrss > used.largest)
		used.largest = one->ru_maxrss;
}

static void tell_usage(void)
{
	put_text(USED, "%lld %lld %lld", used.user, used.system, used.largest);
}

/* The script's number may be another's once it was reaped. */
static void reaped(pid_t pid, int status, const struct rusage *took)
{
	if (pid == probe.pid) {
		probe_ended(status);
		return;
	}
	if (pid == shell.pid) {
		shell_ended(status);
		return;
	}
	add_usage(took);
	if (pid == script.pid && !script.reaped)
		script_ended(status);
}

/* Every process in the namespace descends from PID 1, so no child means no process.
 * Whether there may be more to reap: rule 6 bounds what is done at once. */
static int reap(int signals)
{
	struct signalfd_siginfo ignored;
	struct rusage took;
	int status, left = REAPED_AT_ONCE;
	pid_t pid = 1;
	if (read(signals, &ignored, sizeof ignored) < 0 && errno != EAGAIN && errno != EINTR)
		give_up("watching children");
	while (left-- && (pid = wait4(-1, &status, WNOHANG | __WALL, &took)) > 0)
		reaped(pid, status, &took);
	if (pid < 0 && errno != ECHILD && errno != EINTR)
		give_up("waiting for children");
	if (pid < 0 && errno == ECHILD && script.reaped && !script.told_empty) {
		script.told_empty = 1;
		put_frame(EMPTY, NULL, 0);
	}
	return pid > 0 || (pid < 0 && errno == EINTR);
}

/* ---- survivors ---- */

static void freeze(void)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int still = 0;
	for (int round = 0; round < FREEZE_ROUNDS && !still; round++) {
		if (round)
			nanosleep(&millisecond, NULL);
		if (kill(-1, SIGSTOP) != 0)
			give_up_unless_gone("stopping what is left");
		still = all_still();
	}
	put_text(FROZEN, "%d", still);
}

static void thaw(void)
{
	if (kill(-1, SIGCONT) != 0)
		give_up_unless_gone("letting what is left go on");
	put_frame(THAWED, NULL, 0);
}

/* A field: four bytes of length, then the bytes. Collected, so that one frame holds one process. */
static struct {
	char bytes[4 * CHUNK];
	size_t size;
} record;

static void add_field(const char *bytes, ssize_t size)
{
	size_t room = sizeof record.bytes - record.size, length = size > 0 ? (size_t)size : 0;
	if (room < 4)
		return;
	if (length > room - 4)
		length = room - 4;
	unsigned char prefix[4] = { length >> 24, length >> 16, length >> 8, length };
	memcpy(record.bytes + record.size, prefix, 4);
	memcpy(record.bytes + record.size + 4, bytes, length);
	record.size += 4 + length;
}

/* What a process may keep from us without hiding itself: it is not dumpable, another user's, in a
 * folder with too long a name, or over by now. Such a field is blank; the process is listed. */
static void give_up_unless_kept_back(const char *path)
{
	if (errno != EACCES && errno != EPERM && errno != ENAMETOOLONG)
		give_up_unless_gone(path);
}

static void add_file(const char *of, const char *name)
{
	char path[96];
	snprintf(path, sizeof path, "%s/%s", of, name);
	ssize_t size = slurp(path, buffer, sizeof buffer);
	if (size < 0)
		give_up_unless_kept_back(path);
	add_field(buffer, size);
}

static void add_link(const char *of, const char *name)
{
	char path[96];
	snprintf(path, sizeof path, "%s/%s", of, name);
	ssize_t size = readlink(path, buffer, sizeof buffer);
	if (size < 0)
		give_up_unless_kept_back(path);
	add_field(buffer, size);
}

/* Inodes, each between spaces and once: the tasks of a process may share what they have open. */
static struct {
	char inodes[CHUNK];
	size_t size;
} sockets;

static void note_socket(char *inode, size_t length)
{
	char word[32];
	int size = snprintf(word, sizeof word, " %.*s ", (int)length, inode);
	if (memmem(sockets.inodes, sockets.size, word, (size_t)size)
	    || sockets.size + (size_t)size > sizeof sockets.inodes)
		return;
	memcpy(sockets.inodes + sockets.size, word, (size_t)size);
	sockets.size += (size_t)size;
}

static void note_sockets_of(pid_t pid, pid_t task)
{
	char path[96], folder[64], link[64];
	int number;
	snprintf(folder, sizeof folder, "/proc/%d/task/%d/fd", pid, task);
	DIR *descriptors = opendir(folder);
	if (!descriptors) {
		give_up_unless_kept_back(folder);
		return;
	}
	while ((number = next_number(descriptors, folder)) >= 0) {
		snprintf(path, sizeof path, "%s/%d", folder, number);
		ssize_t length = readlink(path, link, sizeof link);
		if (length < 0)
			give_up_unless_kept_back(path);
		if (length > 9 && strncmp(link, "socket:[", 8) == 0)
			note_socket(link + 8, (size_t)length - 9);
	}
	closedir(descriptors);
}

/* Every task is asked: each may have descriptors of its own. */
static void note_sockets(pid_t pid)
{
	char path[64];
	pid_t task;
	sockets.size = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = open_directory(path);
	if (!tasks)
		return;
	while ((task = next_number(tasks, path)) >= 0)
		note_sockets_of(pid, task);
	closedir(tasks);
}

/* Of the main thread, which may be dead, are pid, parent and start; all else is of a living task,
 * the state too. */
static int tell_process(pid_t pid)
{
	char task[64], state = 0;
	struct status status;
	pid_t living = living_task(pid, &state);
	if (living < 0 || !status_of(pid, &status))
		return 0;
	*status.state = state;
	snprintf(task, sizeof task, "/proc/%d/task/%d", pid, living);
	record.size = 0;
	add_field(status.line, (ssize_t)status.size);
	add_file(task, "cmdline");
	add_link(task, "cwd");
	add_link(task, "exe");
	note_sockets(pid);
	add_field(sockets.inodes, (ssize_t)sockets.size);
	put_frame(PROCESS, record.bytes, record.size);
	return sockets.size > 0;
}

/* A kernel need not have every table, and each of those it has can be read. */
static void tell_sockets(const char *table)
{
	char path[32];
	size_t name = strlen(table) + 1;
	snprintf(path, sizeof path, "/proc/net/%s", table);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		give_up(path);
	memcpy(buffer, table, name);
	ssize_t size;
	while ((size = read(fd, buffer + name, sizeof buffer - name)) > 0)
		put_frame(SOCKETS, buffer, name + (size_t)size);
	if (size < 0)
		give_up(path);
	close(fd);
}

static void list(void)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6", "unix" };
	DIR *processes = open_processes();
	int has_sockets = 0;
	pid_t pid;
	while ((pid = next_process(processes)) >= 0)
		has_sockets |= tell_process(pid);
	closedir(processes);
	for (size_t table = 0; has_sockets && table < sizeof tables / sizeof *tables; table++)
		tell_sockets(tables[table]);
	ssize_t uptime = slurp("/proc/uptime", buffer, 64);
	if (uptime <= 0)
		give_up("/proc/uptime");
	put_frame(LISTED, buffer, (size_t)uptime);
}

/* ---- the loop ---- */

/* Until it leads a process group it is all that there is of it. */
static void signal_script(int number)
{
	if (!script.pid || script.reaped)
		return;
	if (kill(-script.pid, number) != 0 && errno == ESRCH)
		kill(script.pid, number);
}

static void obey(void)
{
	unsigned char header[5];
	get(header, sizeof header);
	uint32_t size = (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
	char *payload = size <= LARGEST_COMMAND ? malloc(size + 1) : NULL;
	if (!payload)
		give_up("reading a command");
	get(payload, size);
	switch (header[0]) {
	case GO: with_job(payload, payload + size, NULL, go); break;
	case TERM: signal_script(SIGTERM); break;
	case KILL: signal_script(SIGKILL); break;
	case FREEZE: freeze(); break;
	case THAW: thaw(); break;
	case USAGE: tell_usage(); break;
	case PROBE: with_job(payload, payload + size, NULL, start_probe); break;
	case END_PROBE: end_probe(); break;
	case SHELL: with_terminal(payload, payload + size); break;
	case TYPE: type(payload, size); break;
	case RESIZE: resize((unsigned char *)payload, size); break;
	case LIST: list(); break;
	default: errno = EBADMSG; give_up("reading a command");
	}
	free(payload);
}

/* The arguments, both masks: the capabilities that a script may have, by default none, and the
 * namespaces that it may not make, as flags of clone(2), by default all. */
int main(int argc, char **argv)
{
	if (getpid() != 1) {
		fputs("keeper: it is PID 1 of a sandbox and nothing else\n", stderr);
		return 1;
	}
	harden(argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0);
	if (argc > 2)
		refused_namespaces = (uint32_t)strtoul(argv[2], NULL, 10);
	int signals = watch_children(), more_to_reap = 0;
	put_frame(READY, VERSION, strlen(VERSION));
	for (;;) {
		struct pollfd watched[] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = script.output[0], .events = POLLIN },
			{ .fd = script.output[1], .events = POLLIN },
			{ .fd = probe.output, .events = POLLIN },
			{ .fd = shell.output[0], .events = POLLIN },
			{ .fd = shell.output[1], .events = POLLIN },
			{ .fd = shell.waiting ? shell.input : -1, .events = POLLOUT },
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = script.failed, .events = POLLIN },
		};
		if (poll(watched, sizeof watched / sizeof *watched, more_to_reap ? 0 : -1) < 0 && errno != EINTR)
			give_up("waiting");
		if (watched[1].revents)
			drain(&script.output[0], STDOUT, CHUNK);
		if (watched[2].revents)
			drain(&script.output[1], STDERR, CHUNK);
		if (watched[3].revents)
			drain(&probe.output, PROBE_OUTPUT, CHUNK);
		if (watched[4].revents)
			drain(&shell.output[0], SHELL_STDOUT, CHUNK);
		if (watched[5].revents)
			drain(&shell.output[1], SHELL_STDERR, CHUNK);
		if (watched[6].revents)
			pass_on();
		if (watched[8].revents)
			hear_start();
		if (watched[0].revents || more_to_reap)
			more_to_reap = reap(signals);
		if (watched[7].revents)
			obey();
	}
}
