/* Run a target on each file that is named, without a fuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0) {
		perror(path);
		exit(2);
	}
	size_t size = (size_t)ftell(file);
	uint8_t *bytes = malloc(size ? size : 1); /* of this size, so that a sanitizer sees its end */
	rewind(file);
	if (!bytes || fread(bytes, 1, size, file) != size) {
		perror(path);
		exit(2);
	}
	fclose(file);
	fprintf(stderr, "input: %s\n", path);
	LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	return 0;
}
