/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest's programs about page mobility share: in which frames pages are
 */
#ifndef PAGES_H
#define PAGES_H

#include "zswap.h"

/* of /proc/kpageflags */
#define KPF_KSM			0x200000UL
#define KPF_MOVABLE_OPS		0x8000000UL

/* Where @pages from @at on are; 0: not in memory, or on their way */
static inline void read_frames(const void *at, unsigned long pages, unsigned long *frames)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t bytes = pages * 8;

	if (fd < 0 || pread(fd, frames, bytes, (unsigned long)at / PAGE * 8) != bytes)
		ktap_bail("pagemap");
	close(fd);
	for (unsigned long i = 0; i < pages; i++)
		frames[i] = frames[i] >> 63 ? frames[i] & ((1UL << 55) - 1) : 0;
}

/* Which of the first @frames frames are movable pages of drivers, and how many */
static inline unsigned long drivers_frames(unsigned char *marks, unsigned long frames)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	unsigned long flags[512], n = 0;
	ssize_t bytes;

	if (fd < 0)
		ktap_bail("kpageflags");
	memset(marks, 0, frames);
	for (unsigned long pfn = 0; (bytes = read(fd, flags, sizeof(flags))) > 0; pfn += bytes / 8)
		for (long i = 0; i < bytes / 8 && pfn + i < frames; i++)
			n += marks[pfn + i] = !!(flags[i] & KPF_MOVABLE_OPS);
	close(fd);
	return n;
}

/*
 * Writes all pages of @set and swaps them out to zram, with other pages between
 * zram's, and lets memory be compacted when those have gone. Nobody else may use
 * zram meanwhile. Returns how many of zram's pages have moved.
 */
static inline unsigned long move_zrams_pages(struct set *set)
{
	unsigned long frames = 1UL << 20, moved = 0;
	unsigned char *was = calloc(2, frames), *is = was + frames;
	struct set holes = set_new(set->pages, set->seed + 1, set->hard);

	if (!was)
		ktap_bail("memory");
	for (unsigned long i = 0; i < set->pages; i += 32) {
		set_write(&holes, i, 32);
		set_write(set, i, 32);
		page_out(set, i, 32);
	}
	set_free(&holes);
	drivers_frames(was, frames);
	for (int i = 0; i < 3; i++)
		must_put("/proc/sys/vm/compact_memory", "1");
	drivers_frames(is, frames);
	for (unsigned long i = 0; i < frames; i++)
		moved += is[i] && !was[i];
	free(was);
	return moved;
}

#endif /* PAGES_H */
