/*
 * Fuzz the keeper's parser of /proc, which has text that a script controls.
 *
 * An input is one byte, which selects the commands, then the records of the simulated /proc in the
 * order in which the keeper reads them: a directory as names between spaces, a file or link as its
 * bytes. Records may contradict each other, as they do while processes start and end.
 */
#include "simulated_kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t survivors[] = "l\0\0\0\0f\0\0\0\0l\0\0\0\0c\0\0\0"; /* list, freeze, list, thaw */
	static const uint8_t supervisor[] = "p\0\0\0\x0a\0\0\0/\0001\0x\0\0";
	static const uint8_t forks[] = { 0, 0, 0, 2, 0, 0, 0, 0 }; /* poll, two pipes, and a child process */
	struct bytes choices = { NULL, NULL }, input = { survivors, survivors + sizeof survivors };
	if (!size)
		return 0;
	if (*bytes & 1) {
		input = (struct bytes){ supervisor, supervisor + sizeof supervisor - 1 };
		choices = (struct bytes){ forks, forks + sizeof forks };
	}
	run_keeper(input, choices, (struct bytes){ bytes + 1, bytes + size });
	return 0;
}
