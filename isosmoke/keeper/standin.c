/*
 * The stand-in for a live binary: record its calls, or sabotage those of one subcommand.
 *
 * It is in the place of the binary, first on PATH, and runs the real one. `isosmoke teeth` mounts
 * the plan that says what to do and the directory for the log, both at fixed paths: the environment
 * belongs to the script.
 *
 * Rules:
 *  1. A call that is only counted becomes the real binary by execve(2): nothing else is different.
 *  2. A call whose end is needed runs the real binary as a child. The child inherits all descriptors
 *     and the signal mask and dispositions of the caller. This process passes signals on, ends as
 *     the child ends, and takes the child with it if it is killed.
 *  3. Only pipes are relayed, and stdout and stderr through a single pipe if they are the same pipe.
 *     A regular file is read after the call. A terminal, a socket and stdin stay as they are.
 *  4. All that the child has written is passed on before this process ends. A descendant that still
 *     holds the pipe, as a daemon does, keeps a process that relays its output and ends with it.
 *  5. Each event is one record, written with one write(2) in append mode, so calls may overlap.
 *  6. A call by the real binary itself, at any depth, is not a call of the scenario: rule 1.
 *  7. An error of the stand-in ends the call with 125 and a message, and never passes for an answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "effects.h"

#define FAILURE 125
#define NOT_FOUND 127
#define MAX_KEPT (1 << 20)  /* bytes of an output that a record keeps */
#define CHUNK 4096          /* a pipe that is ready takes so much without blocking (pipe(7)) */
#define PIPE_SIZE (1 << 16) /* the default capacity of a pipe */
#define MAX_ANCESTORS 16    /* that a record names; all are looked at */
#define MAX_WORDS 8         /* of a pattern, and of a name */

#ifndef ROOT
#define ROOT "/run/isosmoke"
#endif
#define REAL ROOT "/real/"
#define OTHER ROOT "/other/"
#define PLAN ROOT "/teeth/plan"
#define ANSWERS ROOT "/teeth/"
#define CALLS ROOT "/calls/"
#define PLACE "ISOSMOKE_PLACE" /* the line of the script that makes the call, in some plans */

struct text {
	char *bytes;
	size_t size, capacity;
};

struct stream { /* one of the child's outputs */
	int fd;             /* 1 or 2 */
	const char *kind;   /* see describe_kind */
	int is_captured;
	int from;           /* the end of the pipe that this process reads; -1 without a pipe */
	off_t start;        /* of what the call writes to a regular file */
	size_t kept_size;   /* bytes in `kept` */
	uint64_t size, digest;
	char pending[CHUNK];
	size_t pending_size;
	int is_discarded;   /* what is read is not passed on */
	int is_recorded;    /* the record of the call is complete */
};

static char kept[2][MAX_KEPT]; /* the beginning of each output */

struct answer {
	uint64_t arguments;
	int status, number;
};

static struct {
	char *text;
	const char *mode, *target;
	int only;                   /* the number of the call to sabotage; -1 for all */
	char *valued[256], *groups[1024], *between[256], *between_valued[256], *patterns[256];
	size_t valued_count, group_count, between_count, between_valued_count, pattern_count, answer_count;
	struct answer *answers;
} plan = { .only = -1 };

static struct {
	int log;
	char id[64], own[PATH_MAX], real[PATH_MAX + 32], name[512];
	uint64_t arguments;
	struct timespec started;
	int is_nested;              /* the real binary made it */
	char ancestors[MAX_ANCESTORS * 12]; /* their pids, the nearest first */
	char **argv;
	sigset_t mask;              /* of the caller */
	struct sigaction on_child;  /* likewise */
	pid_t child;
	int status;
	int number;                 /* among the calls of the target, if the plan needs it */
	struct stream streams[2];
	int is_joined;
	const char *effect;         /* NULL: the call was not traced; empty: it had none */
} call = { .log = -1, .number = -1 };

__attribute__((noreturn)) static void stop_with(const char *what, const char *why)
{
	dprintf(STDERR_FILENO, "isosmoke stand-in: %s: %s\n", what, why);
	_exit(FAILURE);
}

__attribute__((noreturn)) static void fail(const char *what)
{
	stop_with(what, strerror(errno));
}

/* ---- records: netstrings in a netstring (D. J. Bernstein, 1997), a key and a value by turns ---- */

static void append(struct text *text, const void *bytes, size_t size)
{
	if (!size || !bytes)
		return;
	if (!text->bytes || text->capacity - text->size < size) {
		size_t capacity = 2 * (text->size + size);
		char *larger = realloc(text->bytes, capacity);
		if (!larger)
			fail("cannot store a record");
		text->bytes = larger;
		text->capacity = capacity;
	}
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
}

static void append_netstring(struct text *text, const void *bytes, size_t size)
{
	char length[32];
	append(text, length, (size_t)snprintf(length, sizeof length, "%zu:", size));
	append(text, bytes, size);
	append(text, ",", 1);
}

static void add_bytes(struct text *record, const char *key, const void *bytes, size_t size)
{
	append_netstring(record, key, strlen(key));
	append_netstring(record, bytes, size);
}

static void add_text(struct text *record, const char *key, const char *value)
{
	add_bytes(record, key, value, strlen(value));
}

static void add_number(struct text *record, const char *key, uint64_t number)
{
	char digits[32];
	snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
	add_text(record, key, digits);
}

static void write_record(struct text *record)
{
	struct text line = { 0 };
	append_netstring(&line, record->bytes, record->size);
	if (write(call.log, line.bytes, line.size) != (ssize_t)line.size)
		fail("cannot write to the log of calls");
	free(line.bytes);
	free(record->bytes);
	*record = (struct text){ 0 };
}

static uint64_t digest(uint64_t hash, const void *bytes, size_t size) /* FNV-1a */
{
	for (const unsigned char *at = bytes; size; size--)
		hash = (hash ^ *at++) * 0x100000001b3u;
	return hash;
}

#define NO_BYTES 0xcbf29ce484222325u

/* ---- the plan ---- */

static char *read_file(const char *path, size_t *size)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) != 0)
		fail(path);
	char *content = malloc((size_t)status.st_size + 1);
	if (!content)
		fail(path);
	*size = 0;
	ssize_t got;
	while ((got = read(fd, content + *size, (size_t)status.st_size - *size)) > 0)
		*size += (size_t)got;
	if (got < 0)
		fail(path);
	close(fd);
	content[*size] = 0;
	return content;
}

static void add_answer(const char *value)
{
	struct answer *answer = &plan.answers[plan.answer_count];
	unsigned long long arguments;
	if (sscanf(value, "%llu %d %d", &arguments, &answer->status, &answer->number) != 3)
		stop_with(PLAN, "an answer is not three numbers");
	answer->arguments = arguments;
	plan.answer_count++;
}

static void add_setting(char *key, char *value)
{
	if (strcmp(key, "mode") == 0)
		plan.mode = value;
	else if (strcmp(key, "target") == 0)
		plan.target = value;
	else if (strcmp(key, "only") == 0)
		plan.only = atoi(value);
	else if (strcmp(key, "valued") == 0 && plan.valued_count < 256)
		plan.valued[plan.valued_count++] = value;
	else if (strcmp(key, "group") == 0 && plan.group_count < 1024)
		plan.groups[plan.group_count++] = value;
	else if (strcmp(key, "between") == 0 && plan.between_count < 256)
		plan.between[plan.between_count++] = value;
	else if (strcmp(key, "between-valued") == 0 && plan.between_valued_count < 256)
		plan.between_valued[plan.between_valued_count++] = value;
	else if (strcmp(key, "pattern") == 0 && plan.pattern_count < 256)
		plan.patterns[plan.pattern_count++] = value;
	else if (strcmp(key, "answer") == 0)
		add_answer(value);
	else
		stop_with(PLAN, "it has an unknown setting, or too many");
}

/* Each line is a key, a space and a value. */
static void read_plan(void)
{
	size_t size, lines = 1;
	plan.text = read_file(PLAN, &size);
	for (size_t i = 0; i < size; i++)
		lines += plan.text[i] == '\n';
	plan.answers = calloc(lines, sizeof *plan.answers);
	if (!plan.answers)
		fail(PLAN);
	char *rest = plan.text, *line;
	while ((line = strsep(&rest, "\n"))) {
		char *key = strsep(&line, " ");
		if (*key)
			add_setting(key, line ? line : "");
	}
	if (!plan.mode || !plan.target)
		stop_with(PLAN, "it has no mode or no target");
}

/* ---- the name of a call: isosmoke/teeth/calls/grammar.py has the same rules ---- */

static int is_one_of(const char *word, char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return 1;
	return 0;
}

static void add_word(const char *word)
{
	size_t used = strlen(call.name);
	snprintf(call.name + used, sizeof call.name - used, "%s%s", used ? " " : "", word);
}

/* A literal word matches itself, `_` and `*` match any; all but `_` and options are in the name. */
static int match_pattern(const char *pattern, char *const *words)
{
	char copy[512], *rest = copy, *expected;
	snprintf(copy, sizeof copy, "%s", pattern);
	call.name[0] = 0;
	for (; (expected = strsep(&rest, " ")); words++) {
		int is_any = strcmp(expected, "_") == 0 || strcmp(expected, "*") == 0;
		if (!*words || (!is_any && strcmp(expected, *words) != 0))
			return 0;
		if (strcmp(expected, "_") != 0 && **words != '-')
			add_word(*words);
	}
	return 1;
}

static int is_between(const char *group, const char *option, char *const *options, size_t count)
{
	size_t size = strlen(group);
	for (size_t i = 0; i < count; i++)
		if (strncmp(options[i], group, size) == 0 && options[i][size] == ' ' && strcmp(options[i] + size + 1, option) == 0)
			return 1;
	return 0;
}

/* Add the word after a group, unless it may be the value of an option between the two. */
static void add_second_word(const char *group, char *const *words)
{
	for (; *words && **words == '-'; words++) {
		if (strcmp(*words, "--") == 0) {
			words++;
			break;
		}
		if (is_between(group, *words, plan.between_valued, plan.between_valued_count)) {
			if (!*++words)
				return;
		} else if (!is_between(group, *words, plan.between, plan.between_count) && !strchr(*words, '=')) {
			return;
		}
	}
	if (*words && **words && **words != '-')
		add_word(*words);
}

static void name_call(char *const *words)
{
	for (size_t i = 0; i < plan.pattern_count; i++)
		if (match_pattern(plan.patterns[i], words))
			return;
	call.name[0] = 0;
	while (*words && **words == '-' && strcmp(*words, "-") != 0) {
		int has_value = is_one_of(*words, plan.valued, plan.valued_count) && words[1];
		words += has_value ? 2 : 1;
	}
	if (!*words)
		return;
	add_word(*words);
	if (is_one_of(*words, plan.groups, plan.group_count))
		add_second_word(*words, words + 1);
}

static void digest_arguments(char *const *words)
{
	call.arguments = NO_BYTES;
	for (; *words; words++)
		call.arguments = digest(call.arguments, *words, strlen(*words) + 1);
}

/* ---- the start of a call ---- */

/* Own descriptors stay out of the way of those that the script numbers itself. */
static int move_up(int fd)
{
	if (fd < 0)
		return fd;
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 64);
	if (moved < 0)
		return fd;
	close(fd);
	return moved;
}

static void open_log(void)
{
	const char *path = CALLS "log";
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0)
		fchmod(fd, 0666); /* a script may change its user */
	else
		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	call.log = move_up(fd);
	if (call.log < 0)
		fail(path);
}

/* Store the path of the program in `directory` that has the own name, else of `wg`. */
static void find_program(const char *directory, char path[PATH_MAX + 32])
{
	ssize_t size = readlink("/proc/self/exe", call.own, sizeof call.own - 1);
	if (size < 0)
		fail("/proc/self/exe");
	call.own[size] = 0;
	const char *slash = strrchr(call.own, '/');
	snprintf(path, PATH_MAX + 32, "%s%s", directory, slash ? slash + 1 : call.own);
	if (access(path, X_OK) != 0)
		snprintf(path, PATH_MAX + 32, "%swg", directory);
}

/* Read the start of a small file, or the target of a link, as a string. */
static int read_process_file(pid_t pid, const char *name, char *content, size_t capacity, int is_link)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	ssize_t size = -1;
	int fd = is_link ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (is_link)
		size = readlink(path, content, capacity - 1);
	else if (fd >= 0)
		size = read(fd, content, capacity - 1);
	if (fd >= 0)
		close(fd);
	content[size < 0 ? 0 : size] = 0;
	return size > 0;
}

static pid_t find_parent(pid_t pid)
{
	char content[1024];
	if (!read_process_file(pid, "stat", content, sizeof content, 0))
		return 0;
	const char *end = strrchr(content, ')'); /* the name of a program may contain anything */
	int parent;
	return end && sscanf(end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* The interpreter of a script has the path of the script as its second word (execve(2)). */
static int is_real(pid_t pid)
{
	char content[PATH_MAX];
	if (!read_process_file(pid, "exe", content, sizeof content, 1))
		return 0;
	if (strncmp(content, REAL, strlen(REAL)) == 0)
		return 1;
	memset(content, 0, sizeof content);
	if (!read_process_file(pid, "cmdline", content, sizeof content, 0))
		return 0;
	return strncmp(content + strlen(content) + 1, REAL, strlen(REAL)) == 0;
}

static void find_ancestors(void)
{
	size_t used = 0;
	pid_t pid = getppid();
	for (int i = 0; pid > 1 && !call.is_nested; i++, pid = find_parent(pid)) {
		if (i < MAX_ANCESTORS)
			used += (size_t)snprintf(call.ancestors + used, sizeof call.ancestors - used, "%s%d", used ? " " : "", pid);
		call.is_nested = is_real(pid);
	}
}

static const char *describe_kind(int fd)
{
	struct stat status, null;
	if (fstat(fd, &status) != 0)
		return "closed";
	if (S_ISFIFO(status.st_mode))
		return "pipe";
	if (S_ISREG(status.st_mode))
		return "file";
	if (S_ISSOCK(status.st_mode))
		return "socket";
	if (S_ISCHR(status.st_mode) && stat("/dev/null", &null) == 0 && null.st_rdev == status.st_rdev)
		return "null";
	return isatty(fd) ? "terminal" : "other";
}

static void add_arguments(struct text *record)
{
	struct text words = { 0 };
	for (char **at = call.argv; *at; at++)
		append_netstring(&words, *at, strlen(*at));
	add_bytes(record, "argv", words.bytes, words.size);
	free(words.bytes);
}

static void write_start(const char *applied)
{
	struct text record = { 0 };
	char directory[PATH_MAX];
	add_text(&record, "event", "start");
	add_text(&record, "call", call.id);
	add_text(&record, "name", call.name);
	add_number(&record, "arguments", call.arguments);
	add_number(&record, "nested", (uint64_t)call.is_nested);
	add_text(&record, "applied", applied);
	add_arguments(&record);
	add_text(&record, "cwd", getcwd(directory, sizeof directory) ? directory : "");
	add_text(&record, "stdin", describe_kind(0));
	add_text(&record, "stdout", describe_kind(1));
	add_text(&record, "stderr", describe_kind(2));
	add_number(&record, "pid", (uint64_t)getpid());
	add_text(&record, "ancestors", call.ancestors);
	add_text(&record, "place", getenv(PLACE) ? getenv(PLACE) : "");
	write_record(&record);
}

__attribute__((noreturn)) static void become(const char *program)
{
	unsetenv(PLACE);
	execv(program, call.argv);
	int status = errno == ENOENT || errno == ENOTDIR ? NOT_FOUND : 126;
	dprintf(STDERR_FILENO, "isosmoke stand-in: %s: %s\n", program, strerror(errno));
	_exit(status);
}

/* ---- the outputs of a child ---- */

static int is_same_file(int first, int second)
{
	struct stat a, b;
	return fstat(first, &a) == 0 && fstat(second, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A file in append mode is written at its end, any other at the offset that all holders share. */
static off_t find_position(int fd)
{
	struct stat status;
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &status) == 0)
		return status.st_size;
	off_t position = lseek(fd, 0, SEEK_CUR);
	return position < 0 ? 0 : position;
}

static void keep(struct stream *stream, const char *bytes, size_t size)
{
	if (stream->is_recorded)
		return;
	size_t room = MAX_KEPT - stream->kept_size, taken = size < room ? size : room;
	memcpy(kept[stream->fd - 1] + stream->kept_size, bytes, taken);
	stream->kept_size += taken;
	stream->digest = digest(stream->digest, bytes, size);
	stream->size += size;
}

/* Prepare to capture an output; return the end of the pipe for the child, or -1 without a pipe.
 * With `discards`, the caller's descriptor gets nothing. */
static int prepare_stream(struct stream *stream, int fd, int discards)
{
	int ends[2];
	*stream = (struct stream){ .fd = fd, .kind = describe_kind(fd), .from = -1, .digest = NO_BYTES };
	int is_pipe = strcmp(stream->kind, "pipe") == 0, is_file = strcmp(stream->kind, "file") == 0;
	stream->is_captured = is_pipe || is_file;
	stream->is_discarded = discards;
	if (is_file && !discards)
		stream->start = find_position(fd);
	if (!is_pipe && !(is_file && discards))
		return -1;
	if (pipe2(ends, O_CLOEXEC) != 0)
		fail("cannot create a pipe");
	stream->from = move_up(ends[0]);
	return move_up(ends[1]);
}

/* Read what the call wrote to a regular file, through a description with its own offset. */
static void read_written(struct stream *stream)
{
	char path[64], bytes[CHUNK];
	if (!stream->is_captured || stream->is_discarded || strcmp(stream->kind, "file") != 0)
		return;
	off_t at = stream->start, end = find_position(stream->fd);
	snprintf(path, sizeof path, "/proc/self/fd/%d", stream->fd);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	stream->is_captured = fd >= 0;
	while (fd >= 0 && at < end) {
		size_t size = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t got = pread(fd, bytes, size, at);
		if (got <= 0)
			break;
		keep(stream, bytes, (size_t)got);
		at += got;
	}
	if (fd >= 0)
		close(fd);
}

/* Return 0 at the end of the output, and if there is nothing to read for now. */
static int receive(struct stream *stream)
{
	ssize_t got = read(stream->from, stream->pending, CHUNK);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		close(stream->from);
		stream->from = -1;
		return 0;
	}
	keep(stream, stream->pending, (size_t)got);
	stream->pending_size = stream->is_discarded ? 0 : (size_t)got;
	return 1;
}

/* A reader that is gone ends the relay, so that the child gets SIGPIPE as it would have. */
static void pass_on(struct stream *stream)
{
	ssize_t put = write(stream->fd, stream->pending, stream->pending_size);
	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (put < 0) {
		stream->pending_size = 0;
		close(stream->from);
		stream->from = -1;
		return;
	}
	stream->pending_size -= (size_t)put;
	memmove(stream->pending, stream->pending + put, stream->pending_size);
}

/* ---- the child ---- */

static void start_child(const char *program, const int *outputs)
{
	call.child = fork();
	if (call.child < 0)
		fail("cannot start the real binary");
	if (call.child > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 2; i++)
		if (outputs[i] >= 0 && dup2(outputs[i], call.streams[i].fd) < 0)
			fail("cannot redirect an output");
	sigaction(SIGCHLD, &call.on_child, NULL);
	sigprocmask(SIG_SETMASK, &call.mask, NULL);
	become(program);
}

static char *copy(const char *text)
{
	char *copied = strdup(text);
	if (!copied)
		fail("cannot copy the arguments");
	return copied;
}

static char **copy_list(char **list)
{
	size_t count = 0;
	while (list[count])
		count++;
	char **copied = calloc(count + 1, sizeof *copied);
	if (!copied)
		fail("cannot copy the arguments");
	for (size_t i = 0; i < count; i++)
		copied[i] = copy(list[i]);
	return copied;
}

/* Take another name, so that a search by command line or name finds the real binary only. The
 * kernel reads a command line from the memory of the arguments; if their last byte is not zero, it
 * reads up to the first zero, also in that of the environment, which follows (fs/proc/base.c). */
static void hide(const char *name)
{
	char *start = call.argv[0], *end = start;
	char **variables = environ;
	for (char **at = call.argv; *at; at++)
		end = *at + strlen(*at) + 1;
	char *last = end - 1;
	call.argv = copy_list(call.argv);
	environ = copy_list(environ);
	for (char **at = variables; *at && *at == end; at++)
		end = *at + strlen(*at) + 1;
	memset(start, 0, (size_t)(end - start));
	*last = '.';
	snprintf(start, (size_t)(end - start), "%s", name);
	prctl(PR_SET_NAME, name);
}

static void block_signals(void)
{
	sigset_t all;
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigfillset(&all);
	int own[] = { SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT };
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		sigdelset(&all, own[i]);
	sigaction(SIGCHLD, &standard, &call.on_child);
	sigprocmask(SIG_SETMASK, &all, &call.mask);
}

static int open_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	int fd = move_up(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
	if (fd < 0)
		fail("signalfd");
	return fd;
}

/* The terminal has sent its signals to the whole process group, so to the child too. */
static void take_signals(int signals, int *has_ended)
{
	struct signalfd_siginfo info;
	while (read(signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			*has_ended = *has_ended || waitpid(call.child, &call.status, WNOHANG) == call.child;
		else if (info.ssi_signo != SIGPIPE && info.ssi_code != SI_KERNEL && !*has_ended)
			kill(call.child, (int)info.ssi_signo);
	}
}

/* Wait for what can happen next: a signal, output of the child, or room for it. */
static void wait_for_events(int signals, struct pollfd *events)
{
	events[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
	for (int i = 0; i < 2; i++) {
		struct stream *stream = &call.streams[i];
		if (stream->pending_size)
			events[1 + i] = (struct pollfd){ .fd = stream->fd, .events = POLLOUT };
		else
			events[1 + i] = (struct pollfd){ .fd = stream->from, .events = POLLIN };
	}
	if (poll(events, 3, -1) < 0 && errno != EINTR)
		fail("poll");
}

static int move_output(struct stream *stream, const struct pollfd *event)
{
	if (!event->revents)
		return 0;
	if (stream->pending_size)
		pass_on(stream);
	else if (stream->from >= 0)
		return receive(stream);
	return 1;
}

static int is_relaying(void)
{
	return call.streams[0].from >= 0 || call.streams[1].from >= 0;
}

/* Pass on what is in the pipe after the end of the child; others may still write to it. */
static void drain(struct stream *stream)
{
	for (size_t passed = 0; stream->from >= 0 && passed < PIPE_SIZE;) {
		struct pollfd event = { .fd = stream->from, .events = POLLIN };
		if (!stream->pending_size && poll(&event, 1, 0) <= 0)
			return;
		if (!stream->pending_size && !receive(stream))
			return;
		passed += stream->pending_size;
		while (stream->pending_size) {
			event = (struct pollfd){ .fd = stream->fd, .events = POLLOUT };
			poll(&event, 1, -1);
			pass_on(stream);
		}
	}
}

static void close_others(int signals)
{
	int kept[] = { signals, call.streams[0].from, call.streams[1].from, 1, 2 };
	for (int fd = 0; fd < 1024; fd++) {
		int is_kept = 0;
		for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
			is_kept = is_kept || fd == kept[i];
		if (!is_kept)
			close(fd);
	}
}

/* Rule 4: relay for the descendants that still hold a pipe, in a process that no caller waits for. */
static void relay_for_descendants(void)
{
	pid_t pid = fork();
	if (pid != 0)
		return;
	setsid();
	int signals = open_signals();
	close_others(signals);
	prctl(PR_SET_NAME, "isosmoke-relay");
	call.streams[0].is_recorded = call.streams[1].is_recorded = 1;
	while (is_relaying()) {
		struct pollfd events[3];
		wait_for_events(signals, events);
		if (events[0].revents)
			_exit(0);
		for (int i = 0; i < 2; i++)
			move_output(&call.streams[i], &events[1 + i]);
	}
	_exit(0);
}

/* Run the program to its end, with its outputs captured if `captures`. */
static void run_child(const char *program, int captures, int discards)
{
	int outputs[2] = { -1, -1 }, has_ended = 0;
	call.streams[0] = (struct stream){ .fd = 1, .from = -1, .kind = "" };
	call.streams[1] = (struct stream){ .fd = 2, .from = -1, .kind = "" };
	if (captures) {
		call.is_joined = is_same_file(1, 2);
		outputs[0] = prepare_stream(&call.streams[0], 1, discards);
		if (!call.is_joined)
			outputs[1] = prepare_stream(&call.streams[1], 2, discards);
	}
	hide("isosmoke-call");
	block_signals();
	int signals = open_signals(), joined[2] = { outputs[0], call.is_joined ? outputs[0] : outputs[1] };
	start_child(program, joined);
	for (int i = 0; i < 2; i++)
		if (outputs[i] >= 0)
			close(outputs[i]);
	while (!has_ended) {
		struct pollfd events[3];
		wait_for_events(signals, events);
		for (int i = 0; i < 2; i++)
			move_output(&call.streams[i], &events[1 + i]);
		if (events[0].revents)
			take_signals(signals, &has_ended);
	}
	for (int i = 0; i < 2; i++) {
		drain(&call.streams[i]);
		read_written(&call.streams[i]);
	}
	close(signals);
}

/* ---- the end of a call ---- */

static int get_exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void add_output(struct text *record, const char *name, const struct stream *stream)
{
	struct text output = { 0 };
	if (!stream->is_captured)
		return;
	add_number(&output, "size", stream->size);
	add_number(&output, "digest", stream->digest);
	add_bytes(&output, "content", kept[stream->fd - 1], stream->kept_size);
	add_bytes(record, name, output.bytes, output.size);
	free(output.bytes);
}

static void write_end(void)
{
	struct text record = { 0 };
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	int64_t elapsed = (now.tv_sec - call.started.tv_sec) * 1000000 + (now.tv_nsec - call.started.tv_nsec) / 1000;
	add_text(&record, "event", "end");
	add_text(&record, "call", call.id);
	add_number(&record, "status", (uint64_t)get_exit_code(call.status));
	add_number(&record, "microseconds", (uint64_t)elapsed);
	add_number(&record, "joined", (uint64_t)call.is_joined);
	add_output(&record, "stdout", &call.streams[0]);
	add_output(&record, "stderr", &call.streams[1]);
	if (call.effect)
		add_text(&record, "effects", call.effect);
	write_record(&record);
}

/* End as the child has ended: a signal differs from an exit code. */
__attribute__((noreturn)) static void end_as_child(void)
{
	if (WIFEXITED(call.status))
		_exit(WEXITSTATUS(call.status));
	int number = WTERMSIG(call.status);
	struct rlimit none = { 0, 0 };
	sigset_t only;
	setrlimit(RLIMIT_CORE, &none); /* the child has left its own */
	signal(number, SIG_DFL);
	sigemptyset(&only);
	sigaddset(&only, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &only, NULL);
	_exit(128 + number);
}

__attribute__((noreturn)) static void record_call(void)
{
	write_start("");
	run_child(call.real, 1, 0);
	write_end();
	if (is_relaying())
		relay_for_descendants();
	end_as_child();
}

/* ---- effects ---- */

/* Start the real binary once it is traced, or without a trace if the system refuses one. */
static int start_traced(int *is_traced)
{
	int ready[2];
	char byte = 0;
	if (pipe2(ready, O_CLOEXEC) != 0)
		fail("cannot create a pipe");
	ready[0] = move_up(ready[0]);
	ready[1] = move_up(ready[1]);
	call.child = fork();
	if (call.child < 0)
		fail("cannot start the real binary");
	if (call.child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(ready[0], &byte, 1) != 1)
			_exit(FAILURE);
		sigaction(SIGCHLD, &call.on_child, NULL);
		sigprocmask(SIG_SETMASK, &call.mask, NULL);
		become(call.real);
	}
	close(ready[0]);
	*is_traced = ptrace(PTRACE_SEIZE, call.child, 0, OPTIONS) == 0 && ptrace(PTRACE_INTERRUPT, call.child, 0, 0) == 0;
	return ready[1];
}

/* Take signals until the real binary ends; those of traced processes are SIGCHLD too. */
static void wait_traced(void)
{
	sigset_t all;
	siginfo_t info;
	sigfillset(&all);
	while (!take_events(call.child, &call.status)) {
		int number = sigwaitinfo(&all, &info);
		if (number > 0 && number != SIGCHLD && number != SIGPIPE && info.si_code != SI_KERNEL)
			kill(call.child, number);
	}
	release_others();
}

/* Run the real binary, and record its first effect outside its outputs. */
__attribute__((noreturn)) static void watch_call(void)
{
	int is_traced;
	write_start("");
	hide("isosmoke-call");
	block_signals();
	int ready = start_traced(&is_traced);
	if (write(ready, "", 1) != 1)
		fail("cannot start the real binary");
	close(ready);
	wait_traced();
	call.effect = is_traced ? traced.effect : NULL;
	write_end();
	end_as_child();
}

/* ---- sabotages ---- */

static void print_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t put = write(fd, bytes, size);
		if (put < 0 && errno != EINTR && errno != EAGAIN)
			return; /* as for any program whose output cannot be written */
		if (put > 0) {
			bytes += put;
			size -= (size_t)put;
		}
	}
}

/* Return whether no other call has claimed this number. */
static int claim(const char *kind, int number)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, CALLS "%s-%d", kind, number);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno != EEXIST)
		fail(path);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Return the next answer to the same arguments, else the next answer, else the last one. */
static const struct answer *choose_answer(void)
{
	const struct answer *last = NULL;
	for (size_t i = 0; i < plan.answer_count; i++) {
		if (plan.answers[i].arguments != call.arguments)
			continue;
		last = &plan.answers[i];
		if (claim("answer", plan.answers[i].number))
			return last;
	}
	for (size_t i = 0; !last && i < plan.answer_count; i++)
		if (claim("answer", plan.answers[i].number))
			return &plan.answers[i];
	if (!last && plan.answer_count)
		last = &plan.answers[plan.answer_count - 1];
	return last;
}

static void print_answer(int number, int fd)
{
	char path[PATH_MAX];
	size_t size;
	snprintf(path, sizeof path, ANSWERS "answer-%d.%d", number, fd);
	if (access(path, F_OK) != 0)
		return;
	char *content = read_file(path, &size);
	print_all(fd, content, size);
	free(content);
}

__attribute__((noreturn)) static void replay(void)
{
	const struct answer *answer = choose_answer();
	if (!answer)
		stop_with(PLAN, "it has no answer to replay");
	print_answer(answer->number, 1);
	print_answer(answer->number, 2);
	_exit(answer->status);
}

__attribute__((noreturn)) static void mute(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		fail("/dev/null");
	become(call.real);
}

__attribute__((noreturn)) static void lie(void)
{
	run_child(call.real, 0, 0);
	write_end();
	_exit(get_exit_code(call.status) == 0);
}

static void store_stale(int number, const struct stream *stream)
{
	char path[PATH_MAX], unfinished[PATH_MAX];
	snprintf(path, sizeof path, CALLS "stale-%d.%d", number, stream->fd);
	snprintf(unfinished, sizeof unfinished, CALLS "unfinished-%d", getpid());
	int fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		fail(unfinished);
	print_all(fd, kept[stream->fd - 1], stream->kept_size);
	close(fd);
	if (rename(unfinished, path) != 0)
		fail(path);
}

static void print_stale(int number, const struct stream *stream)
{
	char path[PATH_MAX];
	size_t size;
	snprintf(path, sizeof path, CALLS "stale-%d.%d", number, stream->fd);
	if (access(path, F_OK) != 0) { /* the first call, or its output went elsewhere */
		print_all(stream->fd, kept[stream->fd - 1], stream->kept_size);
		return;
	}
	char *content = read_file(path, &size);
	print_all(stream->fd, content, size);
	free(content);
}

static int is_spared(void)
{
	return plan.only >= 0 && call.number != plan.only;
}

/* Each call is stored for the next one, also one that is spared and prints its own output. */
__attribute__((noreturn)) static void answer_stale(void)
{
	run_child(call.real, 1, 1);
	for (int i = 0; i < 2; i++)
		if (call.streams[i].is_captured) {
			store_stale(call.number, &call.streams[i]);
			print_stale(is_spared() ? -1 : call.number - 1, &call.streams[i]);
		}
	write_end();
	if (is_relaying())
		relay_for_descendants();
	end_as_child();
}

__attribute__((noreturn)) static void hang(void)
{
	for (;;)
		pause();
}

/* The sleeper holds no descriptor: one that holds a pipe would make the caller wait. */
static void leave_orphan(void)
{
	pid_t pid = fork();
	if (pid < 0)
		fail("cannot leave a process");
	if (pid > 0)
		return;
	setsid();
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
	hide("isosmoke-orphan");
	hang();
}

__attribute__((noreturn)) static void become_other(void)
{
	char path[PATH_MAX + 32];
	find_program(OTHER, path);
	become(path);
}

__attribute__((noreturn)) static void sabotage(void)
{
	int is_stale = strcmp(plan.mode, "stale") == 0;
	if (is_stale || plan.only >= 0)
		while (!claim("call", ++call.number))
			;
	write_start(is_spared() ? "" : plan.mode);
	if (is_spared() && !is_stale)
		become(call.real);
	if (strcmp(plan.mode, "fail") == 0)
		_exit(1);
	if (strcmp(plan.mode, "noop") == 0)
		_exit(0);
	if (strcmp(plan.mode, "replay") == 0)
		replay();
	if (strcmp(plan.mode, "mute") == 0)
		mute();
	if (strcmp(plan.mode, "lie") == 0)
		lie();
	if (is_stale)
		answer_stale();
	if (strcmp(plan.mode, "hang") == 0)
		hang();
	if (strcmp(plan.mode, "against") == 0)
		become_other();
	if (strcmp(plan.mode, "absent") == 0) {
		dprintf(STDERR_FILENO, "%s: command not found\n", call.argv[0]);
		_exit(NOT_FOUND);
	}
	if (strcmp(plan.mode, "orphan") != 0)
		stop_with(PLAN, "it has an unknown mode");
	leave_orphan();
	become(call.real);
}

int main(int argc, char **argv)
{
	clock_gettime(CLOCK_MONOTONIC, &call.started);
	if (argc < 1)
		stop_with("the call", "it has no name");
	call.argv = argv;
	snprintf(call.id, sizeof call.id, "%d.%lld.%ld", getpid(), (long long)call.started.tv_sec, call.started.tv_nsec);
	read_plan();
	find_program(REAL, call.real);
	open_log();
	name_call(argv + 1);
	digest_arguments(argv + 1);
	find_ancestors();
	int is_recorded = strcmp(plan.mode, "record") == 0, is_watched = strcmp(plan.mode, "watch") == 0;
	int is_target = is_recorded || is_watched || strcmp(call.name, plan.target) == 0;
	if (call.is_nested || !is_target) {
		write_start("");
		become(call.real);
	}
	if (is_recorded)
		record_call();
	if (is_watched)
		watch_call();
	sabotage();
}
