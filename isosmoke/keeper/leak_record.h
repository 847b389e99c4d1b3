/*
 * The record of one run of isosmoke-exec: one line of JSON, which isosmoke/leak_log reads. exec.c
 * includes this file. The forms of sockets and of arguments are those of procfs.py.
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/wait.h>

#include "processes.h"

#define UNIX_ACCEPTING 0x10000 /* __SO_ACCEPTCON, which no header of a C library defines */

/* ---- text of any length ---- */

struct text {
	char *bytes;
	size_t size, capacity;
};

static void append(struct text *text, const char *bytes, size_t size)
{
	if (!size)
		return; /* `bytes` may be NULL, which memcpy(3) does not permit */
	if (text->capacity - text->size < size) {
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

__attribute__((format(printf, 2, 3))) static void append_format(struct text *text, const char *format, ...)
{
	char bytes[256];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(bytes, sizeof bytes, format, arguments);
	va_end(arguments);
	append(text, bytes, size < (int)sizeof bytes ? (size_t)size : sizeof bytes - 1);
}

/* ---- JSON (RFC 8259) ---- */

/* Return the length of the UTF-8 character at `at`, or 0 if there is none (RFC 3629, 4). */
static size_t measure_character(const unsigned char *at, size_t size)
{
	size_t length = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
	if (!length || length > size)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	int is_overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
	int is_surrogate = *at == 0xed && at[1] > 0x9f, is_too_large = *at == 0xf4 && at[1] > 0x8f;
	return is_overlong || is_surrogate || is_too_large ? 0 : length;
}

/* Append the inside of a string. A byte that is not UTF-8 becomes the four characters \xNN. */
static void append_escaped(struct text *text, const char *bytes, size_t size)
{
	const unsigned char *at = (const unsigned char *)bytes;
	while (size) {
		size_t length = measure_character(at, size);
		if (!length)
			append_format(text, "\\\\x%02x", *at);
		else if (*at < 0x20 || *at == 0x7f)
			append_format(text, "\\u%04x", *at);
		else {
			if (*at == '"' || *at == '\\')
				append(text, "\\", 1);
			append(text, (const char *)at, length);
		}
		at += length ? length : 1;
		size -= length ? length : 1;
	}
}

static void append_string(struct text *text, const char *bytes, size_t size)
{
	append(text, "\"", 1);
	append_escaped(text, bytes, size);
	append(text, "\"", 1);
}

/* Append `"key": "value", `. */
static void append_field(struct text *text, const char *key, const char *value)
{
	append_format(text, "\"%s\": ", key);
	append_string(text, value, strlen(value));
	append(text, ", ", 2);
}

static void append_separator(struct text *text, int count)
{
	if (count)
		append(text, ", ", 2);
}

/* ---- sockets that accept connections, or packets from anywhere ---- */

static struct {
	struct { unsigned long inode; size_t start, size; } *entries; /* parts of `addresses` */
	size_t count, capacity;
	struct text addresses;
} accepting;

static void add_accepting(unsigned long inode, const char *kind, const char *address)
{
	if (accepting.count == accepting.capacity) {
		accepting.capacity = 2 * accepting.capacity + 64;
		void *larger = realloc(accepting.entries, accepting.capacity * sizeof *accepting.entries);
		if (!larger)
			fail("cannot store a socket");
		accepting.entries = larger;
	}
	size_t start = accepting.addresses.size;
	append(&accepting.addresses, kind, strlen(kind));
	append(&accepting.addresses, address, strlen(address));
	accepting.entries[accepting.count].inode = inode;
	accepting.entries[accepting.count].start = start;
	accepting.entries[accepting.count++].size = accepting.addresses.size - start;
}

/* Parse a line of /proc/net/tcp and the like. The 32-bit groups of an address are numbers of this
 * machine (Documentation/networking/proc_net_tcp.rst). */
static void add_internet_socket(const char *table, const char *line)
{
	char hexadecimal[33], address[INET6_ADDRSTRLEN], text[80];
	unsigned port, state;
	unsigned long inode;
	uint32_t groups[4] = { 0 };
	if (sscanf(line, " %*[^:]: %32[0-9A-F]:%x %*s %x %*s %*s %*s %*s %*s %lu", hexadecimal, &port, &state, &inode) != 4
	    || state != (*table == 't' ? 0x0au : 0x07u))
		return;
	int is_v6 = strlen(hexadecimal) == 32;
	for (int group = 0; group < (is_v6 ? 4 : 1); group++)
		sscanf(hexadecimal + 8 * group, "%8x", &groups[group]);
	if (!inet_ntop(is_v6 ? AF_INET6 : AF_INET, groups, address, sizeof address))
		fail("cannot read the address of a socket");
	snprintf(text, sizeof text, is_v6 ? "[%s]:%u" : "%s:%u", address, port);
	add_accepting(inode, *table == 't' ? "tcp " : "udp ", text);
}

static void add_unix_socket(const char *line)
{
	unsigned long flags, inode;
	int end = 0;
	if (sscanf(line, "%*s %*s %*s %lx %*s %*s %lu%n", &flags, &inode, &end) != 2 || !(flags & UNIX_ACCEPTING))
		return;
	const char *path = line + end;
	add_accepting(inode, "unix ", *path == ' ' ? path + 1 : "(unnamed)");
}

/* A kernel may lack a table, but every table that exists must be readable. */
static void load_table(const char *table)
{
	char path[32], *line = NULL;
	size_t capacity = 0;
	ssize_t size;
	snprintf(path, sizeof path, "/proc/net/%s", table);
	FILE *file = fopen(path, "re");
	if (!file && errno == ENOENT)
		return;
	if (!file)
		fail(path);
	while (errno = 0, (size = getline(&line, &capacity, file)) > 0) {
		line[size - (line[size - 1] == '\n')] = 0;
		if (*table == 'u' && table[1] == 'n')
			add_unix_socket(line);
		else
			add_internet_socket(table, line);
	}
	if (ferror(file))
		fail(path);
	free(line);
	fclose(file);
}

static void load_accepting(void)
{
	static const char *const tables[] = { "tcp", "tcp6", "udp", "udp6", "unix" };
	if (accepting.count)
		return;
	for (size_t table = 0; table < sizeof tables / sizeof *tables; table++)
		load_table(tables[table]);
}

static int holds_socket(unsigned long inode)
{
	char entry[32];
	int size = snprintf(entry, sizeof entry, " %lu ", inode);
	return memmem(sockets.inodes, sockets.size, entry, (size_t)size) != NULL;
}

/* Append the addresses of the recorded sockets to `json` as strings, and to `words` as text. */
static void append_sockets(struct text *json, struct text *words)
{
	int count = 0;
	if (sockets.size)
		load_accepting();
	for (size_t i = 0; sockets.size && i < accepting.count; i++) {
		const char *address = accepting.addresses.bytes + accepting.entries[i].start;
		if (!holds_socket(accepting.entries[i].inode))
			continue;
		append_separator(json, count);
		append_string(json, address, accepting.entries[i].size);
		append_format(words, count++ ? ", " : ", listens on ");
		append_escaped(words, address, accepting.entries[i].size);
	}
}

/* ---- survivors ---- */

/* Append the arguments as strings, and to `words` as text. A process that has wiped its arguments
 * has only a name, which is written in brackets. */
static void append_arguments(struct text *json, struct text *words, char *arguments, ssize_t size, const char *name)
{
	char bracketed[MAX_STAT_SIZE + 2];
	ssize_t blank = size > 0 ? (ssize_t)strspn(arguments, " \t\n") : 0;
	while (blank < size && strchr(" \t\n", arguments[blank])) /* which also finds a zero */
		blank++;
	if (blank >= size) {
		size = snprintf(bracketed, sizeof bracketed, "[%s]", name) + 1;
		arguments = bracketed;
	}
	for (ssize_t start = 0; start < size;) {
		size_t length = strnlen(arguments + start, (size_t)(size - start));
		append_separator(json, start > 0);
		append_string(json, arguments + start, length);
		append(words, " ", start > 0);
		append_escaped(words, arguments + start, length);
		start += (ssize_t)length + 1;
	}
}

/* Return the age in seconds of the process of this status: now, minus the 20th field after the
 * name, which is in ticks after the start of the machine (proc(5)). */
static double read_age(const struct status *status)
{
	char uptime[64];
	unsigned long long ticks = 0;
	ssize_t size = read_file("/proc/uptime", uptime, sizeof uptime - 1);
	if (size <= 0)
		fail("/proc/uptime");
	uptime[size] = 0;
	if (sscanf(status->state, "%*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks) != 1) {
		errno = EBADMSG;
		fail("/proc/PID/stat");
	}
	double age = strtod(uptime, NULL) - (double)ticks / (double)sysconf(_SC_CLK_TCK);
	return age > 0 ? age : 0;
}

/* Append one survivor, and describe it in `words`. Return 0 if it has ended in the meantime. */
static int append_survivor(struct text *json, struct text *words, pid_t pid, int count)
{
	static char arguments[CHUNK + 1];
	char path[64], state;
	struct status status;
	pid_t living = find_living_task(pid, &state);
	if (living < 0 || !read_process_status(pid, &status))
		return 0;
	double age = read_age(&status);
	snprintf(path, sizeof path, "/proc/%d/task/%d/cmdline", pid, living);
	ssize_t size = read_file(path, arguments, sizeof arguments - 1);
	if (size < 0)
		fail_unless_hidden(path);
	arguments[size > 0 ? size : 0] = 0;
	status.state[-2] = 0; /* ends the name, which follows the first '(' */
	append_separator(json, count);
	append_format(json, "{\"pid\": %d, \"argv\": [", pid);
	append(words, "; ", count ? 2 : 0);
	append_arguments(json, words, arguments, size, strchr(status.line, '(') + 1);
	append_format(json, "], \"age_seconds\": %.2f, \"sockets\": [", age);
	append_format(words, " (PID %d, age %.1f s", pid, age);
	record_sockets(pid);
	append_sockets(json, words);
	append_format(json, "]}");
	append_format(words, ")");
	return 1;
}

/* List the stopped processes of the namespace. Return their number. */
static int append_survivors(struct text *json, struct text *words)
{
	DIR *processes = open_processes();
	int count = 0;
	pid_t pid;
	while ((pid = next_process(processes)) >= 0)
		count += append_survivor(json, words, pid, count);
	closedir(processes);
	return count;
}

/* ---- the record ---- */

/* Return the command as a record quotes it: its test, arguments and directory. */
static void append_command(struct text *record, const char *test, char **argv, const char *directory)
{
	append_format(record, "{\"schema_version\": 1, ");
	if (test)
		append_field(record, "test", test);
	else
		append_format(record, "\"test\": null, ");
	append_format(record, "\"argv\": [");
	for (int i = 0; argv[i]; i++) {
		append_separator(record, i);
		append_string(record, argv[i], strlen(argv[i]));
	}
	append_format(record, "], ");
	append_field(record, "cwd", directory);
}

static void append_time(struct text *record, struct timespec started, double seconds)
{
	struct tm parts;
	char date[32];
	gmtime_r(&started.tv_sec, &parts);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
	append_format(record, "\"started_at\": \"%s.%03ldZ\", \"seconds\": %.3f, ", date, started.tv_nsec / 1000000, seconds);
}

/* Append what is known without a verdict: `reason` is not blank. */
static void append_unwatched(struct text *record, const char *reason)
{
	append_format(record, "\"watched\": false, ");
	append_field(record, "reason", reason);
	append_format(record, "\"exit_code\": null, \"signal\": null, \"survivors\": []}\n");
}

/* Append the verdict: a wait status, and survivors as the inside of a JSON array. */
static void append_verdict(struct text *record, int status, const struct text *survivors)
{
	append_format(record, "\"watched\": true, \"reason\": \"\", ");
	if (WIFSIGNALED(status))
		append_format(record, "\"exit_code\": null, \"signal\": %d, ", WTERMSIG(status));
	else
		append_format(record, "\"exit_code\": %d, \"signal\": null, ", WEXITSTATUS(status));
	append_format(record, "\"survivors\": [");
	append(record, survivors->bytes, survivors->size);
	append_format(record, "]}\n");
}

/* With one write to a file in append mode, records of concurrent runs do not mix. Return 0, or -1
 * with errno. */
static int write_record(int log, const struct text *record)
{
	if (log < 0)
		return 0;
	ssize_t size = write(log, record->bytes, record->size);
	if (size >= 0 && (size_t)size < record->size)
		errno = ENOSPC;
	return size == (ssize_t)record->size ? 0 : -1;
}
