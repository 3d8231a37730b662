/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest's zram programs share: the statistics of /dev/zram0
 */
#ifndef ZRAM_H
#define ZRAM_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ktap.h"

#define ZRAM		"/sys/block/zram0/"

/* columns of mm_stat: bytes, but for the last, which is pages */
#define MM_STORED	0
#define MM_COMPRESSED	1
#define MM_USED		2
#define MM_COMPACTED	6
/* and of bd_stat, in units of 4K */
#define BD_COUNT	0

/* A number of a statistics file, the first being 0 */
static inline long long zram_stat(const char *file, int column)
{
	char path[64], text[256], *at = text;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), ZRAM "%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		ktap_bail("%s", path);
	close(fd);
	text[n] = 0;
	while (column--)
		strtoll(at, &at, 10);
	return strtoll(at, NULL, 10);
}

#endif /* ZRAM_H */
