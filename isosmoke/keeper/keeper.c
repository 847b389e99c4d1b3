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
 *  3. After "go" it needs no new process, so a sandbox at its process limit
 *     can still be judged.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define VERSION "1"
#define CHUNK 65536
#define LARGEST_COMMAND (8u << 20)
#define FREEZE_ROUNDS 1000 /* of a millisecond each */

enum command { GO = 'g', TERM = 't', KILL = 'k', FREEZE = 'f', LIST = 'l' };
enum event {
	READY = 'R', STDOUT = 'o', STDERR = 'e', EXITED = 'X', EMPTY = '0', FROZEN = 'F',
	PROCESS = 'P', SOCKETS = 'S', LISTED = 'L', BROKEN = '!'
};

static struct {
	pid_t pid;          /* 0: not started */
	int reaped;         /* its wait status was told */
	int told_empty;
	int output[2];      /* read ends of its stdout and stderr, -1 once closed */
} script = { .output = { -1, -1 } };

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

static void give_up(const char *what)
{
	put_text(BROKEN, "%s: %s", what, strerror(errno));
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

static ssize_t slurp(const char *path, char *into, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t total = 0;
	ssize_t got;
	if (fd < 0)
		return -1;
	while (total < size && (got = read(fd, into + total, size - total)) > 0)
		total += (size_t)got;
	close(fd);
	return (ssize_t)total;
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

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };
	if (syscall(SYS_capset, &header, none) != 0)
		give_up("dropping capabilities");
}

/* Keys of the caller's login; a sandbox that forbids the call has no keys either. */
static void leave_session_keyring(void)
{
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
}

static void harden(void)
{
	close_from(3);
	umask(022);
	drop_capabilities();
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
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	int fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		give_up("watching children");
	return fd;
}

/* ---- go: "processes\0open files\0folder\0argc\0argv...\0environment...\0" ---- */

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
 * all of that user's processes; there a control group sets the limit, or nothing does. */
static int counts_its_own_processes(void)
{
	char map[256];
	ssize_t size = slurp("/proc/self/uid_map", map, sizeof map - 1);
	map[size > 0 ? size : 0] = 0;
	return size > 0 && !strstr(map, "4294967295");
}

struct job {
	const char *processes, *open_files, *folder;
	char **argv, **environment;
};

static void become_script(const struct job *job, int out, int err, int failed)
{
	const char *step = "open /dev/null";
	int null = open("/dev/null", O_RDONLY);
	setsid();
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		goto fail;
	close(null);
	default_signals();
	step = job->folder;
	if (chdir(job->folder) != 0)
		goto fail;
	limit(RLIMIT_NOFILE, job->open_files);
	if (counts_its_own_processes())
		limit(RLIMIT_NPROC, job->processes);
	environ = job->environment;
	step = job->argv[0];
	execvp(job->argv[0], job->argv);
fail:
	dprintf(failed, "%s: %s", step, strerror(errno));
	_exit(127);
}

static void start(const struct job *job)
{
	int out[2], err[2], failed[2];
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) || pipe2(failed, O_CLOEXEC))
		give_up("making pipes");
	pid_t pid = fork();
	if (pid < 0)
		give_up("starting the script");
	if (pid == 0)
		become_script(job, out[1], err[1], failed[1]);
	close(out[1]);
	close(err[1]);
	close(failed[1]);
	script.pid = pid;
	script.output[0] = out[0];
	script.output[1] = err[0];
	ssize_t size = read(failed[0], buffer, sizeof buffer); /* nothing: it runs */
	if (size > 0)
		put_frame(BROKEN, buffer, (size_t)size);
	close(failed[0]);
}

static char *next(char **at, const char *end)
{
	char *word = *at;
	size_t length = strnlen(word, (size_t)(end - word));
	if (word + length >= end) {
		errno = EBADMSG;
		give_up("reading go");
	}
	*at = word + length + 1;
	return word;
}

static void go(char *at, const char *end)
{
	struct job job = { .processes = next(&at, end) };
	job.open_files = next(&at, end);
	job.folder = next(&at, end);
	size_t argc = strtoul(next(&at, end), NULL, 10), most = (size_t)(end - at) + 2, count = 0;
	char **words = calloc(most, sizeof *words);
	if (!words || !argc)
		give_up("reading go");
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

/* ---- what the script prints, and how it ends ---- */

/* One read. What it returns is told; nothing or an error closes that end. */
static ssize_t drain(int which, size_t most)
{
	ssize_t size = read(script.output[which], buffer, most < CHUNK ? most : CHUNK);
	if (size < 0 && errno == EINTR)
		return 0;
	if (size > 0) {
		put_frame(which ? STDERR : STDOUT, buffer, (size_t)size);
		return size;
	}
	close(script.output[which]);
	script.output[which] = -1;
	return -1;
}

/* Only what is there now: a child it leaves behind may go on printing for ever. */
static void drain_pending(int which)
{
	int pending = 0;
	if (script.output[which] < 0 || ioctl(script.output[which], FIONREAD, &pending) != 0)
		return;
	while (pending > 0) {
		ssize_t size = drain(which, (size_t)pending);
		if (size < 0)
			return;
		pending -= (int)size;
	}
}

static void script_ended(int status)
{
	script.reaped = 1;
	drain_pending(0);
	drain_pending(1);
	put_header(EXITED, 4);
	put_u32((uint32_t)status);
}

/* Every process in the namespace descends from PID 1, so no child means no process. */
static void reap(int signals)
{
	struct signalfd_siginfo ignored;
	int status;
	pid_t pid;
	while (read(signals, &ignored, sizeof ignored) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == script.pid)
			script_ended(status);
	if (pid < 0 && errno == ECHILD && script.reaped && !script.told_empty) {
		script.told_empty = 1;
		put_frame(EMPTY, NULL, 0);
	}
}

/* ---- who is alive ---- */

static int is_process(const struct dirent *entry)
{
	return entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, "1") != 0;
}

/* The state follows the last ')': a command name may hold any byte. 0: it is gone. */
static char state_of(const char *pid)
{
	char path[64], stat[1024];
	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	ssize_t size = slurp(path, stat, sizeof stat - 1);
	if (size <= 0)
		return 0;
	stat[size] = 0;
	char *close = strrchr(stat, ')');
	return close && close[1] ? close[2] : 0;
}

/* D counts as still: with SIGSTOP pending it cannot reach its own code again, and
 * a parent in vfork() stays in D for as long as its stopped child does. */
static int all_still(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int still = 1;
	if (!processes)
		give_up("/proc");
	while (still && (entry = readdir(processes)))
		if (is_process(entry)) {
			char state = state_of(entry->d_name);
			still = !state || strchr("TtZXxD", state) != NULL;
		}
	closedir(processes);
	return still;
}

static void freeze(void)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int still = 0;
	for (int round = 0; round < FREEZE_ROUNDS && !still; round++) {
		if (round)
			nanosleep(&millisecond, NULL);
		kill(-1, SIGSTOP);
		still = all_still();
	}
	put_text(FROZEN, "%d", still);
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

static void add_file(const char *pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
	add_field(buffer, slurp(path, buffer, sizeof buffer));
}

static void add_link(const char *pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
	add_field(buffer, readlink(path, buffer, sizeof buffer));
}

/* The inodes of its sockets, each followed by a space. */
static size_t sockets_of(const char *pid, char *into, size_t size)
{
	char path[320], link[64];
	size_t used = 0;
	struct dirent *entry;
	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	DIR *descriptors = opendir(path);
	if (!descriptors)
		return 0;
	while ((entry = readdir(descriptors))) {
		snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
		ssize_t length = readlink(path, link, sizeof link - 1);
		if (length < 9 || strncmp(link, "socket:[", 8) != 0 || used + 24 > size)
			continue;
		link[length - 1] = 0;
		used += (size_t)snprintf(into + used, size - used, "%s ", link + 8);
	}
	closedir(descriptors);
	return used;
}

static int tell_process(const char *pid)
{
	char state = state_of(pid);
	if (!state || strchr("ZXx", state))
		return 0;
	record.size = 0;
	add_file(pid, "stat");
	add_file(pid, "cmdline");
	add_link(pid, "cwd");
	add_link(pid, "exe");
	size_t sockets = sockets_of(pid, buffer, sizeof buffer);
	add_field(buffer, (ssize_t)sockets);
	put_frame(PROCESS, record.bytes, record.size);
	return sockets > 0;
}

static void tell_sockets(const char *table)
{
	char path[32];
	size_t name = strlen(table) + 1;
	snprintf(path, sizeof path, "/proc/net/%s", table);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	memcpy(buffer, table, name);
	ssize_t size;
	while ((size = read(fd, buffer + name, sizeof buffer - name)) > 0)
		put_frame(SOCKETS, buffer, name + (size_t)size);
	close(fd);
}

static void list(void)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6", "unix" };
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int sockets = 0;
	if (!processes)
		give_up("/proc");
	while ((entry = readdir(processes)))
		if (is_process(entry))
			sockets |= tell_process(entry->d_name);
	closedir(processes);
	for (size_t table = 0; sockets && table < sizeof tables / sizeof *tables; table++)
		tell_sockets(tables[table]);
	ssize_t uptime = slurp("/proc/uptime", buffer, 64);
	if (uptime <= 0)
		give_up("/proc/uptime");
	put_frame(LISTED, buffer, (size_t)uptime);
}

/* ---- the loop ---- */

static void signal_script(int number)
{
	if (script.pid && !script.reaped)
		kill(-script.pid, number);
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
	case GO: go(payload, payload + size); break;
	case TERM: signal_script(SIGTERM); break;
	case KILL: signal_script(SIGKILL); break;
	case FREEZE: freeze(); break;
	case LIST: list(); break;
	default: errno = EBADMSG; give_up("reading a command");
	}
	free(payload);
}

int main(void)
{
	if (getpid() != 1) {
		fputs("keeper: it is PID 1 of a sandbox and nothing else\n", stderr);
		return 1;
	}
	harden();
	int signals = watch_children();
	put_frame(READY, VERSION, strlen(VERSION));
	for (;;) {
		struct pollfd watched[] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = script.output[0], .events = POLLIN },
			{ .fd = script.output[1], .events = POLLIN },
			{ .fd = STDIN_FILENO, .events = POLLIN },
		};
		if (poll(watched, 4, -1) < 0 && errno != EINTR)
			give_up("waiting");
		for (int which = 0; which < 2; which++)
			if (watched[1 + which].revents)
				drain(which, CHUNK);
		if (watched[0].revents)
			reap(signals);
		if (watched[3].revents)
			obey();
	}
}
