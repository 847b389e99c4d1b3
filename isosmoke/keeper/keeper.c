/*
 * keeper: PID 1 of every sandbox.
 *
 * It starts one script, forwards the script's output, outlives it, and lists the
 * processes that are still alive. It exchanges frames with the runner over its
 * stdin and stdout. The other end, which also describes each frame, is protocol.py
 * in this directory.
 *
 * Rules:
 *  1. End of file on stdin ends the keeper. The kernel then ends the whole PID
 *     namespace, so no process outlives the runner, however the runner dies.
 *  2. Nothing that a script can access is trusted. The keeper is not dumpable and
 *     uses no capability except CAP_KILL, so a script cannot open its descriptors.
 *     Signals from inside do not reach PID 1, because it handles none.
 *  3. After "go", a verdict needs no new process, so it is also possible in a
 *     sandbox at its process limit. A command that needs a new process is refused
 *     there, which does not break the sandbox.
 *  4. A probe leaves no process: its whole tree has ended before its end is
 *     reported. So a list omits no process, and none can hide as part of a probe.
 *  5. A failed check never counts as "no process". A script may lower the keeper's
 *     resource limits, so any error other than "it is gone" breaks the sandbox.
 *  6. No process inside can block the keeper. It never waits for a pipe, and does
 *     a limited amount of work before it checks its input again.
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
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "processes.h"

#define VERSION "6"
#define MAX_COMMAND_SIZE (8u << 20)
#define MAX_LAST_CHUNKS 32
#define MAX_REAPED 1000
#define DEFAULT_MASK 022 /* of the modes of new files */

/* The same names, letters and version as in protocol.py; compared by
 * tests/unit/keeper/test_letters.py. */
enum command {
	GO = 'g', TERM = 't', KILL = 'k', FREEZE = 'f', THAW = 'c', LIST = 'l', USAGE = 'u',
	PROBE = 'p', END_PROBE = 'x', SHELL = 's', INPUT = 'i', RESIZE = 'w', SCRIPT_INPUT = 'I',
	SCRIPT_RESIZE = 'W', CLOSE_OUTPUT = 'O'
};
enum event {
	READY = 'R', STDOUT = 'o', STDERR = 'e', EXITED = 'X', EMPTY = '0', FROZEN = 'F',
	THAWED = 'T', PROCESS = 'P', SOCKETS = 'S', LISTED = 'L', USED = 'U',
	PROBE_OUTPUT = 'q', PROBED = 'Q', REFUSED = 'N', SHELL_STDOUT = 'h', SHELL_STDERR = 'j',
	INPUT_ACCEPTED = 'y', SHELL_EXITED = 'H', SCRIPT_INPUT_ACCEPTED = 'Y', SCRIPT_INPUT_CLOSED = 'Z',
	BROKEN = '!'
};

static struct {
	pid_t pid;          /* 0: not started */
	int reaped;         /* its wait status has been reported */
	int reported_empty; /* the end of the last process has been reported */
	int start_error;    /* read end of the pipe for an error of its start; -1 after the start */
	int output[2];      /* read ends of its stdout and stderr, the first for both if they are one
	                       pipe or a terminal; -1 before the first script */
	int input[2];       /* the write ends, kept open for survivors and for the next script */
	int has_terminal;   /* its output is a terminal */
} script = { .start_error = -1, .output = { -1, -1 }, .input = { -1, -1 } };

/* The result that a probe's supervisor sends. `error` (errno) means that the probe could not be
 * started; with `is_broken`, that its leftover processes could not be found. Otherwise `status`
 * is the wait status. */
struct probe_result {
	int error, status, is_broken;
};

static int supervisor_output = -1; /* write end for the result, only in a supervisor */

static struct {
	pid_t pid;          /* its supervisor; 0: no probe */
	int output, result; /* read ends of its output and of the supervisor's result */
} probe = { .output = -1, .result = -1 };

static struct {
	pid_t pid;     /* 0: no shell */
	int output[2]; /* read ends; with a terminal only the first, which is the master */
} shell = { .output = { -1, -1 } };

/* The input that the runner sends for the script or for the shell. */
struct input {
	enum event accepted;  /* the event that reports how much the reader has accepted */
	int end;              /* write end; -1 before the start, and after it is closed */
	int ended;            /* no input follows the pending input */
	size_t pending_size;  /* size of the input that the reader has not accepted yet */
	char pending[CHUNK];
};
static struct input script_input = { .accepted = SCRIPT_INPUT_ACCEPTED, .end = -1 };
static struct input shell_input = { .accepted = INPUT_ACCEPTED, .end = -1 };

static struct {
	long long user, system; /* microseconds */
	long long largest;      /* KiB */
} used; /* by ended processes */

static char buffer[CHUNK];

/* ---- frames: one byte of type, four of length (big endian), the payload ---- */

static void write_all(const void *bytes, size_t size)
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
	write_all(bytes, sizeof bytes);
}

static void put_header(enum event type, size_t size)
{
	char byte = (char)type;
	write_all(&byte, 1);
	put_u32((uint32_t)size);
}

static void put_frame(enum event type, const void *bytes, size_t size)
{
	put_header(type, size);
	write_all(bytes, size);
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

/* Report that a command cannot be carried out; the sandbox continues. */
static void refuse(const char *message)
{
	put_text(REFUSED, "%s: %s", message, strerror(errno));
}

/* Break the sandbox. A probe's supervisor must not write between the frames of the keeper, so the
 * keeper does it on the supervisor's behalf. */
__attribute__((noreturn)) static void fail(const char *message)
{
	struct probe_result result = { .error = errno, .is_broken = 1 };
	if (supervisor_output < 0)
		put_text(BROKEN, "%s: %s", message, strerror(errno));
	else if (write(supervisor_output, &result, sizeof result) < 0)
		_exit(2); /* no reader: the keeper has ended */
	_exit(1);
}

static void read_all(void *bytes, size_t size)
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

/* ---- hardening of the keeper against processes inside ---- */

/* Masks with one bit for each capability. A job inherits the granted ones, which must not contain
 * CAP_SYS_PTRACE: it gives access to the keeper. */
static uint32_t granted_capabilities;

#define BIT(capability) (UINT32_C(1) << (capability))

/* Return the capabilities that the keeper itself uses. With CAP_SETUID a script can leave processes
 * of other users, which only CAP_KILL can stop and end. That gives no access to the keeper: it
 * signals only processes of its PID namespace. */
static uint32_t own_capabilities(void)
{
	return granted_capabilities & BIT(CAP_SETUID) ? BIT(CAP_KILL) : 0;
}

/* Drop all capabilities except the granted ones, which are passed on, and those in `own`, which
 * this process uses. Return 0, or -1 with errno. */
static int drop_capabilities(uint32_t own)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { 0 } };
	sets[0].effective = own;
	sets[0].permitted = granted_capabilities | own;
	sets[0].inheritable = granted_capabilities;
	return (int)syscall(SYS_capset, &header, sets);
}

static void pass_on_capabilities(void)
{
	for (unsigned long bit = 0; bit < 32; bit++)
		if (granted_capabilities >> bit & 1
		    && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0) != 0)
			fail("cannot pass on a granted capability");
}

/* It holds keys of the caller's login. An error is ignored: a sandbox that forbids the call has no
 * access to keys either. */
static void leave_session_keyring(void)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

static void harden(uint32_t granted)
{
	close_descriptors(3, ~0u);
	umask(DEFAULT_MASK);
	granted_capabilities = granted;
	if (drop_capabilities(own_capabilities()) != 0)
		fail(granted ? "cannot keep the granted capabilities" : "cannot drop capabilities");
	pass_on_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fail("cannot set no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		fail("cannot make the keeper undumpable");
	leave_session_keyring();
	fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC);
	fcntl(STDOUT_FILENO, F_SETFD, FD_CLOEXEC);
	fcntl(STDERR_FILENO, F_SETFD, FD_CLOEXEC);
}

static int watch_children(void)
{
	sigset_t children;
	signal(SIGCHLD, SIG_DFL); /* if an inherited SIG_IGN stayed, no child could be waited for */
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	int fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fail("cannot watch child processes");
	return fd;
}

/* ---- a job: "processes\0open files\0search\0directory\0argc\0argv...\0environment...\0" ---- */

/* With the kernel's own call, because the C libraries refuse to change the signals that they use
 * themselves (32 to 34), which a parent may ignore too. Zero bytes are SIG_DFL (sigaction(2)). */
static void reset_signals(void)
{
	static const char by_default[64];
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, by_default, NULL, 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_limit(int resource, const char *text)
{
	if (!*text)
		return;
	rlim_t value = (rlim_t)strtoull(text, NULL, 10);
	struct rlimit soft_and_hard = { value, value };
	setrlimit(resource, &soft_and_hard);
}

/* Return whether this process is in a user namespace other than the host's, or -1 with errno if
 * that is unknown. RLIMIT_NPROC counts a user's processes in the user namespace. In the host's,
 * it would count all of the user's processes, so a limit can only be set there by a control
 * group. */
static int is_in_user_namespace(void)
{
	char map[256];
	ssize_t size = read_file("/proc/self/uid_map", map, sizeof map - 1);
	if (size < 0)
		return errno == ENOENT ? 0 : -1; /* a kernel without user namespaces */
	map[size] = 0;
	return size > 0 && !strstr(map, "4294967295");
}

/* The input and output of a script, as in protocol.py: by default, its input is empty, and its
 * stdout and stderr are two pipes. */
enum { NO_INPUT = 0, PASSED = 'p', JOINED = 'j', TERMINAL = 't' };

struct job {
	const char *processes, *open_files, *directory;
	char *search; /* "PATH=..." for the lookup of argv[0]; "" means the PATH of `environment` */
	char **argv, **environment;
	const struct winsize *terminal; /* size of its terminal; NULL without a terminal */
	int in_foreground; /* the terminal is the keeper's, and the job its foreground process group */
	char input, output; /* of a script: see `start_script_job` */
	mode_t mask; /* of a script: see umask(2) */
};

/* ---- system calls that no job may make (seccomp(2)) ----
 *
 * Two actions are refused that permissions alone would allow. In its own user and cgroup
 * namespaces, a process may mount control groups, and write to those that its user owns. And a
 * process may change limits and priorities of any other process of its user, including the keeper.
 *
 * The error is EPERM, as for a process without the privilege. clone3(2) has its flags in memory,
 * where a filter cannot read them; ENOSYS makes the C libraries fall back to clone(2). System
 * calls of another ABI have other numbers, so all of them are refused. */

#if defined __x86_64__
#define NATIVE_ABI AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define NATIVE_ABI AUDIT_ARCH_AARCH64
#else
#error "the filter does not know the system calls of this architecture"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the filter expects the lower half of an argument first (little endian)"
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

#define X32_BIT 0x40000000        /* set in x32 system call numbers, on x86-64 */
#define ALL_NAMESPACES 0x7e020080 /* every CLONE_NEW... flag of clone(2) and unshare(2) */
#define NEW_TIME_FLAG 0x80        /* CLONE_NEWTIME; for clone(2), part of a signal number */
#define PRIORITY_USER 2           /* PRIO_USER */
#define IOPRIO_USER 3             /* IOPRIO_WHO_USER, which no header of a C library defines */
#define KEEPER_PID 1              /* its process ID and its process group ID */

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define NUMBER offsetof(struct seccomp_data, nr)
#define LOWER(argument) (offsetof(struct seccomp_data, args) + 8 * (argument))
#define UPPER(argument) (LOWER(argument) + 4)
#define JUMP(test, value, if_so, if_not) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, if_so, if_not)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Refuse a system call depending on the lower half of one argument. The kernel ignores the upper
 * half: the argument is an int, or flags whose upper half is undefined. */
#define REFUSE_IF(number, argument, test, value) \
	JUMP(BPF_JEQ, number, 0, 4), LOAD(LOWER(argument)), JUMP(test, value, 0, 1), \
	REFUSE(EPERM), LOAD(NUMBER)

static uint32_t refused_namespaces = ALL_NAMESPACES;

/* Install the filter in this process and its descendants. Return 0, or nonzero with errno.
 * SPEC_ALLOW leaves speculation mitigations unchanged; kernels without this flag do not need it. */
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
		REFUSE_IF(SYS_clone, 0, BPF_JSET, refused_namespaces & ~(uint32_t)NEW_TIME_FLAG),
		REFUSE_IF(SYS_unshare, 0, BPF_JSET, refused_namespaces),
		REFUSE_IF(SYS_setpriority, 0, BPF_JEQ, PRIORITY_USER),
		REFUSE_IF(SYS_setpriority, 1, BPF_JEQ, KEEPER_PID),
		REFUSE_IF(SYS_ioprio_set, 0, BPF_JEQ, IOPRIO_USER),
		REFUSE_IF(SYS_ioprio_set, 1, BPF_JEQ, KEEPER_PID),
		REFUSE_IF(SYS_sched_setaffinity, 0, BPF_JEQ, KEEPER_PID),
		REFUSE_IF(SYS_sched_setscheduler, 0, BPF_JEQ, KEEPER_PID),
		REFUSE_IF(SYS_sched_setparam, 0, BPF_JEQ, KEEPER_PID),
		REFUSE_IF(SYS_sched_setattr, 0, BPF_JEQ, KEEPER_PID),
		JUMP(BPF_JEQ, SYS_prlimit64, 0, 7), /* refused for the keeper, except to read its limits */
		LOAD(LOWER(0)),
		JUMP(BPF_JEQ, KEEPER_PID, 0, 5),
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

/* ---- the process of a job ---- */

/* Lead a session, whose terminal is on stdin, or the foreground process group of the keeper's
 * session: if a script led the session of its terminal, the kernel would send SIGHUP to those that
 * outlive it, which hides them. The caller unblocks the signal. */
static int lead_session_or_group(const struct job *job)
{
	sigset_t in_background;
	if (!job->in_foreground) {
		setsid();
		return job->terminal ? ioctl(0, TIOCSCTTY, 0) : 0;
	}
	sigemptyset(&in_background);
	sigaddset(&in_background, SIGTTOU); /* tcsetpgrp(3) */
	sigprocmask(SIG_BLOCK, &in_background, NULL);
	return setpgid(0, 0) || tcsetpgrp(1, getpid()) ? -1 : 0;
}

/* Execute the job in this child process, or write the reason to `error_output` and exit: with 127
 * if there is no such program, 126 if it cannot be executed, and 125 for any other reason. */
static void exec_job(const struct job *job, int in, int out, int err, int error_output)
{
	const char *step = "cannot set up the standard streams", *where = "";
	int status = 125;
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		goto fail;
	if (lead_session_or_group(job) != 0)
		goto fail;
	reset_signals();
	step = job->directory;
	if (chdir(job->directory) != 0)
		goto fail;
	step = "/proc/self/uid_map";
	int counts_only_sandbox = is_in_user_namespace(); /* before the limit of open files applies */
	if (counts_only_sandbox < 0)
		goto fail;
	set_limit(RLIMIT_NOFILE, job->open_files);
	if (counts_only_sandbox)
		set_limit(RLIMIT_NPROC, job->processes);
	step = "cannot drop the keeper's capabilities";
	if (drop_capabilities(0) != 0)
		goto fail;
	step = "cannot filter system calls, which needs CONFIG_SECCOMP_FILTER in the kernel";
	if (refuse_system_calls() != 0)
		goto fail;
	char *search[] = { job->search, NULL };
	environ = *job->search ? search : job->environment;
	step = job->argv[0];
	if (*job->search)
		where = ", looked for in ";
	execvpe(job->argv[0], job->argv, job->environment);
	if (errno != EAGAIN && errno != ENOMEM)
		status = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
fail:
	dprintf(error_output, "%s%s%s: %s", step, where, *where ? job->search : "", strerror(errno));
	_exit(status);
}

static int open_null(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static char *next_field(char **at, const char *end)
{
	char *field = *at;
	size_t length = strnlen(field, (size_t)(end - field));
	if (field + length >= end) {
		errno = EBADMSG;
		fail("cannot read a job");
	}
	*at = field + length + 1;
	return field;
}

/* Parse the rest of a job, and pass it to `start`. */
static void start_job(char *at, const char *end, struct job job, void (*start)(const struct job *))
{
	job.processes = next_field(&at, end);
	job.open_files = next_field(&at, end);
	job.search = next_field(&at, end);
	job.directory = next_field(&at, end);
	size_t argc = strtoul(next_field(&at, end), NULL, 10), max = (size_t)(end - at) + 2, count = 0;
	char **strings = calloc(max, sizeof *strings);
	if (!strings || !argc)
		fail("cannot read a job");
	job.argv = strings;
	for (; count < argc; count++)
		strings[count] = next_field(&at, end);
	strings[count++] = NULL;
	job.environment = strings + count;
	while (at < end)
		strings[count++] = next_field(&at, end);
	start(&job);
	free(strings);
}

/* ---- the script ---- */

/* The read end belongs to the keeper and never blocks: any holder of the other end can open the
 * pipe for reading too (/proc/self/fd), and take the bytes that poll() saw. Each end has its own
 * flags. */
static int open_pipe(int ends[2])
{
	return pipe2(ends, O_CLOEXEC) || fcntl(ends[0], F_SETFL, O_NONBLOCK) ? -1 : 0;
}

/* A script may change anything in /dev, but nothing in a mounted /dev/pts (rule 2). */
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

/* Open a terminal as the keeper's own. Its signals go to the foreground process group, and those
 * to the keeper have no effect, as it handles none. In a container, the keeper leads a session
 * already. No key stops the script, as no process could resume it. */
static void open_output_terminal(const struct winsize *size)
{
	struct termios settings;
	if (open_terminal(&script.output[0], &script.input[0], size)
	    || tcgetattr(script.input[0], &settings))
		fail("cannot open a terminal");
	settings.c_cc[VSUSP] = _POSIX_VDISABLE;
	if (tcsetattr(script.input[0], TCSANOW, &settings))
		fail("cannot open a terminal");
	setsid();
	if (ioctl(script.input[0], TIOCSCTTY, 0) != 0)
		fail("cannot control a terminal");
	script.has_terminal = 1;
}

static void open_output_pipes(int count)
{
	for (int stream = 0; stream < count; stream++) {
		int ends[2];
		if (open_pipe(ends))
			fail("cannot create a pipe");
		script.output[stream] = ends[0];
		script.input[stream] = ends[1];
	}
}

/* A pipe has two ends: that of the script is returned, the other never blocks the keeper. */
static int open_script_input(char kind)
{
	int ends[2];
	script_input.ended = 0;
	script_input.pending_size = 0;
	if (kind == NO_INPUT)
		return open_null();
	if (kind == TERMINAL) {
		script_input.end = fcntl(script.output[0], F_DUPFD_CLOEXEC, 3);
		return script_input.end < 0 ? -1 : fcntl(script.input[0], F_DUPFD_CLOEXEC, 3);
	}
	if (pipe2(ends, O_CLOEXEC) || fcntl(ends[1], F_SETFL, O_NONBLOCK))
		return -1;
	script_input.end = ends[1];
	return ends[0];
}

/* Another script may follow after the end of the first, whose survivors keep the same output. */
static void start_script(const struct job *job)
{
	int start_error[2];
	if (script.pid && !script.reaped) {
		errno = EBUSY;
		fail("cannot start the script");
	}
	if (!script.pid && job->terminal)
		open_output_terminal(job->terminal);
	else if (!script.pid)
		open_output_pipes(job->output == JOINED ? 1 : 2);
	int in = open_script_input(job->input);
	if (in < 0 || open_pipe(start_error))
		fail("cannot create a pipe");
	pid_t pid = fork();
	if (pid < 0)
		fail("cannot start the script");
	int err = script.input[script.input[1] < 0 ? 0 : 1];
	if (pid == 0) {
		umask(job->mask);
		exec_job(job, in, script.input[0], err, start_error[1]);
	}
	close(in);
	close(start_error[1]);
	script.pid = pid;
	script.start_error = start_error[0];
	script.reaped = script.reported_empty = 0;
}

/* Parse "input\0output\0rows\0columns\0mask\0", each blank for its default, and a job; start it. */
static void start_script_job(char *at, const char *end)
{
	struct job job = { .input = *next_field(&at, end) };
	struct winsize size = { 0 };
	job.output = *next_field(&at, end);
	size.ws_row = (unsigned short)strtoul(next_field(&at, end), NULL, 10);
	size.ws_col = (unsigned short)strtoul(next_field(&at, end), NULL, 10);
	const char *mask = next_field(&at, end);
	job.mask = *mask ? (mode_t)strtoul(mask, NULL, 10) : DEFAULT_MASK;
	if (job.output == TERMINAL) {
		job.terminal = &size;
		job.in_foreground = 1;
	}
	start_job(at, end, job, start_script);
}

static void close_end(int *end)
{
	if (*end >= 0)
		close(*end);
	*end = -1;
}

/* End of file means that the script runs: execve() closed the other end. Otherwise there is an
 * error. */
static void check_start(void)
{
	ssize_t size = script.start_error < 0 ? 0 : read(script.start_error, buffer, sizeof buffer);
	if (size < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (size < 0)
		fail("cannot start the script");
	if (size > 0)
		put_frame(BROKEN, buffer, (size_t)size);
	close_end(&script.start_error);
}

/* ---- output ---- */

/* Read once and forward the bytes. Return their number, 0 if no bytes are available, or -1 after
 * the end of the file or the terminal (EIO), which closes `end`. */
static ssize_t drain(int *end, enum event type, size_t limit)
{
	if (*end < 0)
		return -1;
	ssize_t size = read(*end, buffer, limit < CHUNK ? limit : CHUNK);
	if (size < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (size < 0 && errno != EIO)
		fail("cannot read output");
	if (size > 0) {
		put_frame(type, buffer, (size_t)size);
		return size;
	}
	close_end(end);
	return -1;
}

/* Forward the last output of a terminal: only read(2) finds bytes that are still on their way to
 * the master. The amount is limited because other processes may print forever. */
static void drain_last(int *end, enum event type)
{
	for (int i = 0; i < MAX_LAST_CHUNKS && drain(end, type, CHUNK) > 0; i++)
		;
}

/* Forward only the bytes that are available now: a survivor may print forever, or read them
 * first. */
static void drain_pending(int *end, enum event type)
{
	int pending = 0;
	if (*end >= 0 && ioctl(*end, FIONREAD, &pending) != 0)
		fail("cannot read output");
	while (pending > 0) {
		ssize_t size = drain(end, type, (size_t)pending);
		if (size <= 0)
			return;
		pending -= (int)size;
	}
}

/* Close the keeper's end of the script's stdout or stderr: a process that writes there gets SIGPIPE
 * or EPIPE, as if isosmoke's reader were its own. A terminal stays open. */
static void close_output(const char *stream, size_t size)
{
	if (size != 1 || (*stream != STDOUT && *stream != STDERR)) {
		errno = EBADMSG;
		fail("cannot close an output");
	}
	if (!script.has_terminal)
		close_end(&script.output[*stream == STDERR]);
}

/* ---- the probe: a command alongside the script or after it ---- */

static void kill_children(void)
{
	DIR *processes = open_processes();
	struct status status;
	pid_t pid;
	while ((pid = next_process(processes)) >= 0)
		if (read_process_status(pid, &status) && status.parent == getpid() && kill(pid, SIGKILL) != 0)
			fail_unless_gone("cannot kill leftovers of a probe");
	closedir(processes);
}

/* Return 1 if the probe ended by itself, 0 if the keeper ended it with SIGTERM. */
static int wait_for_probe(pid_t pid, int *status)
{
	sigset_t awaited;
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigaddset(&awaited, SIGTERM);
	while (sigwaitinfo(&awaited, NULL) != SIGTERM) {
		pid_t child;
		while ((child = waitpid(-1, status, WNOHANG)) > 0)
			if (child == pid)
				return 1;
	}
	return 0;
}

/* Run a probe as its parent, and as the subreaper of its leftover processes. While the tree has a
 * process, the supervisor has a child: a killed process hands over its own children (rule 4). */
static void supervise_probe(const struct job *job, int out, int result_output)
{
	sigset_t all;
	int status = 0, ignored;
	supervisor_output = result_output;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t pid = fork(), ended;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		exec_job(job, open_null(), out, out, out);
	}
	struct probe_result result = { .error = pid < 0 ? errno : 0 };
	int has_ended = pid < 0 || wait_for_probe(pid, &status);
	for (kill_children(); (ended = wait(has_ended ? &ignored : &status)) > 0; kill_children())
		has_ended |= ended == pid;
	if (errno != ECHILD)
		fail("cannot wait for leftovers of a probe");
	result.status = status;
	_exit(write(result_output, &result, sizeof result) != sizeof result);
}

/* Return 0, or -1 with errno if nothing was started. */
static int fork_probe(const struct job *job)
{
	int out[2] = { -1, -1 }, result[2] = { -1, -1 }, error;
	errno = EBUSY;
	pid_t pid = -1;
	if (!probe.pid && !open_pipe(out) && !open_pipe(result))
		pid = fork();
	if (pid == 0)
		supervise_probe(job, out[1], result[1]);
	error = errno;
	close_end(&out[1]);
	close_end(&result[1]);
	if (pid < 0) {
		close_end(&out[0]);
		close_end(&result[0]);
		errno = error;
		return -1;
	}
	probe.pid = pid;
	probe.output = out[0];
	probe.result = result[0];
	return 0;
}

static void start_probe(const struct job *job)
{
	if (fork_probe(job) < 0)
		refuse("cannot start the probe");
}

/* SIGCONT too, because a process that may signal the script may have stopped the supervisor. */
static void end_probe(void)
{
	if (!probe.pid)
		return;
	kill(probe.pid, SIGTERM);
	kill(probe.pid, SIGCONT);
}

/* A supervisor that was killed sends no result; its own wait status is then used for the probe. */
static void handle_probe_exit(int status)
{
	struct probe_result result;
	probe.pid = 0;
	drain_pending(&probe.output, PROBE_OUTPUT);
	ssize_t size = read(probe.result, &result, sizeof result);
	if (size < 0 && errno != EAGAIN && errno != EINTR)
		fail("cannot read the result of a probe");
	if (size != sizeof result)
		result = (struct probe_result){ .status = status };
	close_end(&probe.output);
	close_end(&probe.result);
	errno = result.error;
	if (result.is_broken)
		fail("cannot find leftovers of a probe");
	if (result.error)
		refuse("cannot start the probe");
	else
		put_status(PROBED, result.status);
}

/* ---- the shell: a user at a terminal, or input through pipes ---- */

/* Open the three streams of a shell: its ends in `own`, the keeper's in `shell`. */
static int open_shell_ends(int own[3], const struct winsize *terminal)
{
	int in[2], out[2], err[2];
	if (terminal) {
		if (open_terminal(&shell.output[0], &own[0], terminal))
			return -1;
		shell_input.end = fcntl(shell.output[0], F_DUPFD_CLOEXEC, 3);
		own[1] = fcntl(own[0], F_DUPFD_CLOEXEC, 3);
		own[2] = fcntl(own[0], F_DUPFD_CLOEXEC, 3);
		return shell_input.end < 0 || own[1] < 0 || own[2] < 0 ? -1 : 0;
	}
	if (pipe2(in, O_CLOEXEC))
		return -1;
	own[0] = in[0], shell_input.end = in[1];
	if (open_pipe(out))
		return -1;
	own[1] = out[1], shell.output[0] = out[0];
	if (open_pipe(err))
		return -1;
	own[2] = err[1], shell.output[1] = err[0];
	return fcntl(shell_input.end, F_SETFL, O_NONBLOCK);
}

static void close_shell(void)
{
	close_end(&shell_input.end);
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
		refuse("cannot start the shell");
		return;
	}
	shell_input.pending_size = 0;
	shell_input.ended = 0;
	if (!open_shell_ends(own, job->terminal))
		pid = fork();
	if (pid == 0)
		exec_job(job, own[0], own[1], own[2], own[2]);
	shell.pid = pid;
	if (pid < 0) {
		refuse("cannot start the shell");
		close_shell();
	}
	for (int stream = 0; stream < 3; stream++)
		close_end(&own[stream]);
}

/* Parse "rows\0columns\0", both blank without a terminal, and a job; start it as a shell. */
static void start_shell_job(char *at, const char *end)
{
	struct winsize size = { .ws_row = (unsigned short)strtoul(next_field(&at, end), NULL, 10) };
	size.ws_col = (unsigned short)strtoul(next_field(&at, end), NULL, 10);
	start_job(at, end, (struct job){ .terminal = size.ws_row ? &size : NULL }, start_shell);
}

static void remove_input(struct input *input, size_t size)
{
	input->pending_size -= size;
	memmove(input->pending, input->pending + size, input->pending_size);
	put_status(input->accepted, (int)size);
}

/* Close it because it has no reader any more. */
static void drop_input(struct input *input)
{
	close_end(&input->end);
	if (input == &script_input)
		put_frame(SCRIPT_INPUT_CLOSED, NULL, 0);
}

/* Write as much as the reader accepts now: a process that does not read must not block the keeper. */
static void forward_input(struct input *input)
{
	while (input->pending_size) {
		ssize_t size = input->end < 0 ? -1 : write(input->end, input->pending, input->pending_size);
		if (size < 0 && input->end >= 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (size < 0 && input->end >= 0)
			drop_input(input);
		remove_input(input, size < 0 ? input->pending_size : (size_t)size);
	}
	if (input->ended)
		close_end(&input->end);
}

/* Empty input is the end of the input. The runner limits the input that is not yet accepted. */
static void add_input(struct input *input, const char *bytes, size_t size)
{
	if (size > sizeof input->pending - input->pending_size) {
		errno = EMSGSIZE;
		fail("cannot pass on input");
	}
	memcpy(input->pending + input->pending_size, bytes, size);
	input->pending_size += size;
	input->ended |= !size;
	forward_input(input);
}

static void resize_terminal(int master, const unsigned char *bytes, size_t size)
{
	struct winsize window = { 0 };
	if (size != 4) {
		errno = EBADMSG;
		fail("cannot resize the terminal");
	}
	window.ws_row = (unsigned short)(bytes[0] << 8 | bytes[1]);
	window.ws_col = (unsigned short)(bytes[2] << 8 | bytes[3]);
	if (master >= 0)
		ioctl(master, TIOCSWINSZ, &window);
}

static void handle_shell_exit(int status)
{
	drain_last(&shell.output[0], SHELL_STDOUT);
	drain_last(&shell.output[1], SHELL_STDERR);
	close_shell();
	put_status(SHELL_EXITED, status);
}

/* ---- endings and resource usage ---- */

static void handle_script_exit(int status)
{
	script.reaped = 1;
	check_start();
	close_end(&script_input.end);
	if (script.has_terminal) {
		drain_last(&script.output[0], STDOUT);
	} else {
		drain_pending(&script.output[0], STDOUT);
		drain_pending(&script.output[1], STDERR);
	}
	put_status(EXITED, status);
}

static long long microseconds(struct timeval time)
{
	return (long long)time.tv_sec * 1000000 + time.tv_usec;
}

/* The usage of a process includes that of its own reaped children. */
static void add_usage(const struct rusage *usage)
{
	used.user += microseconds(usage->ru_utime);
	used.system += microseconds(usage->ru_stime);
	if (usage->ru_maxrss > used.largest)
		used.largest = usage->ru_maxrss;
}

static void send_usage(void)
{
	put_text(USED, "%lld %lld %lld", used.user, used.system, used.largest);
}

/* Once the script has been reaped, its PID may belong to another process. */
static void handle_exit(pid_t pid, int status, const struct rusage *usage)
{
	if (pid == probe.pid) {
		handle_probe_exit(status);
		return;
	}
	if (pid == shell.pid) {
		handle_shell_exit(status);
		return;
	}
	add_usage(usage);
	if (pid == script.pid && !script.reaped)
		handle_script_exit(status);
}

/* Return whether there may be more children to reap: rule 6 limits the work per call. Every
 * process in the namespace descends from PID 1, so no child means no process. */
static int reap_children(int signals)
{
	struct signalfd_siginfo ignored;
	struct rusage usage;
	int status, remaining = MAX_REAPED;
	pid_t pid = 1;
	if (read(signals, &ignored, sizeof ignored) < 0 && errno != EAGAIN && errno != EINTR)
		fail("cannot watch child processes");
	while (remaining-- && (pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0)
		handle_exit(pid, status, &usage);
	if (pid < 0 && errno != ECHILD && errno != EINTR)
		fail("cannot wait for child processes");
	if (pid < 0 && errno == ECHILD && script.reaped && !script.reported_empty) {
		script.reported_empty = 1;
		put_frame(EMPTY, NULL, 0);
	}
	return pid > 0 || (pid < 0 && errno == EINTR);
}

/* ---- survivors ---- */

static void freeze_processes(void)
{
	put_text(FROZEN, "%d", stop_all());
}

static void thaw_processes(void)
{
	if (kill(-1, SIGCONT) != 0)
		fail_unless_gone("cannot resume leftover processes");
	put_frame(THAWED, NULL, 0);
}

/* The fields of one process, collected for one frame. A field is four bytes of length, then the
 * bytes. */
static struct {
	char bytes[4 * CHUNK];
	size_t size;
} record;

static void add_field(const char *bytes, ssize_t size)
{
	size_t remaining = sizeof record.bytes - record.size, length = size > 0 ? (size_t)size : 0;
	if (remaining < 4)
		return;
	if (length > remaining - 4)
		length = remaining - 4;
	unsigned char prefix[4] = { length >> 24, length >> 16, length >> 8, length };
	memcpy(record.bytes + record.size, prefix, 4);
	memcpy(record.bytes + record.size + 4, bytes, length);
	record.size += 4 + length;
}

static void add_file(const char *directory, const char *name)
{
	char path[96];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	ssize_t size = read_file(path, buffer, sizeof buffer);
	if (size < 0)
		fail_unless_hidden(path);
	add_field(buffer, size);
}

static void add_link(const char *directory, const char *name)
{
	char path[96];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	ssize_t size = readlink(path, buffer, sizeof buffer);
	if (size < 0)
		fail_unless_hidden(path);
	add_field(buffer, size);
}

/* Send one process, and return whether it has sockets. Its PID, parent and start time are those
 * of the main thread, which may be dead; everything else, including the state, is that of a
 * living task. */
static int send_process(pid_t pid)
{
	char task[64], state = 0;
	struct status status;
	pid_t living = find_living_task(pid, &state);
	if (living < 0 || !read_process_status(pid, &status))
		return 0;
	*status.state = state;
	snprintf(task, sizeof task, "/proc/%d/task/%d", pid, living);
	record.size = 0;
	add_field(status.line, (ssize_t)status.size);
	add_file(task, "cmdline");
	add_link(task, "cwd");
	add_link(task, "exe");
	record_sockets(pid);
	add_field(sockets.inodes, (ssize_t)sockets.size);
	put_frame(PROCESS, record.bytes, record.size);
	return sockets.size > 0;
}

/* A kernel may lack a table, but every table that exists must be readable. */
static void send_sockets(const char *table)
{
	char path[32];
	size_t name = strlen(table) + 1;
	snprintf(path, sizeof path, "/proc/net/%s", table);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		fail(path);
	memcpy(buffer, table, name);
	ssize_t size;
	while ((size = read(fd, buffer + name, sizeof buffer - name)) > 0)
		put_frame(SOCKETS, buffer, name + (size_t)size);
	if (size < 0)
		fail(path);
	close(fd);
}

static void send_list(void)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6", "unix" };
	DIR *processes = open_processes();
	int has_sockets = 0;
	pid_t pid;
	while ((pid = next_process(processes)) >= 0)
		has_sockets |= send_process(pid);
	closedir(processes);
	for (size_t table = 0; has_sockets && table < sizeof tables / sizeof *tables; table++)
		send_sockets(tables[table]);
	ssize_t uptime = read_file("/proc/uptime", buffer, 64);
	if (uptime <= 0)
		fail("/proc/uptime");
	put_frame(LISTED, buffer, (size_t)uptime);
}

/* ---- the loop ---- */

/* Signal its process group, or before it has one, only the script itself. */
static void signal_script(int number)
{
	if (!script.pid || script.reaped)
		return;
	if (kill(-script.pid, number) != 0 && errno == ESRCH)
		kill(script.pid, number);
}

static void handle_command(void)
{
	unsigned char header[5];
	read_all(header, sizeof header);
	uint32_t size = (uint32_t)header[1] << 24 | (uint32_t)header[2] << 16 | (uint32_t)header[3] << 8 | header[4];
	char *payload = size <= MAX_COMMAND_SIZE ? malloc(size + 1) : NULL;
	if (!payload)
		fail("cannot read a command");
	read_all(payload, size);
	switch (header[0]) {
	case GO: start_script_job(payload, payload + size); break;
	case TERM: signal_script(SIGTERM); break;
	case KILL: signal_script(SIGKILL); break;
	case FREEZE: freeze_processes(); break;
	case THAW: thaw_processes(); break;
	case USAGE: send_usage(); break;
	case PROBE: start_job(payload, payload + size, (struct job){ 0 }, start_probe); break;
	case END_PROBE: end_probe(); break;
	case SHELL: start_shell_job(payload, payload + size); break;
	case INPUT: add_input(&shell_input, payload, size); break;
	case RESIZE: resize_terminal(shell.output[0], (unsigned char *)payload, size); break;
	case SCRIPT_INPUT: add_input(&script_input, payload, size); break;
	case SCRIPT_RESIZE: resize_terminal(script.output[0], (unsigned char *)payload, size); break;
	case CLOSE_OUTPUT: close_output(payload, size); break;
	case LIST: send_list(); break;
	default: errno = EBADMSG; fail("cannot read a command");
	}
	free(payload);
}

/* Wait for events of the open descriptors only: poll(2) refuses more entries than the keeper may open
 * files, which a script can limit. */
static void wait_for_events(struct pollfd *watched, nfds_t count, int milliseconds)
{
	struct pollfd used[count];
	nfds_t used_count = 0;
	for (nfds_t i = 0; i < count; i++)
		if (watched[i].fd >= 0)
			used[used_count++] = watched[i];
	if (poll(used, used_count, milliseconds) < 0 && errno != EINTR)
		fail("cannot wait for events");
	for (nfds_t i = count; i-- > 0;)
		if (watched[i].fd >= 0)
			watched[i].revents = used[--used_count].revents;
}

/* The arguments are two masks: the capabilities that a script is granted (default: none), and the
 * namespaces that it must not create, as flags of clone(2) (default: all). */
int main(int argc, char **argv)
{
	if (getpid() != 1) {
		fputs("keeper: can only run as PID 1 of a sandbox\n", stderr);
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
			{ .fd = shell_input.pending_size ? shell_input.end : -1, .events = POLLOUT },
			{ .fd = script_input.pending_size ? script_input.end : -1, .events = POLLOUT },
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = script.start_error, .events = POLLIN },
		};
		wait_for_events(watched, sizeof watched / sizeof *watched, more_to_reap ? 0 : -1);
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
			forward_input(&shell_input);
		if (watched[7].revents)
			forward_input(&script_input);
		if (watched[9].revents)
			check_start();
		if (watched[0].revents || more_to_reap)
			more_to_reap = reap_children(signals);
		if (watched[8].revents)
			handle_command();
	}
}
