/*
 * isosmoke-exec: run a command as before, and report the processes that outlive it.
 *
 * The wrapper, which the caller started, creates PID 1 of new PID and mount namespaces. PID 1
 * starts the command, outlives it, lists what is left, and appends a record to the log. The wrapper
 * passes signals on, stops and ends as the command does, and otherwise waits.
 *
 * Rules:
 *  1. The three processes are in one process group, so a terminal and kill(2) on the group reach
 *     the command without help. A signal for the wrapper alone is passed on. PID 1 tells them
 *     apart: it blocks every signal, so one for the group is pending in it too.
 *  2. PID 1 ends when the wrapper's end of their socket is closed, however the wrapper dies, and
 *     the kernel then ends the namespace. PR_SET_PDEATHSIG alone would be racy: it is set after the
 *     fork. It sends SIGCONT, because a stopped PID 1 would not read the socket.
 *  3. The wrapper stays in its namespaces. If the new ones are refused, it can still become the
 *     command.
 *  4. Every run leaves one line, also without a verdict. Before it starts the command, it writes one
 *     space, which JSON permits before a value, so a reader knows of a run that left no line.
 *  5. The wrapper and PID 1 keep no descriptor of the command open except stderr, for errors.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "leak_record.h"

#define FAILURE 125           /* the exit code of an error of the wrapper itself, as for env(1) */
#define SETTLE_SECONDS 2.0    /* as `settle_seconds` of a manifest */
#define MERGE_SECONDS 0.2     /* see is_for_group */
#define INIT_NAME "namespace-init" /* of PID 1; at most 15 bytes, and not like that of the wrapper */
#define MAX_REAPED 1000       /* per round, before signals and the wrapper are heard again */
#define PARENT_CHECK_MS 500   /* only where pidfd_open(2) is missing */
#define MAX_TEXT 2000         /* bytes of text in a message */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static const char USAGE[] =
	"usage: isosmoke-exec [OPTION]... [--] COMMAND [ARG]...\n"
	"\n"
	"Run COMMAND as before, then report and end the processes that outlive it.\n"
	"\n"
	"  --name NAME       the name of the test (default: $ISOSMOKE_EXEC_NAME, or that of nextest)\n"
	"  --settle SECONDS  wait so long for processes that are about to end (default: 2)\n"
	"  --fresh-home      give COMMAND a blank HOME, in memory\n"
	"  --fresh-tmp       give COMMAND a blank /tmp and /var/tmp, in memory\n"
	"\n"
	"Environment:\n"
	"  ISOSMOKE_EXEC_LOG=FILE      append one line of JSON; read it with `isosmoke leaks FILE`\n"
	"  ISOSMOKE_EXEC_LEAKS=fail    exit with 1 if COMMAND passes but leaves a process\n"
	"  ISOSMOKE_EXEC_MISSING=run   run COMMAND unwatched where namespaces are refused\n"
	"  ISOSMOKE_EXEC_SETTLE, ISOSMOKE_EXEC_NAME   as the options\n"
	"\n"
	"Exit code: that of COMMAND; 1 for a leak; 125 for an error of isosmoke-exec.\n";

static struct {
	const char *name; /* NULL: derived from the command by the reader */
	double settle;    /* seconds */
	int fresh_home, fresh_tmp, fails_on_leak, runs_unwatched;
	char **command;
} options = { .settle = SETTLE_SECONDS };

enum message_kind {
	READY = 1,  /* PID 1: the command is started */
	REFUSED,    /* PID 1: the namespace cannot be set up; `value` is errno, `text` the step */
	STOPPED,    /* PID 1: a signal, in `value`, has stopped the command */
	CONTINUED,  /* PID 1: the command runs again */
	ENDED,      /* PID 1: the record is written; `value` is the wait status, `text` the leaks */
	BROKEN,     /* PID 1: there is no verdict; `text` is the reason */
	SIGNAL,     /* wrapper: it got the signal `value`, with `data` if `has_data` */
	ABANDON,    /* wrapper: its parent has ended */
};

struct message {
	enum message_kind kind;
	int value, has_data, data;
	int stop; /* the number of the last stop; a SIGCONT without it did not end one */
	char text[MAX_TEXT];
};

static struct {
	sigset_t mask;               /* of the caller, for the command */
	struct sigaction on_child;   /* likewise */
	int is_in_foreground;        /* of the controlling terminal */
	int log;                     /* -1 without a log */
	off_t log_size;              /* in bytes, with the mark of this run; 0 if it is no regular file */
	int channel;                 /* the own end of the socket between the wrapper and PID 1 */
	int signals;                 /* descriptor of blocked signals */
	struct timespec started_at;  /* time of day */
	double started;              /* seconds on the monotonic clock */
	struct text record;
} run = { .log = -1, .channel = -1, .signals = -1 };

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- errors ---- */

/* Set only in PID 1. */
static struct {
	int is_running, is_failing;
	pid_t command;
	int has_ended, status;       /* of the command */
	int is_stopped, stops;       /* likewise; the number of its stops so far */
	double ended;                /* seconds on the monotonic clock */
	int is_empty;                /* no process is left */
	unsigned char from_outside[NSIG]; /* signals that the process group got */
	double merged_until[NSIG];        /* seconds on the monotonic clock */
} init;

static void send_message(enum message_kind kind, int value, const char *text, size_t size)
{
	struct message message = { .kind = kind, .value = value, .stop = init.stops };
	if (size)
		memcpy(message.text, text, size < MAX_TEXT - 1 ? size : MAX_TEXT - 1);
	while (send(run.channel, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* End the namespace with a record that has no verdict. */
__attribute__((noreturn)) static void break_off(const char *reason)
{
	kill(-1, SIGKILL);
	if (!init.is_failing++) {
		append_time(&run.record, run.started_at, now() - run.started);
		append_unwatched(&run.record, reason);
		write_record(run.log, &run.record);
	}
	send_message(BROKEN, init.status, reason, strlen(reason));
	_exit(FAILURE);
}

__attribute__((noreturn)) static void stop_with(const char *message, const char *remedy)
{
	dprintf(STDERR_FILENO, "isosmoke-exec: %s\n", message);
	if (remedy)
		dprintf(STDERR_FILENO, "  try: %s\n", remedy);
	_exit(FAILURE);
}

__attribute__((noreturn)) static void fail(const char *message)
{
	char text[MAX_TEXT];
	snprintf(text, sizeof text, "%s: %s", message, strerror(errno));
	if (init.is_running)
		break_off(text);
	stop_with(text, NULL);
}

/* ---- options ---- */

static void read_settle(const char *text)
{
	char *end;
	options.settle = strtod(text, &end);
	if (end == text || *end || !(options.settle >= 0 && options.settle <= 86400))
		stop_with("the settle time is not a number of seconds from 0 to 86400", "isosmoke-exec --settle 2 COMMAND");
}

/* Return whether the variable has the one value that turns something on. */
static int has_value(const char *variable, const char *value, const char *remedy)
{
	const char *text = getenv(variable);
	char message[MAX_TEXT];
	if (!text || !*text)
		return 0;
	if (strcmp(text, value) == 0)
		return 1;
	snprintf(message, sizeof message, "%s has an unknown value: %s", variable, text);
	stop_with(message, remedy);
}

/* cargo-nextest names the test in the environment of a wrapper. */
static const char *find_name(void)
{
	static char name[MAX_TEXT];
	const char *own = getenv("ISOSMOKE_EXEC_NAME"), *binary = getenv("NEXTEST_BINARY_ID"),
	           *test = getenv("NEXTEST_TEST_NAME");
	if (own && *own)
		return own;
	if (!test || !*test)
		return NULL;
	snprintf(name, sizeof name, "%s%s%s", binary ? binary : "", binary ? " " : "", test);
	return name;
}

static void read_environment(void)
{
	const char *settle = getenv("ISOSMOKE_EXEC_SETTLE");
	if (settle && *settle)
		read_settle(settle);
	options.name = find_name();
	options.fails_on_leak = has_value("ISOSMOKE_EXEC_LEAKS", "fail", "ISOSMOKE_EXEC_LEAKS=fail");
	options.runs_unwatched = has_value("ISOSMOKE_EXEC_MISSING", "run", "ISOSMOKE_EXEC_MISSING=run");
}

/* Return the value of `--OPTION VALUE` or `--OPTION=VALUE`, or NULL if `*at` is another option. */
static const char *match_option(char ***at, const char *option)
{
	size_t length = strlen(option);
	if (strncmp(**at, option, length) != 0 || (*(**at + length) && *(**at + length) != '='))
		return NULL;
	if (*(**at + length) == '=')
		return **at + length + 1;
	if (!*++*at)
		stop_with("an option lacks its value", "isosmoke-exec --help");
	return **at;
}

static void read_option(char ***at)
{
	const char *value;
	char message[MAX_TEXT];
	if (strcmp(**at, "--fresh-home") == 0)
		options.fresh_home = 1;
	else if (strcmp(**at, "--fresh-tmp") == 0)
		options.fresh_tmp = 1;
	else if ((value = match_option(at, "--name")))
		options.name = value;
	else if ((value = match_option(at, "--settle")))
		read_settle(value);
	else if (strcmp(**at, "--help") == 0) {
		fputs(USAGE, stdout);
		exit(fflush(stdout) ? FAILURE : 0);
	} else {
		snprintf(message, sizeof message, "unknown option %s", **at);
		stop_with(message, "isosmoke-exec --help");
	}
}

/* Options end at the first argument that is none. */
static void read_options(char **at)
{
	read_environment();
	for (at++; *at && **at == '-'; at++) {
		if (strcmp(*at, "--") == 0) {
			at++;
			break;
		}
		read_option(&at);
	}
	if (!*at)
		stop_with("no command", "isosmoke-exec COMMAND [ARG]...; see isosmoke-exec --help");
	options.command = at;
}

/* ---- the log ---- */

/* Occupy standard descriptors that the caller has closed, so that no other file gets their numbers.
 * They are closed again for the command. */
static void reserve_standard_descriptors(void)
{
	int fd;
	while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd < 3)
		;
	if (fd >= 0)
		close(fd);
}

/* A named pipe without a reader is an error instead of a wait. */
static void open_log(void)
{
	const char *path = getenv("ISOSMOKE_EXEC_LOG");
	char message[MAX_TEXT];
	if (!path || !*path)
		return;
	run.log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	if (run.log < 0) {
		snprintf(message, sizeof message, "cannot open ISOSMOKE_EXEC_LOG=%s: %s", path, strerror(errno));
		stop_with(message, "name a file in a directory that exists and is writable");
	}
	unsetenv("ISOSMOKE_EXEC_LOG");
}

static int is_regular_log(struct stat *file)
{
	return run.log >= 0 && fstat(run.log, file) == 0 && S_ISREG(file->st_mode);
}

/* Rule 4. */
static void mark_start(void)
{
	struct stat file;
	if (!is_regular_log(&file))
		return;
	if (write(run.log, " ", 1) != 1)
		fail("cannot write to the file that ISOSMOKE_EXEC_LOG names");
	run.log_size = file.st_size + 1;
}

/* Return whether the mark of this run, and with it those of earlier runs, is lost. Other runs only
 * append. A file with another name still has its content. */
static int is_log_lost(void)
{
	struct stat file;
	return is_regular_log(&file) && (!file.st_nlink || file.st_size < run.log_size);
}

/* ---- the command ---- */

static void restore_signals(void)
{
	sigaction(SIGCHLD, &run.on_child, NULL);
	sigprocmask(SIG_SETMASK, &run.mask, NULL);
}

/* Become the command, or exit as a shell does: with 127 if there is no such program, else 126. */
__attribute__((noreturn)) static void become_command(void)
{
	restore_signals();
	execvp(options.command[0], options.command);
	int status = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
	dprintf(STDERR_FILENO, "isosmoke-exec: cannot run %s: %s\n", options.command[0], strerror(errno));
	_exit(status);
}

/* ---- PID 1: the namespace ---- */

/* Report a refusal to the wrapper, which still can run the command without a namespace. */
__attribute__((noreturn)) static void refuse(const char *step)
{
	send_message(REFUSED, errno, step, strlen(step));
	_exit(FAILURE);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		refuse(path);
	close(fd);
}

/* Keep the user and the group; all others are unknown in the namespace. setgroups(2) has to be
 * denied first (user_namespaces(7)); a kernel older than 3.19 has no such file. */
static void map_user(uid_t user, gid_t group)
{
	char map[64];
	if (access("/proc/self/setgroups", F_OK) == 0)
		write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1\n", user, user);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "%u %u 1\n", group, group);
	write_file("/proc/self/gid_map", map);
}

static int is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || !path[length]);
}

static int is_temporary(const char *path)
{
	return is_below(path, "/tmp") || is_below(path, "/var/tmp");
}

/* Create the directories of a path, whose parents are writable. */
static void make_directories(char *path)
{
	for (char *at = path + 1; *at; at++)
		if (*at == '/') {
			*at = 0;
			mkdir(path, 0755);
			*at = '/';
		}
	mkdir(path, 0755);
}

/* Make an open directory visible at its path again. */
static void restore_directory(int directory, char *path)
{
	char source[48];
	snprintf(source, sizeof source, "/proc/self/fd/%d", directory);
	make_directories(path);
	if (mount(source, path, NULL, MS_BIND | MS_REC, NULL) != 0)
		refuse(path);
	close(directory);
}

/* Store the path by which execvp(3) finds the command; return 0 if there is none. */
static int find_command(char path[PATH_MAX])
{
	const char *at = getenv("PATH"), *name = options.command[0];
	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
	while (at && *at) {
		size_t length = strcspn(at, ":");
		if (snprintf(path, PATH_MAX, "%.*s/%s", (int)length, at, name) < PATH_MAX && access(path, X_OK) == 0)
			return 1;
		at += length + (at[length] == ':');
	}
	return 0;
}

/* Store the directories of the command: that of its name, and that of the file if it is a link. */
static void find_command_directories(char named[PATH_MAX], char real[PATH_MAX])
{
	char path[PATH_MAX];
	if (!find_command(path))
		return;
	if (realpath(path, real))
		*strrchr(real, '/') = 0;
	*(strrchr(path, '/') + 1) = 0;
	if (!realpath(path, named))
		*named = 0;
}

/* The working directory and those of the command stay visible if they are in /tmp. */
static void mount_fresh_tmp(void)
{
	char paths[3][PATH_MAX] = { "", "", "" };
	int kept[3] = { -1, -1, -1 };
	if (!getcwd(paths[0], PATH_MAX))
		*paths[0] = 0;
	find_command_directories(paths[1], paths[2]);
	for (int i = 0; i < 3; i++) {
		int is_visible = 0;
		for (int earlier = 0; earlier < i; earlier++)
			is_visible = is_visible || (*paths[earlier] && is_below(paths[i], paths[earlier]));
		if (is_temporary(paths[i]) && !is_visible)
			kept[i] = open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0
	    || mount("tmpfs", "/var/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") != 0)
		refuse("a fresh /tmp");
	for (int i = 2; i >= 0; i--)
		if (kept[i] >= 0)
			restore_directory(kept[i], paths[i]);
	if (kept[0] >= 0 && chdir(paths[0]) != 0)
		refuse(paths[0]);
	unsetenv("TMPDIR");
	unsetenv("TMP");
	unsetenv("TEMP");
}

/* All runs of a user share one mount point, which is blank outside their mount namespaces. In a
 * directory for all users, another user may have created it. */
static void mount_fresh_home(uid_t user)
{
	const char *parent = getenv("TMPDIR");
	char path[PATH_MAX], target[48];
	struct stat status;
	snprintf(path, sizeof path, "%s/isosmoke-exec-home-%u", parent && *parent == '/' ? parent : "/tmp", user);
	mkdir(path, 0700);
	int home = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (home < 0 || fstat(home, &status) != 0)
		refuse(path);
	errno = EPERM;
	snprintf(target, sizeof target, "/proc/self/fd/%d", home);
	if (status.st_uid != user || mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") != 0)
		refuse(path);
	close(home);
	setenv("HOME", path, 1);
	for (const char *const *at = (const char *const[]) { "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", NULL }; *at; at++)
		unsetenv(*at);
}

/* Mounts from outside still arrive, but none leaves. */
static void set_up_mounts(uid_t user)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		refuse("the mount tree");
	if (options.fresh_tmp)
		mount_fresh_tmp();
	if (options.fresh_home)
		mount_fresh_home(user);
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		refuse("/proc");
}

/* ---- PID 1: the command and what it leaves ---- */

static void drain_signals(void)
{
	struct signalfd_siginfo signal;
	while (read(run.signals, &signal, sizeof signal) == sizeof signal)
		if (signal.ssi_signo < NSIG && !signal.ssi_pid)
			init.from_outside[signal.ssi_signo] = 1;
}

static void handle_status(int status)
{
	if (WIFSTOPPED(status)) {
		init.is_stopped = 1;
		init.stops++;
		send_message(STOPPED, WSTOPSIG(status), "", 0);
	} else if (WIFCONTINUED(status)) {
		init.is_stopped = 0;
		send_message(CONTINUED, 0, "", 0);
	} else {
		init.has_ended = 1;
		init.status = status;
		init.ended = now();
	}
}

/* Every process of the namespace descends from PID 1, so no child means no process. Return whether
 * there may be more to reap. */
static int reap(void)
{
	int status, remaining = MAX_REAPED;
	pid_t pid = 1;
	while (remaining-- && (pid = wait4(-1, &status, WNOHANG | __WALL | WUNTRACED | WCONTINUED, NULL)) > 0)
		if (pid == init.command && !init.has_ended)
			handle_status(status);
	if (pid < 0 && errno != ECHILD && errno != EINTR)
		fail("cannot wait for processes");
	init.is_empty = pid < 0 && errno == ECHILD;
	return pid > 0 || (pid < 0 && errno == EINTR);
}

static int is_request_to_end(int number)
{
	return number == SIGHUP || number == SIGINT || number == SIGQUIT || number == SIGTERM;
}

/* Return whether the wrapper got this signal as a member of the process group. Two signals in quick
 * succession may be one for PID 1 and two for the wrapper, so the second one counts too. */
static int is_for_group(int number)
{
	if (init.from_outside[number]) {
		init.from_outside[number] = 0;
		init.merged_until[number] = now() + MERGE_SECONDS;
		return 1;
	}
	return now() < init.merged_until[number];
}

/* Return whether the command still needs this signal, which the wrapper got (rule 1). The kernel
 * continues the command before the wrapper, so a SIGCONT for both has ended the stop by now. */
static int needs(const struct message *message)
{
	reap();
	drain_signals();
	int was_for_group = is_for_group(message->value);
	if (message->value == SIGCONT && (message->stop || init.is_stopped))
		return init.is_stopped && message->stop == init.stops;
	return !was_for_group;
}

/* After the end of the command, a request to end ends the settle time. */
static void pass_on(const struct message *message)
{
	int is_needed = needs(message);
	if (init.has_ended && is_request_to_end(message->value))
		options.settle = 0;
	else if (!init.has_ended && is_needed && message->has_data)
		sigqueue(init.command, message->value, (union sigval) { .sival_int = message->data });
	else if (!init.has_ended && is_needed)
		kill(init.command, message->value);
}

static void hear_wrapper(void)
{
	struct message message;
	ssize_t size = recv(run.channel, &message, sizeof message, MSG_DONTWAIT);
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0)
		break_off("isosmoke-exec was killed"); /* rule 2 */
	if (message.kind == SIGNAL)
		pass_on(&message);
	else
		break_off("the process that started isosmoke-exec ended before the command");
}

/* Return the milliseconds to wait for an event: -1 is without limit. */
static int remaining_time(void)
{
	if (!init.has_ended)
		return -1;
	double remaining = init.ended + options.settle - now();
	return remaining > 0 ? (int)(remaining * 1000) + 1 : 0;
}

static void await_end(void)
{
	int more_to_reap = reap();
	while (!init.has_ended || !init.is_empty) {
		int milliseconds = remaining_time();
		struct pollfd watched[] = {
			{ .fd = run.signals, .events = POLLIN },
			{ .fd = run.channel, .events = POLLIN },
		};
		if (!milliseconds)
			return;
		if (poll(watched, 2, more_to_reap ? 0 : milliseconds) < 0 && errno != EINTR)
			fail("cannot wait for events");
		drain_signals();
		if (watched[1].revents)
			hear_wrapper();
		more_to_reap = reap();
	}
}

/* A list may only be blank if the last processes have ended in the meantime. */
static void require_listed(int count)
{
	while (!count && reap())
		;
	if (count || init.is_empty)
		return;
	errno = ENODATA;
	fail("processes are left, but /proc does not list them");
}

/* Write the record, and send the description of the leaks to the wrapper, which prints it. */
__attribute__((noreturn)) static void report(void)
{
	struct text survivors = { 0 }, words = { 0 };
	if (!init.is_empty) {
		if (!stop_all()) {
			errno = EAGAIN;
			fail("cannot stop the processes that are left");
		}
		require_listed(append_survivors(&survivors, &words));
		if (kill(-1, SIGKILL) != 0)
			fail_unless_gone("cannot end the processes that are left");
	}
	if (is_log_lost())
		break_off("the file that ISOSMOKE_EXEC_LOG names was removed or truncated");
	append_time(&run.record, run.started_at, init.ended - run.started);
	append_verdict(&run.record, init.status, &survivors);
	init.is_failing = 1; /* a second record would be wrong */
	if (write_record(run.log, &run.record) != 0)
		fail("cannot write to the file that ISOSMOKE_EXEC_LOG names");
	send_message(ENDED, init.status, words.bytes, words.size);
	_exit(0);
}

/* Close every descriptor except these. */
static void close_except(const int *kept, size_t count)
{
	for (int from = 0;;) {
		int next = INT_MAX;
		for (size_t i = 0; i < count; i++)
			if (kept[i] >= from && kept[i] < next)
				next = kept[i];
		if (next > from)
			close_descriptors((unsigned)from, next == INT_MAX ? ~0u : (unsigned)next - 1);
		if (next == INT_MAX)
			return;
		from = next + 1;
	}
}

/* Give PID 1 its own name and command line, and the command a copy of its arguments. Otherwise
 * `killall isosmoke-exec` and `pkill -f` would reach PID 1 too, which takes a signal from outside for
 * one to the process group, and `pgrep -f` inside would find the command twice. */
static void rename_init(char **argv)
{
	size_t count = 0, room = strlen(argv[0]);
	while (options.command[count])
		count++;
	char **command = calloc(count + 1, sizeof *command);
	for (size_t i = 0; i < count; i++)
		if (!command || !(command[i] = strdup(options.command[i])))
			refuse("memory for the arguments");
	options.command = command;
	for (char **at = argv; *at; at++)
		memset(*at, 0, strlen(*at));
	snprintf(argv[0], room + 1, INIT_NAME);
	prctl(PR_SET_NAME, INIT_NAME, 0, 0, 0);
}

/* Ready: the command is about to start, and nothing can be refused any more. It is held until PID 1
 * has closed its descriptors, and with them the pipe: then it finds nothing of PID 1 half set up. */
static void start_command(void)
{
	int hold[2];
	char none;
	if (pipe2(hold, O_CLOEXEC) != 0)
		refuse("a pipe");
	drain_signals();
	memset(init.from_outside, 0, sizeof init.from_outside); /* the command will not have got them */
	init.command = fork();
	if (init.command < 0)
		refuse("a process for the command");
	if (!init.command) {
		close(hold[1]);
		while (read(hold[0], &none, 1) < 0 && errno == EINTR)
			;
		become_command();
	}
	send_message(READY, 0, "", 0);
}

__attribute__((noreturn)) static void run_as_init(char **argv, int has_user_namespace, uid_t user, gid_t group)
{
	prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0); /* rule 2 */
	if (has_user_namespace)
		map_user(user, group);
	set_up_mounts(user);
	rename_init(argv);
	start_command();
	init.is_running = 1;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* hides /proc/1/fd, which has the log */
	if (chdir("/") != 0)
		fail("cannot leave the working directory");
	close_except((const int[]) { run.log, run.channel, run.signals }, 3);
	await_end();
	report();
}

/* ---- the wrapper: a refusal ---- */

/* Return the number in a file, or -1. */
static long read_number(const char *path)
{
	char text[32];
	ssize_t size = read_file(path, text, sizeof text - 1);
	if (size <= 0)
		return -1;
	text[size] = 0;
	return strtol(text, NULL, 10);
}

/* Store commands that load an AppArmor profile for this program alone. */
static void describe_profile(char *remedy, size_t size)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
	path[length > 0 ? length : 0] = 0;
	snprintf(remedy, size,
	         "let this program create user namespaces: echo 'abi <abi/4.0>, profile isosmoke-exec \"%s\" "
	         "flags=(unconfined) { userns, }' | sudo tee /etc/apparmor.d/isosmoke-exec && "
	         "sudo apparmor_parser -r /etc/apparmor.d/isosmoke-exec", path);
}

/* A maximum of namespaces that refuses one on an idle machine too. */
enum { FEW_NAMESPACES = 128 };

/* What refused the namespace, and the narrowest known remedy. The sentences are those of
 * `isosmoke run` and `isosmoke doctor` (engines/bubblewrap/refusals.py). */
struct refusal {
	char cause[MAX_TEXT];
	char remedy[MAX_TEXT + PATH_MAX];
};

/* Name the limit of namespaces that is too low. */
static void explain_limit(struct refusal *found)
{
	static const char *const kinds[] = {"user", "pid", "mnt"};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		char file[64];
		snprintf(file, sizeof file, "/proc/sys/user/max_%s_namespaces", kinds[i]);
		long maximum = read_number(file);
		if (maximum < 0 || maximum >= FEW_NAMESPACES)
			continue;
		snprintf(found->cause, sizeof found->cause, "user.max_%s_namespaces=%ld allows too few namespaces", kinds[i], maximum);
		snprintf(found->remedy, sizeof found->remedy, "sudo sysctl -w user.max_%s_namespaces=15000", kinds[i]);
		return;
	}
	strcpy(found->cause, "a limit on namespaces is reached, on this machine or around this container");
	strcpy(found->remedy, "end other programs with namespaces, or raise the limit that `sysctl -a --pattern namespaces` shows");
}

/* Store the name of the AppArmor profile that confines this process; return whether there is one. */
static int read_profile(char *name, size_t size)
{
	ssize_t got = read_file("/proc/self/attr/apparmor/current", name, size - 1);
	if (got <= 0)
		got = read_file("/proc/self/attr/current", name, size - 1);
	name[got > 0 ? got : 0] = 0;
	char *mode = strstr(name, " (enforce)");
	if (mode != NULL)
		*mode = 0;
	return mode != NULL;
}

/* Return whether this process has a seccomp filter. */
static int is_filtered(void)
{
	char status[4096];
	ssize_t size = read_file("/proc/self/status", status, sizeof status - 1);
	status[size > 0 ? size : 0] = 0;
	return strstr(status, "\nSeccomp:\t2") != NULL;
}

/* Return whether mounts hide parts of /proc; then no user namespace may have its own. Two of its
 * directories are empty, so a mount on them hides nothing. */
static int is_proc_masked(void)
{
	char *line = NULL, point[PATH_MAX];
	size_t size = 0;
	int is_masked = 0;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	while (mounts && !is_masked && getline(&line, &size, mounts) > 0)
		is_masked = sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 && strncmp(point, "/proc/", 6) == 0
		            && strcmp(point, "/proc/sys/fs/binfmt_misc") != 0 && strcmp(point, "/proc/fs/nfsd") != 0;
	free(line);
	if (mounts)
		fclose(mounts);
	return is_masked;
}

/* Store the options of docker with which a container like this one permits a namespace. */
static void describe_container(char *options, size_t size)
{
	char profile[200];
	snprintf(options, size, "%s%s%s", is_filtered() ? " --security-opt seccomp=unconfined" : "",
	         is_proc_masked() ? " --security-opt systempaths=unconfined" : "",
	         read_profile(profile, sizeof profile) ? " --security-opt apparmor=unconfined" : "");
}

/* Name what confines this process, as the engine of a container does; return whether it was that. */
static int explain_confinement(struct refusal *found, const char *step, int error)
{
	char profile[200], options[200];
	describe_container(options, sizeof options);
	snprintf(found->remedy, sizeof found->remedy, "start the container with%s", options);
	if (strcmp(step, "/proc") == 0 && is_proc_masked()) {
		strcpy(found->cause, "parts of /proc are hidden, as in a container"); /* all other steps have passed */
		strcpy(found->remedy, "start the container with --security-opt systempaths=unconfined");
	} else if (strcmp(step, "/proc/self/uid_map") == 0 && error == EPERM && geteuid() == 0) {
		strcpy(found->cause, "root without the capability SETFCAP cannot have a user namespace");
		strcpy(found->remedy, "start the container with --cap-add SETFCAP, or as another user");
	} else if (error == EPERM && is_filtered() && (*step != '/' || strcmp(step, "/proc") == 0)) {
		strcpy(found->cause, "a seccomp filter is in force, such as that of a container");
	} else if (read_profile(profile, sizeof profile)) {
		snprintf(found->cause, sizeof found->cause, "the AppArmor profile %s confines this process", profile);
		snprintf(found->remedy, sizeof found->remedy,
		         "run it without this profile (of a container:%s), or allow userns and mount in it", options);
	} else {
		return 0;
	}
	return 1;
}

/* Name what refused the namespace at a step. */
static void explain(struct refusal *found, const char *step, int error)
{
	if (error == ENOSPC) {
		explain_limit(found);
	} else if (error == EMFILE) {
		strcpy(found->cause, "this machine refuses a PID namespace");
		strcpy(found->remedy, "raise the limit of open files: ulimit -n 64");
	} else if (strcmp(step, "clone") == 0 && read_number("/proc/sys/kernel/unprivileged_userns_clone") == 0) {
		strcpy(found->cause, "kernel.unprivileged_userns_clone=0 forbids user namespaces");
		strcpy(found->remedy, "sudo sysctl -w kernel.unprivileged_userns_clone=1");
	} else if (explain_confinement(found, step, error)) {
		return;
	} else if (read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
		strcpy(found->cause, "AppArmor forbids user namespaces to programs without a profile");
		describe_profile(found->remedy, sizeof found->remedy);
	} else {
		strcpy(found->cause, "this machine refuses a PID namespace");
		strcpy(found->remedy, "run it where `unshare --user --pid --fork --mount-proc true` works");
	}
}

/* Run the command without a verdict if that was asked for. */
__attribute__((noreturn)) static void handle_refusal(const char *step, int error)
{
	struct refusal found;
	char reason[MAX_TEXT + 200], remedy[sizeof found.remedy + 200];
	explain(&found, step, error);
	snprintf(reason, sizeof reason, "%s (%s: %s)", found.cause, step, strerror(error));
	append_time(&run.record, run.started_at, 0);
	append_unwatched(&run.record, reason);
	if (write_record(run.log, &run.record) != 0)
		fail("cannot write to the file that ISOSMOKE_EXEC_LOG names");
	if (options.runs_unwatched && !options.fresh_home && !options.fresh_tmp)
		become_command();
	snprintf(remedy, sizeof remedy, "%s; or run it without a verdict, with ISOSMOKE_EXEC_MISSING=run%s",
	         found.remedy, options.fresh_home || options.fresh_tmp ? " and without --fresh-home and --fresh-tmp" : "");
	stop_with(reason, remedy);
}

/* ---- the wrapper: stops ---- */

static sigjmp_buf continued;
static volatile sig_atomic_t is_stopping;

/* Return whether a message of PID 1 caused a SIGCONT (sigaction(2), si_code of SIGIO). */
static int is_from_message(int code)
{
	return code >= POLL_IN && code <= POLL_HUP;
}

static void handle_continue(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (is_stopping)
		siglongjmp(continued, is_from_message(info->si_code) ? 1 : 2);
}

static int has_message(void)
{
	struct pollfd channel = { .fd = run.channel, .events = POLLIN };
	return poll(&channel, 1, 0) > 0;
}

/* Let a message of PID 1 send SIGCONT to this process (fcntl(2), F_SETSIG), or not. */
static void continue_on_message(int is_on)
{
	int flags = fcntl(run.channel, F_GETFL);
	fcntl(run.channel, F_SETOWN, getpid());
	fcntl(run.channel, F_SETSIG, SIGCONT);
	fcntl(run.channel, F_SETFL, is_on ? flags | O_ASYNC : flags & ~O_ASYNC);
}

static void send_signal(const struct message *message)
{
	while (send(run.channel, message, sizeof *message, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

/* Stop as the command did, until a shell or the command itself continues. The command may continue
 * at any moment before this process has stopped; the handler then leaves before the stop. */
static void stop_with_command(const struct message *stop)
{
	int number = stop->value;
	struct sigaction on_continue = { .sa_sigaction = handle_continue, .sa_flags = SA_SIGINFO }, on_stop = { .sa_handler = SIG_DFL }, old = on_stop;
	sigset_t unblocked;
	sigemptyset(&unblocked);
	sigaddset(&unblocked, SIGCONT);
	sigaddset(&unblocked, number);
	sigaction(SIGCONT, &on_continue, NULL);
	sigaction(number, &on_stop, &old);
	continue_on_message(1);
	int reason = sigsetjmp(continued, 1);
	if (!reason) {
		is_stopping = 1;
		sigprocmask(SIG_UNBLOCK, &unblocked, NULL);
		if (!has_message())
			kill(getpid(), number);
	}
	is_stopping = 0;
	sigprocmask(SIG_BLOCK, &unblocked, NULL);
	continue_on_message(0);
	sigaction(number, &old, NULL);
	sigaction(SIGCONT, &on_stop, NULL);
	if (reason == 2)
		send_signal(&(struct message) { .kind = SIGNAL, .value = SIGCONT, .stop = stop->stop });
}

/* ---- the wrapper: signals and the end ---- */

/* Return whether a process is in this PID namespace itself, not in one below it. */
static int is_outside(uint32_t pid)
{
	char path[48], own[64], other[64];
	ssize_t own_size = readlink("/proc/self/ns/pid", own, sizeof own);
	snprintf(path, sizeof path, "/proc/%u/ns/pid", pid);
	ssize_t size = readlink(path, other, sizeof other);
	return size < 0 || own_size < 0 || (size == own_size && memcmp(own, other, (size_t)size) == 0);
}

/* A terminal and a shell stop the whole process group. A stop for this process alone is not passed
 * on: a SIGCONT discards pending stops, so PID 1 could not tell whether the group got it. */
static int is_stop(int number)
{
	return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

/* A process inside can reach this one only through its process group, and then also the command. */
static void pass_on_signals(void)
{
	struct signalfd_siginfo signal;
	while (read(run.signals, &signal, sizeof signal) == sizeof signal)
		if (signal.ssi_signo != SIGCHLD && !is_stop((int)signal.ssi_signo) && !(signal.ssi_signo == SIGCONT && is_from_message(signal.ssi_code))
		    && (!signal.ssi_pid || is_outside(signal.ssi_pid)))
			send_signal(&(struct message) { .kind = SIGNAL, .value = (int)signal.ssi_signo,
			            .has_data = signal.ssi_code == SI_QUEUE, .data = signal.ssi_int });
}

/* Take the terminal back if a shell inside has ended without doing so: its process group is gone. A
 * group that still exists, such as that of the caller's shell after `bg`, keeps the terminal. */
static void restore_foreground(void)
{
	int terminal = run.is_in_foreground ? open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	if (terminal < 0)
		return;
	pid_t owner = tcgetpgrp(terminal);
	if (owner != getpgrp() && (owner <= 1 || (kill(-owner, 0) != 0 && errno == ESRCH)))
		tcsetpgrp(terminal, getpgrp());
	close(terminal);
}

static void record_foreground(void)
{
	int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	run.is_in_foreground = terminal >= 0 && tcgetpgrp(terminal) == getpgrp();
	if (terminal >= 0)
		close(terminal);
}

/* End as the command did. The command has dumped its core, so this process does not. */
__attribute__((noreturn)) static void end_like(int status)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t ending;
	restore_foreground();
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	sigemptyset(&ending);
	sigaddset(&ending, WTERMSIG(status));
	sigaction(WTERMSIG(status), &by_default, NULL);
	sigprocmask(SIG_UNBLOCK, &ending, NULL);
	kill(getpid(), WTERMSIG(status));
	_exit(128 + WTERMSIG(status)); /* PID 1 of a container is not ended by its own signals */
}

static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

static void print_leak(const char *leaks)
{
	struct text line = { 0 };
	append_format(&line, "isosmoke-exec: LEAK: ");
	if (options.name)
		append_escaped(&line, options.name, strlen(options.name));
	for (char **at = options.command; !options.name && *at && line.size < MAX_TEXT; at++) {
		append(&line, " ", at != options.command);
		append_escaped(&line, *at, strlen(*at));
	}
	append_format(&line, " left ");
	append(&line, leaks, strlen(leaks));
	append_format(&line, "\n");
	dprintf(STDERR_FILENO, "%.*s", (int)line.size, line.bytes);
}

/* The log names the leaks; without one, or if they fail the test, stderr does. */
__attribute__((noreturn)) static void end(const struct message *message)
{
	int is_leak = *message->text != 0, is_pass = WIFEXITED(message->value) && !WEXITSTATUS(message->value);
	if (is_leak && (options.fails_on_leak || run.log < 0))
		print_leak(message->text);
	end_like(is_leak && is_pass && options.fails_on_leak ? 1 << 8 /* the wait status of exit(1) */ : message->value);
}

/* PID 1 has ended without a word: the kernel ended it, for example because memory was short. */
__attribute__((noreturn)) static void end_without_init(void)
{
	static const char reason[] = "PID 1 of the namespace was killed";
	append_time(&run.record, run.started_at, now() - run.started);
	append_unwatched(&run.record, reason);
	write_record(run.log, &run.record);
	stop_with(reason, "see the kernel's log (dmesg), for example for the OOM killer");
}

/* Receive a message as recv(2) does. If PID 1 has ended before it read all signals that this process
 * passed on, the kernel reports ECONNRESET once, before the messages that PID 1 had sent. */
static ssize_t receive(struct message *message, int flags)
{
	ssize_t size;
	do
		size = recv(run.channel, message, sizeof *message, flags);
	while (size < 0 && errno == ECONNRESET);
	return size;
}

/* Return 0 after the first message that ends the run. */
static int handle_message(struct message *message)
{
	ssize_t size = receive(message, MSG_DONTWAIT);
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (size <= 0) {
		message->kind = 0;
		return 0;
	}
	message->text[MAX_TEXT - 1] = 0;
	if (message->kind == STOPPED) {
		pass_on_signals();
		stop_with_command(message);
	}
	return message->kind == STOPPED || message->kind == CONTINUED || message->kind == READY;
}

/* A thread of the parent may end before the parent does, so its death signal would come too soon. */
static int watch_parent(pid_t parent)
{
	return parent > 0 ? (int)syscall(SYS_pidfd_open, parent, 0) : -1;
}

static int has_parent(int parent, pid_t pid)
{
	struct pollfd watched = { .fd = parent, .events = POLLIN };
	return getppid() == pid && (parent < 0 || poll(&watched, 1, 0) == 0);
}

/* Wait for the last message of PID 1, and for its end, which ends every process inside. */
static void attend(pid_t init_pid, pid_t parent_pid, int parent, struct message *last)
{
	int is_abandoned = 0, is_active = 1;
	while (is_active) {
		struct pollfd watched[] = {
			{ .fd = run.signals, .events = POLLIN },
			{ .fd = run.channel, .events = POLLIN },
			{ .fd = is_abandoned ? -1 : parent, .events = POLLIN },
		};
		if (poll(watched, 3, parent < 0 && !is_abandoned ? PARENT_CHECK_MS : -1) < 0 && errno != EINTR)
			fail("cannot wait for events");
		pass_on_signals();
		if (!is_abandoned && !has_parent(parent, parent_pid)) {
			struct message message = { .kind = ABANDON };
			send(run.channel, &message, sizeof message, MSG_NOSIGNAL);
			is_abandoned = 1;
		}
		is_active = handle_message(last);
	}
	wait_for(init_pid);
}

/* Start PID 1 in new namespaces. As root, a user namespace is created only if there is no other
 * way. Return its PID, or -1 with errno. */
static pid_t start_init(char **argv, int init_channel)
{
	uid_t user = geteuid();
	gid_t group = getegid();
	unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | SIGCHLD;
	int has_user_namespace = user != 0;
	pid_t pid = -1;
	if (!has_user_namespace)
		pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);
	if (pid < 0 && (has_user_namespace || errno == EPERM)) {
		has_user_namespace = 1;
		pid = (pid_t)syscall(SYS_clone, flags | CLONE_NEWUSER, 0, 0, 0, 0);
	}
	if (pid)
		return pid;
	close(run.channel);
	run.channel = init_channel;
	run_as_init(argv, has_user_namespace, user, group);
}

static void block_signals(void)
{
	struct sigaction by_default = { .sa_handler = SIG_DFL };
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &run.mask);
	sigaction(SIGCHLD, &by_default, &run.on_child); /* ignored, no child could be waited for */
	run.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run.signals < 0)
		fail("cannot watch signals");
}

static void begin_record(void)
{
	char directory[PATH_MAX];
	run.started = now();
	clock_gettime(CLOCK_REALTIME, &run.started_at);
	append_command(&run.record, options.name, options.command, getcwd(directory, sizeof directory) ? directory : "");
}

/* Wait until the command is started, or the namespace refused. Return the last message. */
static void await_start(pid_t init_pid, struct message *message)
{
	ssize_t size;
	while ((size = receive(message, 0)) < 0 && errno == EINTR)
		;
	if (size > 0 && message->kind == READY)
		return;
	wait_for(init_pid);
	if (size > 0 && message->kind == REFUSED)
		handle_refusal(message->text, message->value);
	end_without_init();
}

int main(int argc, char **argv)
{
	struct message message;
	int ends[2];
	(void)argc;
	reserve_standard_descriptors();
	open_log();
	read_options(argv);
	pid_t parent_pid = getppid();
	int parent = watch_parent(parent_pid);
	block_signals();
	begin_record();
	record_foreground();
	mark_start();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		fail("cannot create a socket");
	run.channel = ends[0];
	pid_t init_pid = start_init(argv, ends[1]);
	if (init_pid < 0)
		handle_refusal("clone", errno);
	close(ends[1]);
	await_start(init_pid, &message);
	close_except((const int[]) { STDERR_FILENO, run.log, run.channel, run.signals, parent }, 5);
	attend(init_pid, parent_pid, parent, &message);
	if (message.kind == ENDED)
		end(&message);
	if (message.kind != BROKEN)
		end_without_init();
	stop_with(message.text, NULL);
}
