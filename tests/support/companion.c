/* A service for tests, in an image that contains nothing else.
 *   companion serve PORT   prints, listens, and sends its GREETING and pid to each client
 *   companion lazy PORT    the same, but listens only after a second
 *   companion fail         prints an error and exits with 3
 *   companion deaf         never listens
 *   companion flood        prints without end
 *   companion leave        exits, and leaves a "deaf" process
 *   companion --version    exits with 0
 *   companion check        the health check: exits with 0 if "serve" listens on port 7000
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address(const char *port)
{
	struct sockaddr_in all = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port)) };
	return all;
}

static int serve(const char *port)
{
	struct sockaddr_in all = address(port);
	const char *greeting = getenv("GREETING");
	char answer[256];
	int line, listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&all, sizeof all) || listen(listener, 16))
		return 1;
	puts("ready to accept");
	while ((line = accept(listener, NULL, NULL)) >= 0) {
		snprintf(answer, sizeof answer, "%s %d\n", greeting ? greeting : "hello", getpid());
		if (write(line, answer, strlen(answer)) < 0)
			perror("write");
		close(line);
	}
	return 1;
}

static int check(void)
{
	struct sockaddr_in here = address("7000");
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&here, sizeof here) ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *act = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("companion %s as user %d\n", act, (int)getuid());
	if (!strcmp(act, "--version"))
		return 0;
	if (!strcmp(act, "check"))
		return check();
	if (!strcmp(act, "lazy"))
		sleep(1);
	if (!strcmp(act, "serve") || !strcmp(act, "lazy"))
		return serve(argc > 2 ? argv[2] : "7000");
	if (!strcmp(act, "leave")) {
		if (fork() == 0)
			execl(argv[0][0] == '/' ? argv[0] : "/run/isosmoke/bin/wg", "/run/isosmoke/bin/wg", "deaf", NULL);
		return 0;
	}
	if (!strcmp(act, "deaf"))
		for (;;)
			pause();
	if (!strcmp(act, "flood"))
		for (setvbuf(stdout, NULL, _IOFBF, 1 << 16);;)
			puts("over and over");
	fputs("no license\n", stderr);
	return 3;
}
