// SPDX-License-Identifier: GPL-2.0
/*
 * fail-each: one write to the kernel, with each of its allocations failing once
 *
 *	fail-each [-r] [-s STEP] FILE VALUE [UNDO_FILE UNDO_VALUE]
 *
 * Writes VALUE to FILE with the kernel's fault injection set to fail the first
 * allocation of the write, then again for the second, and so on, until there was
 * none left to fail. With -s, only the first 32 one by one, and after these each
 * STEPth: a loop's allocations are alike. VALUE may be @SIZE: so many bytes of a
 * pattern, at the beginning of FILE. After a write that succeeded UNDO_VALUE is
 * written to UNDO_FILE. Prints "value failed N allocations" and "value refused N
 * writes", and fails if no write was refused, unless -r says that the kernel may try
 * again, if there was no allocation, or if the last write was refused, in which
 * nothing failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST	2000
#define ONE_BY_ONE	32

static void die(const char *what)
{
	fprintf(stderr, "fail-each: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int open_file(const char *file, int flags)
{
	int fd = open(file, flags);

	if (fd < 0)
		die(file);
	return fd;
}

static void fail_nth(int fd, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	if (pwrite(fd, text, len, 0) != len)
		die("fail-nth");
}

/* Whether the allocation that was to fail has come */
static int failed(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		die("fail-nth");
	return atoi(text) == 0;
}

static void misused(void)
{
	fprintf(stderr, "usage: fail-each [-r] [-s STEP] FILE VALUE [UNDO_FILE UNDO_VALUE]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	int injected = 1, last = 0, failures = 0, refused = 0, retried = 0, nth, fd, undo = -1;
	int option, step = 1;
	const void *value;
	unsigned int n;
	size_t len;
	void *page;

	while ((option = getopt(argc, argv, "+rs:")) != -1) {
		if (option == 'r')
			retried = 1;
		else
			step = option == 's' ? atoi(optarg) : 0;
		if (step < 1)
			misused();
	}
	argv += optind - 1;
	argc -= optind - 1;
	if (argc != 3 && argc != 5)
		misused();
	value = argv[2];
	len = strlen(argv[2]);
	if (argv[2][0] == '@') {
		len = strtoul(argv[2] + 1, NULL, 0);
		if (!len || posix_memalign(&page, 4096, len))
			die(argv[2]);
		for (size_t i = 0; i < len; i++)
			((unsigned char *)page)[i] = i * 7 + (i >> 6);
		value = page;
	}
	/* all of our own memory and files before anything fails */
	nth = open_file("/proc/thread-self/fail-nth", O_RDWR);
	fd = open_file(argv[1], O_WRONLY | (argv[2][0] == '@' ? O_DIRECT : 0));
	if (argc == 5)
		undo = open_file(argv[3], O_WRONLY);

	for (n = 1; n <= MOST && injected; n += n < ONE_BY_ONE ? 1 : step) {
		fail_nth(nth, n);
		last = pwrite(fd, value, len, 0) == (ssize_t)len;
		injected = failed(nth);
		fail_nth(nth, 0);
		failures += injected;
		refused += !last;
		if (last && undo >= 0 &&
		    pwrite(undo, argv[4], strlen(argv[4]), 0) < 0)
			die(argv[3]);
	}
	printf("value failed %d allocations\n", failures);
	printf("value refused %d writes\n", refused);
	if (injected || !last || !failures || (!refused && !retried)) {
		printf("%s\n", injected ? "there was always another one to fail" :
		       !last ? "the last write was refused" :
		       !failures ? "there was no allocation" : "no write was refused");
		return 1;
	}
	return 0;
}
