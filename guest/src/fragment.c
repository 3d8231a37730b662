// SPDX-License-Identifier: GPL-2.0
/*
 * fragment: leave free memory in single pages
 *
 *	fragment MIB
 *
 * Takes MIB of memory and gives every other page of it back. Ends when that is done;
 * what is left is with a process of its own, whose number it prints.
 */
#define _GNU_SOURCE
#include <signal.h>

#include "zswap.h"

static void take(unsigned long pages)
{
	unsigned char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || madvise(at, pages * PAGE, MADV_NOHUGEPAGE))
		exit(1);
	for (unsigned long i = 0; i < pages; i++)
		at[i * PAGE] = 1;
	for (unsigned long i = 0; i < pages; i += 2)
		if (madvise(at + i * PAGE, PAGE, MADV_DONTNEED))
			exit(1);
}

int main(int argc, char **argv)
{
	unsigned long mib = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	int ready[2];
	pid_t pid;
	char c;

	ktap_usage(argc, argv, mib != 0, "fragment MIB");
	if (pipe(ready))
		return 1;
	pid = fork();
	if (!pid) {
		close(ready[0]);
		close(STDOUT_FILENO);
		take(mib << 8);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (pid < 0 || read(ready[0], &c, 1) != 1)
		return 1;
	printf("%d\n", pid);
	return 0;
}
