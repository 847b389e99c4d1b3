/*
 * Fuzz the keeper's commands: any bytes from the runner, between any events inside the sandbox.
 *
 * An input is one byte, the number of choices; the choices; then the bytes from the runner.
 */
#include "simulated_kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const char proc[] = "1 self 7\xff" "7 (sh) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9\n\xff"
	                           "7\xff" "7 (sh) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9\n";
	const uint8_t *text = (const uint8_t *)proc, *end = bytes + size;
	if (!size)
		return 0;
	const uint8_t *choices = bytes + 1, *input = choices + *bytes;
	if (input > end)
		input = end;
	run_keeper((struct bytes){ input, end }, (struct bytes){ choices, input },
	           (struct bytes){ text, text + sizeof proc - 1 });
	return 0;
}
