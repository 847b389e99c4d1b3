/*
 * The processes of a PID namespace, as its PID 1 sees them in /proc: which ones live, which are
 * stopped, and which sockets they hold. keeper.c and exec.c include this file; each defines fail().
 *
 * A failed check never counts as "no process": any error other than "it is gone" calls fail().
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define MAX_FREEZE_ROUNDS 1000 /* one millisecond each */
#define MAX_ATTEMPTS 1000
#define MAX_STAT_SIZE 2048 /* size of /proc/PID/stat: 52 numbers and a name */

/* Report that the processes cannot be inspected, with errno, and end. */
__attribute__((noreturn)) static void fail(const char *message);

/* Read at most `size` bytes of a file. Return their number, or -1 with errno. */
static ssize_t read_file(const char *path, char *into, size_t size)
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

/* Close the descriptors from `first` to `last`, both included. */
static void close_descriptors(unsigned first, unsigned last)
{
#ifdef SYS_close_range
	if (syscall(SYS_close_range, first, last, 0) == 0)
		return;
#endif
	for (unsigned fd = first; fd <= last && fd < 4096; fd++)
		close((int)fd);
}

/* ---- living processes ---- */

/* Only these two errors mean that a process or one of its tasks has ended. */
static int is_gone(int error)
{
	return error == ENOENT || error == ESRCH;
}

static void fail_unless_gone(const char *message)
{
	if (!is_gone(errno))
		fail(message);
}

/* Return NULL if the process of the directory is gone. */
static DIR *open_directory(const char *path)
{
	DIR *directory = opendir(path);
	if (!directory)
		fail_unless_gone(path);
	return directory;
}

static DIR *open_processes(void)
{
	DIR *processes = opendir("/proc");
	if (!processes)
		fail("/proc");
	return processes;
}

/* Return the next entry that is a number, or -1 at the end. */
static int next_number(DIR *directory, const char *path)
{
	struct dirent *entry;
	do {
		errno = 0;
		entry = readdir(directory);
		if (!entry && errno)
			fail_unless_gone(path);
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

/* The status of a process or of one of its tasks, from its line in /proc: see proc(5), `stat`. */
struct status {
	char line[MAX_STAT_SIZE];
	size_t size;
	char *state; /* a letter in the line */
	pid_t parent;
	int threads; /* of the process, including dead ones that have not been waited for */
};

/* Return 0 if the process or task is gone. The state follows the last ')', because a command
 * name may contain any byte. */
static int read_status(const char *path, struct status *status)
{
	ssize_t size = read_file(path, status->line, sizeof status->line - 1);
	if (size < 0) {
		fail_unless_gone(path);
		return 0;
	}
	status->line[size] = 0;
	status->size = (size_t)size;
	status->state = strrchr(status->line, ')');
	if (status->state) /* the state, the parent, 15 fields, the number of threads, and the line's end */
		status->state += 2;
	if (!status->state || status->line[size - 1] != '\n'
	    || sscanf(status->state, "%*c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
	              &status->parent, &status->threads) != 2) {
		errno = EBADMSG;
		fail(path);
	}
	return 1;
}

static int read_process_status(pid_t pid, struct status *status)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	return read_status(path, status);
}

static int is_dead(char state)
{
	return state == 'Z' || state == 'X' || state == 'x';
}

/* D counts as stopped: with SIGSTOP pending, a task cannot return to its own code. And a parent in
 * vfork() stays in D for as long as its child is stopped. */
static int is_stopped(char state)
{
	return is_dead(state) || state == 'T' || state == 't' || state == 'D';
}

/* Count the tasks of a process up to the first one whose state does not match. Store that task in
 * `task`, or -1 if there is none. A process that is gone has no tasks. */
static int count_tasks(pid_t pid, int (*has_state)(char), pid_t *task, char *state)
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
		if (!has_state(*state))
			break;
		count++;
	}
	closedir(tasks);
	return count;
}

/* If fewer tasks are counted than the process had before, a new one was missed. */
static int is_process_stopped(pid_t pid)
{
	struct status status;
	pid_t running;
	char state;
	if (!read_process_status(pid, &status))
		return 1;
	return count_tasks(pid, is_stopped, &running, &state) >= status.threads && running < 0;
}

static int are_all_stopped(void)
{
	DIR *processes = open_processes();
	int stopped = 1;
	pid_t pid;
	while (stopped && (pid = next_process(processes)) >= 0)
		stopped = is_process_stopped(pid);
	closedir(processes);
	return stopped;
}

/* Return a living task of a process and its state, or -1 if the process has ended. A process
 * ends with the last of its tasks, not with its main thread, which stays as a zombie until then. */
static pid_t find_living_task(pid_t pid, char *state)
{
	struct status status;
	for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
		pid_t living;
		if (!read_process_status(pid, &status))
			return -1;
		if (count_tasks(pid, is_dead, &living, state) >= status.threads || living >= 0)
			return living;
	}
	errno = EAGAIN;
	fail("cannot list the tasks of a process");
}

/* Stop every process of the namespace. Return 0 if one is still running after many attempts. */
static int stop_all(void)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int stopped = 0;
	for (int round = 0; round < MAX_FREEZE_ROUNDS && !stopped; round++) {
		if (round)
			nanosleep(&millisecond, NULL);
		if (kill(-1, SIGSTOP) != 0)
			fail_unless_gone("cannot stop leftover processes");
		stopped = are_all_stopped();
	}
	return stopped;
}

/* Some data of a listed process may be unreadable: it is not dumpable, belongs to another user,
 * is in a directory whose path is too long, or has just ended. The field is then blank. */
static void fail_unless_hidden(const char *path)
{
	if (errno != EACCES && errno != EPERM && errno != ENAMETOOLONG)
		fail_unless_gone(path);
}

/* Inodes between spaces, each only once: the tasks of a process may share descriptors. */
static struct {
	char inodes[CHUNK];
	size_t size;
} sockets;

static void record_socket(char *inode, size_t length)
{
	char entry[32];
	int size = snprintf(entry, sizeof entry, " %.*s ", (int)length, inode);
	if (size >= (int)sizeof entry || memmem(sockets.inodes, sockets.size, entry, (size_t)size)
	    || sockets.size + (size_t)size > sizeof sockets.inodes)
		return;
	memcpy(sockets.inodes + sockets.size, entry, (size_t)size);
	sockets.size += (size_t)size;
}

static void record_task_sockets(pid_t pid, pid_t task)
{
	char path[96], directory[64], link[64];
	int number;
	snprintf(directory, sizeof directory, "/proc/%d/task/%d/fd", pid, task);
	DIR *descriptors = opendir(directory);
	if (!descriptors) {
		fail_unless_hidden(directory);
		return;
	}
	while ((number = next_number(descriptors, directory)) >= 0) {
		snprintf(path, sizeof path, "%s/%d", directory, number);
		ssize_t length = readlink(path, link, sizeof link);
		if (length < 0)
			fail_unless_hidden(path);
		if (length > 9 && strncmp(link, "socket:[", 8) == 0)
			record_socket(link + 8, (size_t)length - 9);
	}
	closedir(descriptors);
}

/* Check every task, because each may have its own descriptors. */
static void record_sockets(pid_t pid)
{
	char path[64];
	pid_t task;
	sockets.size = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = open_directory(path);
	if (!tasks)
		return;
	while ((task = next_number(tasks, path)) >= 0)
		record_task_sockets(pid, task);
	closedir(tasks);
}
