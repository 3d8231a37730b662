// SPDX-License-Identifier: GPL-2.0
/*
 * swap-real-data: fill memory several times over with real data and check it
 *
 *	swap-real-data zram DISK CORPUS
 *	swap-real-data zswap DISK CORPUS
 *
 * CORPUS is a disk with the contents of real files. They are copied to anonymous
 * memory, more than there is, so that most of it is swapped: to /dev/zram0 with
 * DISK as its backing device, or through zswap with swap on DISK. Then all of it
 * is read back and compared with CORPUS, byte for byte.
 *
 * Every page begins with its number, so that no two are alike and a page that
 * comes back in another's place is noticed.
 *
 * Prints KTAP, and what it measured in lines "# value NAME NUMBER UNIT". With
 * ZMEM_FACTOR above 1, on kernels made slow by their own checks, there is less
 * data and a faster compressor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <linux/fs.h>

#include "ktap.h"

#define PAGE		4096UL
#define CHUNK		(256 * PAGE)
#define MIB		(1024.0 * 1024.0)
#define ZRAM		"/sys/block/zram0/"
#define ZSWAP		"/sys/module/zswap/parameters/"
#define ZSWAP_DEBUG	"/sys/kernel/debug/zswap/"

static unsigned char *memory;
static unsigned long pages;
static unsigned char *buffer;
static int corpus;
static unsigned long corpus_pages;
static int factor = 1;

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- what the kernel says ---- */

static int put(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, value, strlen(value));
	close(fd);
	return n == (ssize_t)strlen(value) ? 0 : -1;
}

static void must_put(const char *file, const char *value)
{
	if (put(file, value))
		die(file);
}

/* Number @index of a file of numbers; -1 where there is none */
static long long number(const char *file, int index)
{
	char text[4096], *at = text, *end;
	int fd = open(file, O_RDONLY);
	long long value = -1;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return -1;
	text[n] = 0;
	for (; index >= 0; index--) {
		value = strtoll(at, &end, 10);
		if (end == at)
			return -1;
		at = end;
	}
	return value;
}

/* The number behind "NAME" in a file of names and numbers */
static long long named(const char *file, const char *name)
{
	char line[256], key[64];
	FILE *f = fopen(file, "r");
	long long value, found = -1;

	if (!f)
		die(file);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63[^: ]%*[: ]%lld", key, &value) == 2 &&
		    !strcmp(key, name)) {
			found = value;
			break;
		}
	}
	fclose(f);
	return found;
}

static long long event(const char *name)
{
	return named("/proc/vmstat", name);
}

static void show_value(const char *name, double number, const char *unit)
{
	ktap_note("value %s %.*f %s", name, number == (long long)number ? 0 : 2,
		  number, unit);
}

/* ---- data ---- */

static void read_corpus(unsigned long page)
{
	unsigned long at = page % corpus_pages;
	size_t done = 0;

	/* O_DIRECT: the corpus must not take the memory that the test is about */
	while (done < CHUNK) {
		size_t len = CHUNK - done;
		ssize_t n;

		if (len > (corpus_pages - at) * PAGE)
			len = (corpus_pages - at) * PAGE;
		n = pread(corpus, buffer + done, len, at * PAGE);
		if (n <= 0 || n % PAGE)
			die("reading the corpus");
		done += n;
		at = (at + n / PAGE) % corpus_pages;
	}
	for (unsigned long i = 0; i < CHUNK / PAGE; i++) {
		unsigned long long tag = page + i;

		memcpy(buffer + i * PAGE, &tag, sizeof(tag));
	}
}

static unsigned long chunk_pages(unsigned long first)
{
	return pages - first < CHUNK / PAGE ? pages - first : CHUNK / PAGE;
}

/* Called now and then while pages are swapped out, if it is set */
static void (*make_room)(void);

static void fill(void)
{
	for (unsigned long p = 0; p < pages; p += CHUNK / PAGE) {
		read_corpus(p);
		memcpy(memory + p * PAGE, buffer, chunk_pages(p) * PAGE);
		if (make_room && p % (8 * CHUNK / PAGE) == 0)
			make_room();
	}
}

static unsigned char *gone;

/*
 * How many pages from chunk to chunk, beginning with @first, are not what they
 * should be. Those that are @gone are not looked at.
 */
static unsigned long check_pages(unsigned long first, unsigned long end)
{
	static const unsigned char zero[PAGE];
	unsigned long bad = 0;

	for (unsigned long p = first; p < end; p += CHUNK / PAGE) {
		if (make_room && p % (8 * CHUNK / PAGE) == 0)
			make_room();
		read_corpus(p);
		for (unsigned long i = 0; i < chunk_pages(p); i++) {
			const unsigned char *want = buffer + i * PAGE;

			/* a look at a page that is gone would bring a new one */
			if (gone[p + i])
				continue;
			if (memcmp(memory + (p + i) * PAGE, want, PAGE)) {
				if (!bad++)
					ktap_note("page %lu is wrong%s", p + i,
						  memcmp(memory + (p + i) * PAGE, zero, PAGE) ?
						  "" : ": it is empty");
			}
		}
	}
	return bad;
}

static unsigned long check_some(unsigned long count)
{
	unsigned long bad = 0;

	while (count--) {
		unsigned long p = random() % pages;

		if (gone[p])
			continue;
		read_corpus(p);
		bad += !!memcmp(memory + p * PAGE, buffer, PAGE);
	}
	return bad;
}

/* The comparison itself must be able to fail */
static void check_the_check(void)
{
	unsigned long victim = pages / 3;
	unsigned long found;

	while (gone[victim])
		victim++;
	memory[victim * PAGE + PAGE - 1] ^= 1;
	found = check_pages(victim, victim + 1);
	memory[victim * PAGE + PAGE - 1] ^= 1;
	ktap_ok(found == 1, "one bit that is changed is found");
}

static void set_up(const char *corpus_path, double times)
{
	unsigned long long size;
	long long free_kb;

	corpus = open(corpus_path, O_RDONLY | O_DIRECT);
	if (corpus < 0 || ioctl(corpus, BLKGETSIZE64, &size))
		die(corpus_path);
	corpus_pages = size / PAGE;
	buffer = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffer == MAP_FAILED || mlock(buffer, CHUNK))
		die("buffer");

	free_kb = named("/proc/meminfo", "MemFree");
	pages = free_kb * 1024 * times / PAGE;
	gone = calloc(pages, 1);
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || !gone || mlock(gone, pages))
		die("memory");
	/* what is measured are pages, not huge ones */
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	show_value("free", free_kb / 1024.0, "MiB");
	show_value("data", pages * PAGE / MIB, "MiB");
}

static void swap_on(const char *device)
{
	char command[128];

	snprintf(command, sizeof(command), "mkswap %s >/dev/null", device);
	if (system(command) || swapon(device, 0))
		die(device);
}

struct faults {
	long long major, from_disk, from_zswap;
};

static struct faults faults_now(void)
{
	return (struct faults){ event("pgmajfault"), event("pswpin"), event("zswpin") };
}

static void fill_and_time(const char *device)
{
	double start = now();

	fill();
	show_value("fill_time", now() - start, "s");
	ktap_ok(event("pswpout") > 0 || event("zswpout") > 0,
		"%.0f MiB of real data in %s: more than fits", pages * PAGE / MIB, device);
}

/* ---- zram ---- */

static double writeback_time;
static long long free_at_first;
static int limits_held = 1;

/* Writes at most @limit pages to the backing device. Returns how many. */
static long long write_back(int limit)
{
	long long before = number(ZRAM "bd_stat", 2), written;
	double start = now();
	char text[32];

	snprintf(text, sizeof(text), "%d", limit);
	must_put(ZRAM "writeback_limit_enable", "1");
	must_put(ZRAM "writeback_limit", text);
	must_put(ZRAM "idle", "all");
	/* a limit that is reached is an error, and what we want */
	if (put(ZRAM "writeback", "idle") && errno != EIO)
		ktap_note("writeback: %s", strerror(errno));
	writeback_time += now() - start;
	written = number(ZRAM "bd_stat", 2) - before;
	if (written > limit)
		limits_held = 0;
	return written;
}

/* Frees that found their slot locked and were dropped, since boot */
static long long missed_frees(void)
{
	FILE *f = fopen(ZRAM "debug_stat", "r");
	long long missed;

	if (!f || fscanf(f, "version: %*d %*d %lld", &missed) != 1)
		die(ZRAM "debug_stat");
	fclose(f);
	return missed;
}

/* What is compressed would fill the memory, too: the disk takes some of it */
static void zram_make_room(void)
{
	if (number(ZRAM "mm_stat", 2) > free_at_first * (factor > 1 ? 40 : 55) / 100)
		write_back(factor > 1 ? 1500 : 6000);
}

static void free_half(void)
{
	for (unsigned long p = 0; p < pages; p++) {
		if (random() & 1)
			continue;
		gone[p] = 1;
		if (madvise(memory + p * PAGE, PAGE, MADV_DONTNEED))
			die("MADV_DONTNEED");
	}
}

static int run_zram(const char *disk, const char *corpus_path)
{
	long long stored, compr, used, used_before, compacted, written, left, reads;
	struct faults before, after;
	char text[64];
	double start;
	int ok;

	ktap_plan(8);
	must_put(ZRAM "comp_algorithm", factor > 1 ? "lzo-rle" : "zstd");
	must_put(ZRAM "backing_dev", disk);
	/* those checks take memory as well, and what they keep grows with the work */
	set_up(corpus_path, factor > 1 ? 1.1 : 2.5);
	snprintf(text, sizeof(text), "%lu", 2 * pages * PAGE);
	must_put(ZRAM "disksize", text);
	swap_on("/dev/zram0");
	free_at_first = named("/proc/meminfo", "MemFree") * 1024;
	ktap_note("text compressor %s", factor > 1 ? "lzo-rle" : "zstd");

	make_room = zram_make_room;
	fill_and_time("zram");
	/* mm_stat counts what is on the disk among what is stored: that is not in memory */
	stored = number(ZRAM "mm_stat", 0) - number(ZRAM "bd_stat", 0) * PAGE;
	compr = number(ZRAM "mm_stat", 1);
	used = number(ZRAM "mm_stat", 2);
	show_value("stored", stored / MIB, "MiB");
	show_value("compressed", compr / MIB, "MiB");
	show_value("used", used / MIB, "MiB");
	show_value("saved", (stored - used) / MIB, "MiB");
	show_value("ratio", (double)stored / (used ? used : 1), "times");
	show_value("on_disk", number(ZRAM "bd_stat", 0) * PAGE / MIB, "MiB");

	before = faults_now();
	reads = number(ZRAM "bd_stat", 1);
	start = now();
	ok = check_pages(0, pages) == 0;
	show_value("verify_time", now() - start, "s");
	after = faults_now();
	reads = number(ZRAM "bd_stat", 1) - reads;
	ktap_ok(ok, "every byte comes back");
	show_value("faults", after.major - before.major, "faults");
	show_value("pages_from_memory", after.from_disk - before.from_disk - reads, "pages");
	show_value("pages_from_disk", reads, "pages");

	/* under pressure the shrinker may compact before we get to the knob */
	compacted = number(ZRAM "mm_stat", 6);
	free_half();
	used_before = number(ZRAM "mm_stat", 2);
	show_value("compacted_early", number(ZRAM "mm_stat", 6) - compacted, "pages");
	start = now();
	must_put(ZRAM "compact", "1");
	show_value("compact_time", now() - start, "s");
	compacted = number(ZRAM "mm_stat", 6) - compacted;
	used = number(ZRAM "mm_stat", 2);
	show_value("compacted", compacted, "pages");
	show_value("compacted_memory", (used_before - used) / MIB, "MiB");
	ktap_ok(compacted > 0 && used <= used_before,
		"compaction frees memory after half of the data is freed");

	written = write_back(1000);
	show_value("writeback_time", writeback_time, "s");
	show_value("written_back", number(ZRAM "bd_stat", 2), "pages");
	ktap_ok(written > 0 && limits_held,
		"idle pages are written back, not more than the limit");

	ktap_ok(check_pages(0, pages) == 0, "every byte comes back after compaction and writeback");
	ktap_ok(check_some(300) == 0, "so do pages at random");
	check_the_check();

	munmap(memory, pages * PAGE);
	if (swapoff("/dev/zram0"))
		die("swapoff");
	/* swap's own header is the page that stays */
	left = number(ZRAM "mm_stat", 0) / PAGE;
	show_value("left", left, "pages");
	show_value("miss_free", missed_frees(), "pages");
	ktap_ok(left <= 1 + missed_frees(),
		"nothing stays when all is freed, but for frees that were missed");
	return ktap_end();
}

/* ---- zswap ---- */

static long long zswap_stat(const char *name)
{
	char file[128];

	snprintf(file, sizeof(file), ZSWAP_DEBUG "%s", name);
	return number(file, 0);
}

static int run_zswap(const char *disk, const char *corpus_path)
{
	static const char * const rejects[] = {
		"reject_alloc_fail", "reject_compress_poor",
		"reject_kmemcache_fail", "reject_reclaim_fail",
	};
	struct faults before, after;
	long long stored, size, out, to_disk, back;
	double start;
	int ok;

	ktap_plan(6);
	if (put(ZSWAP "zpool", "zsmalloc") ||
	    put(ZSWAP "compressor", factor > 1 ? "lzo-rle" : "zstd") ||
	    put(ZSWAP "max_pool_percent", "20") || put(ZSWAP "enabled", "1"))
		die("zswap's parameters");
	set_up(corpus_path, factor > 1 ? 1.5 : 2.5);
	swap_on(disk);
	ktap_note("text compressor %s", factor > 1 ? "lzo-rle" : "zstd");

	fill_and_time("zswap in front of a disk");
	stored = zswap_stat("stored_pages");
	size = zswap_stat("pool_total_size");
	out = event("zswpout");
	to_disk = event("pswpout");
	back = zswap_stat("written_back_pages");
	show_value("stored", stored * PAGE / MIB, "MiB");
	show_value("used", size / MIB, "MiB");
	show_value("saved", (stored * PAGE - size) / MIB, "MiB");
	show_value("ratio", (double)stored * PAGE / (size ? size : 1), "times");
	show_value("stores", out, "pages");
	show_value("to_disk", to_disk, "pages");
	show_value("limit_hit", zswap_stat("pool_limit_hit"), "times");
	show_value("written_back", back, "pages");
	/* not all reasons for that are counted by the base */
	show_value("past_zswap", to_disk > back ? to_disk - back : 0, "pages");
	for (unsigned int i = 0; i < sizeof(rejects) / sizeof(*rejects); i++)
		show_value(rejects[i], zswap_stat(rejects[i]), "pages");
	ktap_ok(stored > 0, "zswap holds pages");

	before = faults_now();
	start = now();
	ok = check_pages(0, pages) == 0;
	show_value("verify_time", now() - start, "s");
	after = faults_now();
	ktap_ok(ok, "every byte comes back");
	show_value("faults", after.major - before.major, "faults");
	show_value("pages_from_memory", after.from_zswap - before.from_zswap, "pages");
	show_value("pages_from_disk", after.from_disk - before.from_disk, "pages");
	ktap_ok(check_some(300) == 0, "so do pages at random");
	check_the_check();

	munmap(memory, pages * PAGE);
	if (swapoff(disk))
		die("swapoff");
	show_value("left", zswap_stat("stored_pages"), "pages");
	ktap_ok(zswap_stat("stored_pages") == 0 && zswap_stat("pool_total_size") == 0,
		"nothing stays in zswap when swap is off");
	return ktap_end();
}

int main(int argc, char **argv)
{
	const char *slow = getenv("ZMEM_FACTOR");
	int zram = argc == 4 && !strcmp(argv[1], "zram");
	int zswap = argc == 4 && !strcmp(argv[1], "zswap");

	ktap_usage(argc, argv, zram || zswap, "swap-real-data zram|zswap DISK CORPUS");
	if (slow)
		factor = atoi(slow);
	srandom(1);
	return (zram ? run_zram : run_zswap)(argv[2], argv[3]);
}
