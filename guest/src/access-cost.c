// SPDX-License-Identifier: GPL-2.0
/*
 * access-cost: what it takes to store and to load one page
 *
 *	access-cost DISK CORPUS
 *
 * Writes pages of CORPUS to zram and reads them again, one at a time and past the
 * page cache, then unmaps pages that are swapped to zram, then swaps single pages
 * out to zswap (with zsmalloc, in front of DISK) and faults them in. Prints the
 * median for each (the mean for those that were unmapped), of loads also of the pages
 * alone that zram has compressed whatever its longest object, and what a slot of
 * zram's table takes:
 *
 *	# value WHAT NUMBER UNIT
 *
 * in ticks of the time stamp counter, which are instructions under scripts/boot
 * --icount. The system call, the block layer and reclaim are included; they are
 * the same with and without the series.
 */
#define _GNU_SOURCE
#include <x86intrin.h>

#include "zram.h"
#include "zswap.h"

#define PAGES		2048UL
#define SLOTS_MIB	512UL
/* A page that takes more may be stored as it is, and is then only copied */
#define COMPRESSED	3200UL

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static int by_size(const void *a, const void *b)
{
	unsigned long long x = *(const unsigned long long *)a;
	unsigned long long y = *(const unsigned long long *)b;

	return x < y ? -1 : x > y;
}

static void note_median_of(const char *what, const char *how, unsigned long long *ticks,
			   unsigned long n)
{
	char name[64];

	qsort(ticks, n, sizeof(*ticks), by_size);
	snprintf(name, sizeof(name), "%s_%s", what, how);
	note_value(name, ticks[n / 2], "instructions");
}

static void note_median(const char *what, const char *how, unsigned long long *ticks)
{
	note_median_of(what, how, ticks, PAGES);
}

static void read_corpus(int corpus, void *to, unsigned long page)
{
	if (pread(corpus, to, PAGE, page * PAGE) != (ssize_t)PAGE)
		ktap_bail("the corpus");
}

static void measure_zram(const char *algorithm, int corpus)
{
	static unsigned long long stores[PAGES], loads[PAGES];
	unsigned long wrong = 0, before, compressed = 0;
	static unsigned long long small[PAGES];
	static unsigned long sizes[PAGES];
	char name[64], *data, *buffer;
	int fd;

	must_put("/sys/block/zram0/reset", "1");
	must_put("/sys/block/zram0/comp_algorithm", algorithm);
	must_put("/sys/block/zram0/disksize", "64M");
	fd = open("/dev/zram0", O_RDWR | O_DIRECT);
	if (fd < 0 || posix_memalign((void **)&buffer, PAGE, PAGE) ||
	    posix_memalign((void **)&data, PAGE, PAGE))
		ktap_bail("/dev/zram0");
	/* the first round makes the pool's zspages and warms what there is to warm */
	for (int round = 0; round < 2; round++) {
		for (unsigned long i = 0; i < PAGES; i++) {
			unsigned long long start;

			read_corpus(corpus, data, i);
			before = zram_stat("mm_stat", MM_COMPRESSED);
			start = __rdtsc();
			if (pwrite(fd, data, PAGE, i * PAGE) != (ssize_t)PAGE)
				ktap_bail("a write");
			stores[i] = __rdtsc() - start;
			if (!round)
				sizes[i] = zram_stat("mm_stat", MM_COMPRESSED) - before;
		}
	}
	for (unsigned long i = 0; i < PAGES; i++) {
		unsigned long long start = __rdtsc();

		if (pread(fd, buffer, PAGE, i * PAGE) != (ssize_t)PAGE)
			ktap_bail("a read");
		loads[i] = __rdtsc() - start;
		read_corpus(corpus, data, i);
		wrong += memcmp(buffer, data, PAGE) != 0;
	}
	close(fd);
	snprintf(name, sizeof(name), "zram_%s_compressed", algorithm);
	note_value(name, zram_stat("mm_stat", MM_COMPRESSED) / (double)PAGES, "bytes");
	snprintf(name, sizeof(name), "zram_%s", algorithm);
	for (unsigned long i = 0; i < PAGES; i++)
		if (sizes[i] && sizes[i] <= COMPRESSED)
			small[compressed++] = loads[i];
	note_median_of(name, "load_compressed", small, compressed);
	note_median(name, "store", stores);
	note_median(name, "load", loads);
	ktap_ok(!wrong && compressed, "zram, %s: every byte is right", algorithm);
	free(data);
	free(buffer);
}

static void measure_zswap(const char *disk, int corpus)
{
	static unsigned long long stores[PAGES], loads[PAGES];
	unsigned char *memory, *page;
	unsigned long wrong = 0;

	zswap_set_up("zsmalloc", "lzo", 50);
	swap_on(disk);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	page = malloc(PAGE);
	if (memory == MAP_FAILED || !page)
		ktap_bail("memory");
	madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (int round = 0; round < 2; round++) {
		for (unsigned long i = 0; i < PAGES; i++)
			read_corpus(corpus, memory + i * PAGE, i);
		for (unsigned long i = 0; i < PAGES; i++) {
			unsigned long long start = __rdtsc();

			if (madvise(memory + i * PAGE, PAGE, MADV_PAGEOUT))
				ktap_bail("MADV_PAGEOUT");
			stores[i] = __rdtsc() - start;
		}
		for (unsigned long i = 0; i < PAGES; i++) {
			volatile unsigned char *byte = memory + i * PAGE;
			unsigned long long start = __rdtsc();

			(void)*byte;
			loads[i] = __rdtsc() - start;
		}
	}
	for (unsigned long i = 0; i < PAGES; i++) {
		read_corpus(corpus, page, i);
		wrong += memcmp(memory + i * PAGE, page, PAGE) != 0;
	}
	note_median("zswap", "store", stores);
	note_median("zswap", "load", loads);
	ktap_ok(!wrong && event("zswpin") >= (long long)PAGES,
		"zswap: every byte is right, and was there");
	munmap(memory, PAGES * PAGE);
	if (swapoff(disk))
		ktap_bail("swapoff");
	must_param("enabled", "0");
}

/* What a page that is swapped to zram takes to be freed, with its process' page table */
static void measure_swap_free(int corpus)
{
	unsigned long long start;
	unsigned char *memory;

	must_put("/sys/block/zram0/reset", "1");
	must_put("/sys/block/zram0/comp_algorithm", "lzo-rle");
	must_put("/sys/block/zram0/disksize", "64M");
	swap_on("/dev/zram0");
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (memory == MAP_FAILED)
		ktap_bail("memory");
	madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (unsigned long i = 0; i < PAGES; i++)
		read_corpus(corpus, memory + i * PAGE, i);
	if (madvise(memory, PAGES * PAGE, MADV_PAGEOUT))
		ktap_bail("MADV_PAGEOUT");
	start = __rdtsc();
	munmap(memory, PAGES * PAGE);
	note_value("zram_swap_free", (__rdtsc() - start) / PAGES, "instructions");
	if (swapoff("/dev/zram0"))
		ktap_bail("swapoff");
}

/* The largest area of virtual memory is zram's table, with a page that guards it */
static void measure_slot(void)
{
	unsigned long long bytes, table = 0;
	char line[256];
	FILE *f;

	must_put("/sys/block/zram0/reset", "1");
	must_put("/sys/block/zram0/disksize", "512M");
	f = fopen("/proc/vmallocinfo", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "disksize_store") && sscanf(line, "%*s %llu", &bytes) == 1 &&
		    bytes > table)
			table = bytes;
	}
	if (f)
		fclose(f);
	if (ktap_ok(table > 0, "zram's table was found"))
		note_value("zram_slot", (table - PAGE) / (SLOTS_MIB * 256.0), "bytes");
}

int main(int argc, char **argv)
{
	int corpus;

	ktap_usage(argc, argv, argc == 3, "access-cost DISK CORPUS");
	ktap_plan(4);
	corpus = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (corpus < 0)
		ktap_bail("%s", argv[2]);
	measure_zram("lzo-rle", corpus);
	measure_zram("zstd", corpus);
	measure_swap_free(corpus);
	measure_slot();
	measure_zswap(argv[1], corpus);
	return ktap_end();
}
