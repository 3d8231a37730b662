// SPDX-License-Identifier: GPL-2.0
/*
 * preempt-sections: how long compressed swap keeps preemption off
 *
 *	preempt-sections DISK CORPUS
 *
 * Stores pages of CORPUS in zswap (with zsmalloc) and loads them again, then
 * does the same with zram (lzo-rle, then zstd), then fills zram until it takes 256
 * MiB, frees half of it at random and has it compacted, and takes every outermost
 * section with preemption off from the kernel's preemptirq events. Prints, for
 * each function of zsmalloc, zpool, zswap or zram that began one, or ended one
 * whose beginner the event does not name, and for the rest of the kernel together,
 * how many there were, and the longest:
 *
 *	# section WHAT FUNCTION COUNT MEDIAN LONGEST
 *
 * in ticks of the time stamp counter. Under scripts/boot --icount a tick is an
 * instruction; nothing else about it is time. They include the event itself, and
 * the longest what interrupts did meanwhile.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/swap.h>

#include "ktap.h"
#include "zram.h"

#define PAGE		4096UL
#define PAGES		512UL
#define COMPACT_BYTES	(256LL << 20)
#define COMPACT_DISK	262144UL
#define KEPT		4096U
#define TRACING		"/sys/kernel/tracing/"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
		die(file);
	close(fd);
}

struct section {
	char function[64];
	unsigned long long count, longest;
	unsigned int lengths[KEPT];
};

static struct section sections[64];
static unsigned int nr_sections;

static int is_ours(const char *function)
{
	static const char * const prefixes[] = {
		"zs_", "obj_hold", "zspage_", "zpool", "zswap", "zram", "zcomp",
		/* compaction */
		"__zs_", "freeze_", "unfreeze_", "move_obj", "drain_",
		"reap_", "trylock_compaction", "unlock_compaction",
		/* the lock of one object */
		"pin_handle", "unpin_handle",
		/* what is freed goes back to the page allocator in bulk */
		"free_unref_page",
	};

	for (unsigned int i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		if (!strncmp(function, prefixes[i], strlen(prefixes[i])))
			return 1;
	}
	return 0;
}

static void add(const char *function, unsigned long long length)
{
	struct section *s;

	for (s = sections; s < sections + nr_sections; s++) {
		if (!strcmp(s->function, function))
			break;
	}
	if (s == sections + nr_sections) {
		if (nr_sections == 64)
			return;
		nr_sections++;
		snprintf(s->function, sizeof(s->function), "%s", function);
	}
	if (s->count < KEPT)
		s->lengths[s->count] = length;
	s->count++;
	if (length > s->longest)
		s->longest = length;
}

/* The function's name behind "KEY=" in an event */
static int field(const char *line, const char *key, char *name)
{
	const char *at = strstr(line, key);

	return at && sscanf(at + strlen(key), "%63[A-Za-z0-9_.]", name) == 1;
}

/* The task that an event is of: what is before " [", the processor's number */
static void task_of(const char *line, char *task, size_t size)
{
	size_t length = strcspn(line, "[");

	snprintf(task, size, "%.*s", (int)(length < size ? length : size - 1), line);
}

static void read_trace(void)
{
	unsigned long long begin = 0, stamp;
	char line[512], caller[64], parent[64], from[64] = "", task[64], ended_by[64];
	FILE *f = fopen(TRACING "trace", "r");

	if (!f)
		die(TRACING "trace");
	nr_sections = 0;
	memset(sections, 0, sizeof(sections));
	while (fgets(line, sizeof(line), f)) {
		char *event = strstr(line, ": preempt_");
		char *at = event;

		if (line[0] == '#' || !event)
			continue;
		while (at > line && isdigit((unsigned char)at[-1]))
			at--;
		stamp = strtoull(at, NULL, 10);
		if (!strncmp(event, ": preempt_disable", 17)) {
			if (!field(event, "caller=", caller) ||
			    !field(event, "parent=", parent))
				continue;
			/* a lock is taken for somebody */
			strcpy(from, is_ours(caller) ? caller : parent);
			task_of(line, task, sizeof(task));
			begin = stamp;
		} else if (begin) {
			/* the scheduler's: the idle task may have been in between */
			task_of(line, ended_by, sizeof(ended_by));
			if (strcmp(task, ended_by)) {
				begin = 0;
				continue;
			}
			/* a lock may hide who took it: who ended the section may help */
			if (!is_ours(from) && field(event, "parent=", parent))
				snprintf(from, sizeof(from), "%s", parent);
			if (!is_ours(from) && field(event, "caller=", caller))
				snprintf(from, sizeof(from), "%s", caller);
			add(is_ours(from) ? from : "(others)", stamp - begin);
			begin = 0;
		}
	}
	fclose(f);
}

static int shorter(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return x < y ? -1 : x > y;
}

static unsigned int median(struct section *s)
{
	unsigned int n = s->count < KEPT ? s->count : KEPT;

	qsort(s->lengths, n, sizeof(s->lengths[0]), shorter);
	return s->lengths[n / 2];
}

static int report(const char *what)
{
	unsigned long long longest = 0;

	for (struct section *s = sections; s < sections + nr_sections; s++) {
		ktap_note("section %s %s %llu %u %llu", what, s->function, s->count,
			  median(s), s->longest);
		if (s->function[0] != '(' && s->longest > longest)
			longest = s->longest;
	}
	ktap_note("value %s_longest %llu instructions", what, longest);
	return longest > 0;
}

static void trace_on(void)
{
	put(TRACING "trace", "");
	put(TRACING "tracing_on", "1");
}

/* Swaps all pages out, and in again */
static void out_and_in(unsigned char *memory)
{
	volatile unsigned char sum = 0;

	if (madvise(memory, PAGES * PAGE, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
	for (unsigned long p = 0; p < PAGES; p++)
		sum += memory[p * PAGE + 100];
}

static void measure(const char *what, unsigned char *memory)
{
	/* once without looking, so that caches and pools are there */
	out_and_in(memory);
	trace_on();
	out_and_in(memory);
	put(TRACING "tracing_on", "0");
	read_trace();
	ktap_ok(report(what), "sections of %s were found", what);
}

/* Fills zram's device, frees every other page or so, and compacts what is left */
static void measure_compaction(int corpus)
{
	static unsigned char page[PAGE];
	int zram = open("/dev/zram0", O_RDWR | O_DIRECT | O_SYNC);
	unsigned long in_corpus = lseek(corpus, 0, SEEK_END) / PAGE, pages = 0;
	unsigned char *buffer;
	unsigned int random = 1;

	if (zram < 0 || posix_memalign((void **)&buffer, PAGE, PAGE))
		die("/dev/zram0");
	while (pages < COMPACT_DISK &&
	       (pages % 64 || zram_stat("mm_stat", MM_USED) < COMPACT_BYTES)) {
		if (pread(corpus, page, PAGE, pages % in_corpus * PAGE) != (ssize_t)PAGE)
			die("the corpus");
		memcpy(buffer, page, PAGE);
		if (pwrite(zram, buffer, PAGE, pages++ * PAGE) != (ssize_t)PAGE)
			die("/dev/zram0");
	}
	ktap_note("value compact_filled %lu pages", pages);
	for (unsigned long p = 0; p < pages; p++) {
		unsigned long long range[2] = { p * PAGE, PAGE };

		random = random * 1664525 + 1013904223;
		if ((random >> 16) % 2 && ioctl(zram, BLKDISCARD, range))
			die("BLKDISCARD");
	}
	trace_on();
	put("/sys/block/zram0/compact", "1");
	put(TRACING "tracing_on", "0");
	read_trace();
	ktap_ok(report("compact"), "sections of compact were found");
	close(zram);
}

static void swap_on(const char *device)
{
	char command[128];

	snprintf(command, sizeof(command), "mkswap %s >/dev/null", device);
	if (system(command) || swapon(device, 0))
		die(device);
}

static void measure_zram(const char *what, const char *algorithm, unsigned char *memory)
{
	put("/sys/block/zram0/reset", "1");
	put("/sys/block/zram0/comp_algorithm", algorithm);
	put("/sys/block/zram0/disksize", "64M");
	swap_on("/dev/zram0");
	measure(what, memory);
	if (swapoff("/dev/zram0"))
		die("swapoff");
}

int main(int argc, char **argv)
{
	unsigned char *memory;
	int corpus;

	ktap_usage(argc, argv, argc == 3, "preempt-sections DISK CORPUS");
	ktap_plan(4);
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	put(TRACING "tracing_on", "0");
	put(TRACING "trace_clock", "x86-tsc");
	put(TRACING "buffer_size_kb", "65536");
	put(TRACING "events/preemptirq/preempt_disable/enable", "1");
	put(TRACING "events/preemptirq/preempt_enable/enable", "1");

	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	corpus = open(argv[2], O_RDONLY);
	if (memory == MAP_FAILED || corpus < 0 ||
	    pread(corpus, memory, PAGES * PAGE, 0) != (ssize_t)(PAGES * PAGE))
		die(argv[2]);
	/* write once, so that pages are dirty and not shared */
	for (unsigned long p = 0; p < PAGES; p++)
		memory[p * PAGE] ^= p;

	put("/sys/module/zswap/parameters/zpool", "zsmalloc");
	put("/sys/module/zswap/parameters/compressor", "lzo");
	put("/sys/module/zswap/parameters/enabled", "1");
	swap_on(argv[1]);
	measure("zswap", memory);
	put("/sys/module/zswap/parameters/enabled", "0");
	if (swapoff(argv[1]))
		die("swapoff");

	measure_zram("zram", "lzo-rle", memory);
	measure_zram("zram-zstd", "zstd", memory);

	put("/sys/block/zram0/reset", "1");
	put("/sys/block/zram0/comp_algorithm", "lzo-rle");
	put("/sys/block/zram0/disksize", "1G");
	measure_compaction(corpus);
	return ktap_end();
}
