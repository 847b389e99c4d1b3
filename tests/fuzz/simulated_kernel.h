/*
 * keeper.c in a simulated kernel, to be fuzzed in one process that is not PID 1.
 *
 * Every system call of the keeper is answered here, and has no effect outside. The answers come from
 * the input of the fuzzer: `choices` for calls that may succeed or fail, and `records` for what
 * /proc contains. Without further choices and records, nothing fails, nothing happens, and /proc is
 * empty.
 *
 * Each time the keeper waits for events, its own rules are checked: what it wrote is complete frames
 * of known types, it has freed its memory, and it has closed every descriptor except those that its
 * state refers to. Signals are checked when it sends them.
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
#include <setjmp.h>
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

#define MAX_DESCRIPTORS 4096
#define MAX_BLOCKS 64
#define FIRST_DESCRIPTOR 10
#define FIRST_PID 50
#define RECORD_END 0xff   /* separates the records */
#define RECORD_ERROR 0xfe /* begins a record that is an error; the next byte selects it */
#define SHORT_READ 0xfd   /* ends a read(2) within a record */

struct bytes {
	const uint8_t *at, *end;
};

enum descriptor_kind { CLOSED, OTHER, PROC_FILE };

static struct {
	struct bytes input, choices, records;
	jmp_buf end;
	int is_child;          /* after a fork(2) that returned 0 */
	pid_t last_pid;
	int next_descriptor;
	uint8_t kinds[MAX_DESCRIPTORS];
	struct bytes contents[MAX_DESCRIPTORS];
	void *blocks[MAX_BLOCKS]; /* allocated and not freed */
	int open_directories;
	uint8_t header[5];     /* of the frame that is being written */
	size_t header_size, payload_size;
	char **environment;
} kernel;

struct directory {
	int has_processes; /* its entries are processes or tasks, not descriptors */
	struct bytes entries;
	struct dirent entry;
};

__attribute__((noreturn)) static void report(const char *fault)
{
	fprintf(stderr, "keeper: %s\n", fault);
	abort();
}

static void require(int holds, const char *fault)
{
	if (!holds)
		report(fault);
}

static uint8_t choose(void)
{
	return kernel.choices.at < kernel.choices.end ? *kernel.choices.at++ : 0;
}

static int fail_with(int error)
{
	errno = error;
	return -1;
}

/* Take the next record. Return 0, or -1 with errno if it is an error or there is none. */
static int take_record(struct bytes *record)
{
	static const int errors[] = { ENOENT, ESRCH, EACCES, EPERM, EMFILE, ENAMETOOLONG, EIO, ENOMEM };
	if (kernel.records.at >= kernel.records.end)
		return fail_with(ENOENT);
	record->at = kernel.records.at;
	record->end = memchr(record->at, RECORD_END, (size_t)(kernel.records.end - record->at));
	if (!record->end)
		record->end = kernel.records.end;
	kernel.records.at = record->end + (record->end < kernel.records.end);
	if (record->at == record->end || *record->at != RECORD_ERROR)
		return 0;
	return fail_with(errors[record->end - record->at > 1 ? record->at[1] % 8 : 0]);
}

/* ---- memory ---- */

static void *keep_block(void *block)
{
	size_t slot = 0;
	while (slot < MAX_BLOCKS && kernel.blocks[slot])
		slot++;
	require(slot < MAX_BLOCKS, "it allocates without end");
	kernel.blocks[slot] = block;
	return block;
}

static void *sim_malloc(size_t size)
{
	return keep_block(malloc(size));
}

static void *sim_calloc(size_t count, size_t size)
{
	return keep_block(calloc(count, size));
}

static void sim_free(void *block)
{
	for (size_t slot = 0; slot < MAX_BLOCKS; slot++)
		if (kernel.blocks[slot] == block)
			kernel.blocks[slot] = NULL;
	free(block);
}

static void free_blocks(void)
{
	for (size_t slot = 0; slot < MAX_BLOCKS; slot++) {
		free(kernel.blocks[slot]);
		kernel.blocks[slot] = NULL;
	}
}

/* ---- descriptors ---- */

static int open_descriptor(enum descriptor_kind kind)
{
	require(kernel.next_descriptor < MAX_DESCRIPTORS, "it opens descriptors without end");
	kernel.kinds[kernel.next_descriptor] = (uint8_t)kind;
	return kernel.next_descriptor++;
}

static int is_open(int fd)
{
	return fd >= 0 && fd < MAX_DESCRIPTORS && (fd < 3 || kernel.kinds[fd] != CLOSED);
}

static int sim_close(int fd)
{
	if (!kernel.is_child)
		require(fd > 2 && is_open(fd), "it closes a descriptor that is not open");
	if (is_open(fd))
		kernel.kinds[fd] = CLOSED;
	return 0;
}

static int sim_pipe2(int ends[2], int flags)
{
	require(flags == O_CLOEXEC, "a job would inherit a pipe");
	if (choose() == 1)
		return fail_with(EMFILE);
	ends[0] = open_descriptor(OTHER);
	ends[1] = open_descriptor(OTHER);
	return 0;
}

static int sim_fcntl(int fd, int command, ...)
{
	require(is_open(fd), "it changes a descriptor that is not open");
	if (command != F_DUPFD_CLOEXEC)
		return 0;
	return choose() == 1 ? fail_with(EMFILE) : open_descriptor(OTHER);
}

static int sim_open(const char *path, int flags, ...)
{
	struct bytes record;
	require((flags & O_CLOEXEC) != 0, "a job would inherit a file");
	if (strncmp(path, "/dev/", 5) == 0)
		return choose() == 1 ? fail_with(ENOENT) : open_descriptor(OTHER);
	if (take_record(&record))
		return -1;
	int fd = open_descriptor(PROC_FILE);
	kernel.contents[fd] = record;
	return fd;
}

static int sim_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	require(is_open(fd), "it controls a descriptor that is not open");
	if (request == FIONREAD)
		*va_arg(arguments, int *) = choose() * 1000;
	else if (request == TIOCGPTN)
		*va_arg(arguments, int *) = choose();
	else if (request != TIOCSWINSZ && choose() == 1)
		return fail_with(EIO);
	va_end(arguments);
	return 0;
}

static int sim_dup2(int from, int to)
{
	return is_open(from) ? to : fail_with(EBADF);
}

static ssize_t read_bytes(struct bytes *source, void *into, size_t size)
{
	size_t available = (size_t)(source->end - source->at);
	if (size > available)
		size = available;
	memcpy(into, source->at, size);
	source->at += size;
	return (ssize_t)size;
}

static ssize_t read_proc_file(struct bytes *file, void *into, size_t size)
{
	struct bytes piece = *file;
	const uint8_t *stop = memchr(piece.at, SHORT_READ, (size_t)(piece.end - piece.at));
	if (stop)
		piece.end = stop;
	ssize_t got = read_bytes(&piece, into, size);
	file->at = piece.at + (stop && piece.at == stop);
	return got;
}

static ssize_t sim_read(int fd, void *into, size_t size);
static ssize_t sim_write(int fd, const void *from, size_t size);

/* ---- processes ---- */

static pid_t sim_fork(void)
{
	uint8_t choice = choose();
	if (choice == 1)
		return fail_with(EAGAIN);
	if (choice == 2) {
		kernel.is_child = 1;
		return 0;
	}
	return ++kernel.last_pid;
}

__attribute__((noreturn)) static void sim_exit(int status)
{
	(void)status;
	longjmp(kernel.end, 1);
}

static int sim_execvpe(const char *program, char *const argv[], char *const environment[])
{
	size_t total = strlen(program);
	for (size_t i = 0; argv[i]; i++)
		total += strlen(argv[i]);
	for (size_t i = 0; environment[i]; i++)
		total += strlen(environment[i]);
	return fail_with(total % 2 ? ENOENT : EACCES);
}

static int sim_kill(pid_t pid, int number);
static pid_t sim_wait4(pid_t pid, int *status, int options, struct rusage *usage);

static pid_t sim_waitpid(pid_t pid, int *status, int options)
{
	(void)options;
	*status = choose();
	return choose() == 1 ? pid == -1 ? kernel.last_pid : pid : fail_with(ECHILD);
}

static pid_t sim_wait(int *status)
{
	return sim_waitpid(-1, status, 0);
}

static int sim_sigwaitinfo(const sigset_t *set, siginfo_t *information)
{
	(void)set, (void)information;
	return choose() == 1 ? SIGCHLD : SIGTERM;
}

static int sim_poll(struct pollfd *watched, nfds_t count, int timeout);

/* ---- directories and links ---- */

static DIR *sim_opendir(const char *path)
{
	struct bytes record;
	if (strcmp(path, "/proc") == 0 && kernel.records.at >= kernel.records.end)
		record = (struct bytes){ NULL, NULL }; /* it always exists */
	else if (take_record(&record))
		return NULL;
	struct directory *directory = malloc(sizeof *directory);
	directory->entries = record;
	directory->has_processes = !strstr(path, "/fd");
	kernel.open_directories++;
	return keep_block(directory);
}

static struct dirent *sim_readdir(DIR *handle)
{
	struct directory *directory = (struct directory *)handle;
	struct bytes *entries = &directory->entries;
	size_t size = 0;
	while (entries->at < entries->end && *entries->at == ' ')
		entries->at++;
	if (entries->at == entries->end)
		return NULL;
	if (*entries->at == '!') {
		entries->at++;
		errno = ESRCH;
		return NULL;
	}
	while (entries->at < entries->end && *entries->at != ' ' && size < sizeof directory->entry.d_name - 1)
		directory->entry.d_name[size++] = (char)*entries->at++;
	directory->entry.d_name[size] = 0;
	if (directory->has_processes && directory->entry.d_name[0] == '0')
		directory->entry.d_name[0] = 'x'; /* no process has the number 0, or a leading zero */
	return &directory->entry;
}

static int sim_closedir(DIR *handle)
{
	kernel.open_directories--;
	sim_free(handle);
	return 0;
}

static ssize_t sim_readlink(const char *path, char *into, size_t size)
{
	struct bytes record;
	(void)path;
	return take_record(&record) ? -1 : read_bytes(&record, into, size);
}

/* ---- calls that always succeed ---- */

static int sim_signalfd(int fd, const sigset_t *set, int flags)
{
	(void)fd, (void)set;
	require((flags & SFD_CLOEXEC) != 0, "a job would inherit a signal descriptor");
	return open_descriptor(OTHER);
}

static pid_t sim_getpid(void)
{
	return kernel.is_child ? FIRST_PID : 1;
}

static int sim_tcgetattr(int fd, struct termios *settings)
{
	require(is_open(fd), "it uses a terminal that is not open");
	memset(settings, 0, sizeof *settings);
	return choose() == 1 ? fail_with(EIO) : 0;
}

static int succeed(long first, ...)
{
	(void)first;
	return 0;
}

/* A function, because a statement that is only a number is an error for GCC. */
static pid_t sim_setsid(void)
{
	return 1;
}

static int sim_dprintf(int fd, const char *format, ...)
{
	va_list arguments;
	(void)fd;
	va_start(arguments, format);
	int size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	return size;
}

#define malloc sim_malloc
#define calloc sim_calloc
#define free sim_free
#define close sim_close
#define pipe2 sim_pipe2
#define fcntl sim_fcntl
#define open sim_open
#define ioctl sim_ioctl
#define dup2 sim_dup2
#define read sim_read
#define write sim_write
#define fork sim_fork
#define _exit sim_exit
#define execvpe sim_execvpe
#define kill sim_kill
#define wait sim_wait
#define wait4 sim_wait4
#define waitpid sim_waitpid
#define sigwaitinfo sim_sigwaitinfo
#define poll sim_poll
#define opendir sim_opendir
#define readdir sim_readdir
#define closedir sim_closedir
#define readlink sim_readlink
#define signalfd sim_signalfd
#define getpid sim_getpid
#define environ kernel.environment
#define chdir(path) (*(path) == '/' ? 0 : fail_with(ENOENT))
#define dprintf sim_dprintf
#define nanosleep(time, remaining) ((void)(time))
#define prctl succeed
#define setrlimit succeed
#define setsid sim_setsid
#define signal(number, handler) ((void)0)
#define sigprocmask(how, set, old) ((void)0)
#define syscall succeed
#define tcgetattr sim_tcgetattr
#define tcsetattr(fd, when, settings) 0
#define tcsetpgrp(fd, group) 0
#define setpgid(pid, group) 0
#define umask(mask) ((void)0)
#define main keeper_main

#include "keeper.c" /* in the directory that the compiler is given */

#undef main
#undef environ
#undef malloc
#undef free

/* ---- calls whose answers depend on the keeper's state ---- */

static ssize_t read_pipe(int fd, void *into, size_t size)
{
	uint8_t choice = choose();
	if (fd == script.start_error && script.reaped && choice < 4)
		return 0; /* the only other holder has ended */
	if ((fd == script.output[0] || fd == script.output[1]) && choice < 4)
		return fail_with(EAGAIN); /* the keeper itself holds the other end */
	if (fd == probe.result && choice > 3) {
		struct probe_result result = { .error = choose() % 2 ? EAGAIN : 0, .status = choose() };
		result.is_broken = choose() == 1;
		require(size >= sizeof result, "it reads only a part of a result");
		memcpy(into, &result, sizeof result);
		return sizeof result;
	}
	switch (choice) {
	case 0: return fail_with(EAGAIN);
	case 1: return 0;
	case 2: return fail_with(EIO);
	case 3: return fail_with(EINTR);
	}
	if (size > choice * (size_t)400)
		size = choice * (size_t)400;
	memset(into, choice, size);
	return (ssize_t)size;
}

static ssize_t sim_read(int fd, void *into, size_t size)
{
	require(is_open(fd), "it reads from a descriptor that is not open");
	require(size > 0, "it reads nothing, which is not the end of a file");
	if (fd == STDIN_FILENO)
		return read_bytes(&kernel.input, into, size);
	if (kernel.kinds[fd] == PROC_FILE)
		return read_proc_file(&kernel.contents[fd], into, size);
	return read_pipe(fd, into, size);
}

/* Check the frames that the keeper writes, byte by byte where a header is expected. */
static void check_frames(const uint8_t *at, size_t size)
{
	static const char types[] = "RoeX0FTPSLUqQNhjyYZH!";
	while (size) {
		if (kernel.header_size < sizeof kernel.header) {
			kernel.header[kernel.header_size++] = *at++;
			size--;
			if (kernel.header_size < sizeof kernel.header)
				continue;
			require(kernel.header[0] && strchr(types, kernel.header[0]), "it writes a frame of no type");
			kernel.payload_size = (size_t)kernel.header[1] << 24 | (size_t)kernel.header[2] << 16
			                      | (size_t)kernel.header[3] << 8 | kernel.header[4];
			require(kernel.payload_size <= sizeof record.bytes, "it writes a frame that is too long");
		}
		size_t part = size < kernel.payload_size ? size : kernel.payload_size;
		kernel.payload_size -= part;
		at += part;
		size -= part;
		if (!kernel.payload_size)
			kernel.header_size = 0;
	}
}

static ssize_t sim_write(int fd, const void *from, size_t size)
{
	require(is_open(fd), "it writes to a descriptor that is not open");
	if (fd == STDOUT_FILENO) {
		require(!kernel.is_child, "a child process writes between the frames of the keeper");
		check_frames(from, size);
		return (ssize_t)size;
	}
	switch (choose()) {
	case 1: return fail_with(EAGAIN);
	case 2: return fail_with(EPIPE);
	case 3: return fail_with(EINTR);
	case 4: return (ssize_t)(size > 1 ? size / 2 : size);
	default: return (ssize_t)size;
	}
}

/* A signal must reach only what the keeper started, and never the keeper itself. */
static int sim_kill(pid_t pid, int number)
{
	if (pid == -1)
		require(number == SIGSTOP || number == SIGCONT, "it ends every process");
	else if (!kernel.is_child)
		require(pid == script.pid || pid == -script.pid || pid == probe.pid, "it signals another process");
	require(pid != 1 && pid != 0, "it signals itself");
	return choose() == 1 ? fail_with(ESRCH) : 0;
}

static pid_t sim_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	(void)pid, (void)options;
	memset(usage, 0, sizeof *usage);
	uint8_t choice = choose();
	if (choice == 1)
		return fail_with(script.pid && !script.reaped ? EINTR : ECHILD);
	*status = choice > 1 ? choose() << 8 : 0;
	switch (choice) {
	case 2: return script.reaped ? 0 : script.pid;
	case 3: return probe.pid;
	case 4: return shell.pid;
	case 5: return FIRST_PID - 1; /* a process that the keeper adopted */
	default: return 0;
	}
}

static int count_open(const int *descriptors, size_t count)
{
	int open_count = 0;
	for (size_t i = 0; i < count; i++) {
		open_count += descriptors[i] >= 0;
		require(descriptors[i] < 0 || is_open(descriptors[i]), "its state refers to a closed descriptor");
	}
	return open_count;
}

static void check_rules(const struct pollfd *watched)
{
	const int descriptors[] = {
		watched[0].fd, script.start_error, script.output[0], script.output[1], script.input[0],
		script.input[1], script_input.end, probe.output, probe.result, shell_input.end, shell.output[0],
		shell.output[1]
	};
	int open_count = 0;
	for (int fd = 3; fd < kernel.next_descriptor; fd++)
		open_count += kernel.kinds[fd] != CLOSED;
	require(open_count == count_open(descriptors, sizeof descriptors / sizeof *descriptors),
	        "it leaves a descriptor open");
	require(kernel.header_size == 0, "it waits in the middle of a frame");
	require(kernel.open_directories == 0, "it leaves a directory open");
	for (size_t slot = 0; slot < MAX_BLOCKS; slot++)
		require(!kernel.blocks[slot], "it does not free its memory");
}

/* The keeper's order of the descriptors that it may wait for. */
static unsigned find_place(int fd, int signals)
{
	const int places[] = {
		signals, script.output[0], script.output[1], probe.output, shell.output[0], shell.output[1],
		shell_input.end, script_input.end, STDIN_FILENO, script.start_error
	};
	for (unsigned place = 0; place < sizeof places / sizeof *places; place++)
		if (places[place] == fd)
			return place;
	require(0, "it waits for a descriptor that it does not have");
	return 0;
}

/* Each bit of a choice means that a descriptor is ready. The runner's commands always follow, so a
 * run ends. */
static int sim_poll(struct pollfd *watched, nfds_t count, int timeout)
{
	uint8_t choice = choose();
	int ready = 0;
	(void)timeout;
	check_rules(watched);
	for (nfds_t i = 0; i < count; i++) {
		unsigned place = find_place(watched[i].fd, watched[0].fd);
		int is_ready = choice ? choice >> (place % 8) & 1 : watched[i].fd == STDIN_FILENO;
		watched[i].revents = is_ready ? watched[i].events : 0;
		ready += watched[i].revents != 0;
	}
	return ready;
}

static void reset_keeper(void)
{
	memset(&script, 0, sizeof script);
	script.start_error = -1;
	script.output[0] = script.output[1] = script.input[0] = script.input[1] = -1;
	memset(&probe, 0, sizeof probe);
	probe.output = probe.result = -1;
	shell.pid = 0;
	shell.output[0] = shell.output[1] = -1;
	script_input.end = shell_input.end = -1;
	script_input.ended = shell_input.ended = 0;
	script_input.pending_size = shell_input.pending_size = 0;
	memset(&used, 0, sizeof used);
	supervisor_output = -1;
	record.size = sockets.size = 0;
}

/* Run the keeper until it exits, which it does at the end of its input at the latest. */
static void run_keeper(struct bytes input, struct bytes choices, struct bytes records)
{
	char name[] = "keeper", *arguments[] = { name, NULL };
	reset_keeper();
	memset(&kernel, 0, sizeof kernel);
	kernel.input = input;
	kernel.choices = choices;
	kernel.records = records;
	kernel.last_pid = FIRST_PID;
	kernel.next_descriptor = FIRST_DESCRIPTOR;
	if (!setjmp(kernel.end))
		keeper_main(1, arguments);
	free_blocks();
}
