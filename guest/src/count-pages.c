// SPDX-License-Identifier: GPL-2.0
/*
 * count-pages: how many pages /proc/kpageflags shows with these flags
 *
 *	count-pages BIT[+BIT]...
 *
 * Prints, for each argument, the number of pages that have all of its bits, in one
 * line: of one reading of the file, all of them.
 */
#include <fcntl.h>
#include <unistd.h>

#include "ktap.h"

#define MOST	16

/* Returns 0 if @text is not numbers of bits with + between them */
static unsigned long long mask_of(const char *text)
{
	unsigned long long mask = 0;
	char *end;

	for (;; text = end + 1) {
		unsigned long bit = strtoul(text, &end, 10);

		if (end == text || bit > 63 || (*end && *end != '+'))
			return 0;
		mask |= 1ULL << bit;
		if (!*end)
			return mask;
	}
}

int main(int argc, char **argv)
{
	unsigned long long masks[MOST] = { 0 }, flags[4096];
	unsigned long counts[MOST] = { 0 };
	int n = argc - 1, right = n > 0 && n <= MOST, fd;
	ssize_t got;

	for (int i = 0; right && i < n; i++) {
		masks[i] = mask_of(argv[i + 1]);
		right = masks[i] != 0;
	}
	ktap_usage(argc, argv, right, "count-pages BIT[+BIT]...");
	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		perror("/proc/kpageflags");
		return 1;
	}
	while ((got = read(fd, flags, sizeof(flags))) > 0)
		for (size_t page = 0; page < got / sizeof(*flags); page++)
			for (int i = 0; i < n; i++)
				counts[i] += (flags[page] & masks[i]) == masks[i];
	if (got < 0) {
		perror("/proc/kpageflags");
		return 1;
	}
	for (int i = 0; i < n; i++)
		printf("%lu%c", counts[i], i < n - 1 ? ' ' : '\n');
	return 0;
}
