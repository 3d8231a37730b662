/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest's zswap programs share: the kernel's knobs and counters, sets
 * of pages whose contents can be checked, and disks that are slow or fail
 *
 * A set of pages is anonymous memory. Each page is made from the set's number,
 * its own, and how often it was written; page_out() swaps it out at once, in
 * order, with no need for memory to be short.
 */
#ifndef ZSWAP_H
#define ZSWAP_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>

#include "ktap.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PAGE		4096UL
#define MIB		(1024.0 * 1024.0)
#define ZSWAP_PARAM	"/sys/module/zswap/parameters/"
#define ZSWAP_DEBUG	"/sys/kernel/debug/zswap/"

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void nap_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/* How much slower than the small kernel this one is */
static inline int factor(void)
{
	const char *slow = getenv("ZMEM_FACTOR");

	return slow && atoi(slow) > 0 ? atoi(slow) : 1;
}

/* ---- what the kernel says, and is told ---- */

/* 0, or an error's number with errno set */
static inline int put(const char *file, const char *value)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return errno;
	n = write(fd, value, strlen(value));
	err = n == (ssize_t)strlen(value) ? 0 : n < 0 ? errno : EIO;
	close(fd);
	errno = err;
	return err;
}

static inline void must_put(const char *file, const char *value)
{
	if (put(file, value))
		ktap_bail("cannot write %s to %s", value, file);
}

static inline long long number(const char *file)
{
	char text[64];
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	return strtoll(text, NULL, 10);
}

/* The number behind NAME in a file of names and numbers; -1: not there */
static inline long long named(const char *file, const char *name)
{
	char line[256], key[64];
	long long value, found = -1;
	FILE *f = fopen(file, "re");

	if (!f)
		return -1;
	while (found < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^: ]%*[: ]%lld", key, &value) == 2 && !strcmp(key, name))
			found = value;
	fclose(f);
	return found;
}

static inline long long event(const char *name)
{
	return named("/proc/vmstat", name);
}

/* -1: this kernel has no such statistic */
static inline long long stat_of(const char *name)
{
	char file[128];

	snprintf(file, sizeof(file), ZSWAP_DEBUG "%s", name);
	return number(file);
}

static inline int param(const char *name, const char *value)
{
	char file[128];

	snprintf(file, sizeof(file), ZSWAP_PARAM "%s", name);
	return put(file, value);
}

static inline void must_param(const char *name, const char *value)
{
	if (param(name, value))
		ktap_bail("zswap's %s cannot be %s", name, value);
}

static inline long long param_value(const char *name)
{
	char file[128];

	snprintf(file, sizeof(file), ZSWAP_PARAM "%s", name);
	return number(file);
}

/* One page for each fault, so that what is counted is what was asked for */
static inline void zswap_set_up(const char *zpool, const char *compressor, int percent)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", percent);
	must_put("/proc/sys/vm/page-cluster", "0");
	must_param("zpool", zpool);
	must_param("compressor", compressor);
	must_param("max_pool_percent", text);
	must_param("enabled", "1");
}

static const char * const rejects[] = {
	"reject_reclaim_fail", "reject_alloc_fail", "reject_kmemcache_fail",
	"reject_compress_poor", "reject_compress_fail",
};

/* Stores that the series' zswap has refused, for whatever reason */
static inline long long refusals(void)
{
	long long sum = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(rejects); i++)
		if (stat_of(rejects[i]) > 0)
			sum += stat_of(rejects[i]);
	return sum;
}

static inline void note_value(const char *name, double number, const char *unit)
{
	ktap_note("value %s %.*f %s", name, number == (long long)number ? 0 : 2, number, unit);
}

/* How many pools zswap has in zsmalloc, or -1 */
static inline int zsmalloc_pools(void)
{
	DIR *dir = opendir("/sys/kernel/debug/zsmalloc");
	struct dirent *entry;
	int pools = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		pools += !strncmp(entry->d_name, "zswap", 5);
	closedir(dir);
	return pools;
}

/* Nothing may be left of what is counted, and no former pool, when no swap is on */
static inline int all_gone(void)
{
	static const char * const stats[] = {
		"stored_pages", "pool_total_size", "same_filled_pages",
		"stored_incompressible_pages", "outstanding_writebacks",
	};
	int gone = 1;

	for (int tries = 0; tries < 100; tries++) {
		/* pools that are no longer used are freed by a worker */
		if (stat_of("pool_total_size") <= 0 && zsmalloc_pools() <= 1)
			break;
		nap_ms(20);
	}
	for (unsigned int i = 0; i < sizeof(stats) / sizeof(*stats); i++) {
		if (stat_of(stats[i]) > 0) {
			ktap_note("%s is %lld", stats[i], stat_of(stats[i]));
			gone = 0;
		}
	}
	if (zsmalloc_pools() > 1) {
		ktap_note("there are %d pools", zsmalloc_pools());
		gone = 0;
	}
	return gone;
}

/* ---- swap ---- */

/* On the first @kib of @device alone */
static inline void swap_on_part(const char *device, unsigned long kib)
{
	char command[300];

	snprintf(command, sizeof(command), "mkswap %s %lu >/dev/null", device, kib);
	if (system(command) || swapon(device, 0))
		ktap_bail("no swap on %lu KiB of %s", kib, device);
}

static inline void swap_on(const char *device)
{
	char command[300];

	snprintf(command, sizeof(command), "mkswap %s >/dev/null", device);
	if (system(command) || swapon(device, 0))
		ktap_bail("no swap on %s", device);
}

/* ---- cgroups ---- */

#define CGROUP		"/sys/fs/cgroup/"

/* 0, or an error's number: @text to @file of @group */
static inline int cg_put(const char *group, const char *file, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), CGROUP "%s/%s", group, file);
	return put(path, text);
}

static inline void cg_must_put(const char *group, const char *file, const char *text)
{
	if (cg_put(group, file, text))
		ktap_bail("%s of cgroup %s cannot be %s", file, group, text);
}

/* -1: there is none */
static inline long long cg_number(const char *group, const char *file)
{
	char path[200];

	snprintf(path, sizeof(path), CGROUP "%s/%s", group, file);
	return number(path);
}

/* ---- sets of pages ---- */

struct set {
	unsigned char *at;
	unsigned long pages;
	unsigned int seed;
	unsigned int hard;	/* bytes of a page that do not compress */
	unsigned short *times;	/* how often each was written; 0: not at all */
};

static inline void make_page(unsigned char *to, unsigned long long key, unsigned int hard)
{
	unsigned long long x = key * 0x9e3779b97f4a7c15ULL + 1, *word = (unsigned long long *)to;
	unsigned int i;

	word[0] = key;
	for (i = 1; i < hard / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = x;
	}
	for (; i < PAGE / 8; i++)
		word[i] = key + i % 8;
}

static inline unsigned long long page_key(const struct set *set, unsigned long page)
{
	unsigned long long seed = set->seed, times = set->times[page];

	return seed << 48 | times << 32 | page;
}

static inline struct set set_new(unsigned long pages, unsigned int seed, unsigned int hard)
{
	struct set set = { .pages = pages, .seed = seed, .hard = hard };

	set.at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	set.times = calloc(pages, sizeof(*set.times));
	if (set.at == MAP_FAILED || !set.times)
		ktap_bail("%lu pages", pages);
	/* what is counted are pages, not huge ones */
	madvise(set.at, pages * PAGE, MADV_NOHUGEPAGE);
	return set;
}

static inline void set_free(struct set *set)
{
	munmap(set->at, set->pages * PAGE);
	free(set->times);
	set->at = NULL;
}

/* Give @count pages from @first on new contents. */
static inline void set_write(struct set *set, unsigned long first, unsigned long count)
{
	static __thread unsigned char page[PAGE] __attribute__((aligned(8)));

	for (unsigned long i = first; i < first + count; i++) {
		set->times[i]++;
		make_page(page, page_key(set, i), set->hard);
		memcpy(set->at + i * PAGE, page, PAGE);
	}
}

static inline void set_drop(struct set *set, unsigned long first, unsigned long count)
{
	if (madvise(set->at + first * PAGE, count * PAGE, MADV_DONTNEED))
		ktap_bail("MADV_DONTNEED");
	memset(set->times + first, 0, count * sizeof(*set->times));
}

/* How many of @count pages from @first on are not what they should be */
static inline unsigned long set_wrong(const struct set *set, unsigned long first,
				      unsigned long count)
{
	static __thread unsigned char page[PAGE] __attribute__((aligned(8)));
	unsigned long wrong = 0;

	for (unsigned long i = first; i < first + count; i++) {
		const unsigned char *is = set->at + i * PAGE;

		if (!set->times[i])
			continue;
		make_page(page, page_key(set, i), set->hard);
		if (!memcmp(is, page, PAGE))
			continue;
		if (!wrong++)
			ktap_note("page %lu of set %u is wrong: key %llx, should be %llx", i,
				  set->seed, (unsigned long long)*(unsigned long long *)is,
				  (unsigned long long)page_key(set, i));
	}
	return wrong;
}

static inline int set_right(const struct set *set)
{
	return set_wrong(set, 0, set->pages) == 0;
}

/* Swap @count pages from @first on out. */
static inline void page_out(struct set *set, unsigned long first, unsigned long count)
{
	if (madvise(set->at + first * PAGE, count * PAGE, MADV_PAGEOUT) && errno != EAGAIN)
		ktap_bail("MADV_PAGEOUT");
}

static inline unsigned long total_pages(void)
{
	return named("/proc/meminfo", "MemTotal") / 4;
}

static inline unsigned long free_pages(void)
{
	return named("/proc/meminfo", "MemFree") / 4;
}

/* ---- a disk that does what it is told (device mapper) ---- */

#define DM_BUFFER	1024

static inline int dm_call(unsigned long command, const char *name, unsigned int flags,
			  const char *type, const char *params, unsigned long long sectors)
{
	static unsigned char buffer[DM_BUFFER] __attribute__((aligned(8)));
	struct dm_ioctl *io = (struct dm_ioctl *)buffer;
	struct dm_target_spec *spec = (struct dm_target_spec *)(io + 1);
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	int status;

	if (fd < 0)
		return -1;
	memset(buffer, 0, sizeof(buffer));
	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = sizeof(buffer);
	io->data_start = sizeof(*io);
	io->flags = flags;
	strcpy(io->name, name);
	if (type) {
		io->target_count = 1;
		spec->length = sectors;
		strcpy(spec->target_type, type);
		strcpy((char *)(spec + 1), params);
	}
	status = ioctl(fd, command, io);
	close(fd);
	return status;
}

static inline unsigned long long disk_sectors(const char *disk)
{
	unsigned long long bytes = 0;
	int fd = open(disk, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		ktap_bail("the size of %s", disk);
	close(fd);
	return bytes / 512;
}

/*
 * Let /dev/dm-0 be @disk, as device mapper's @type makes it. What is on its way
 * to the former table is done first.
 */
static inline void dm_table(const char *disk, const char *type, const char *params)
{
	if (dm_call(DM_TABLE_LOAD, "disk", 0, type, params, disk_sectors(disk)) ||
	    dm_call(DM_DEV_SUSPEND, "disk", DM_SKIP_LOCKFS_FLAG, NULL, NULL, 0))
		ktap_bail("device mapper: %s %s", type, params);
}

static inline void dm_new(void)
{
	if (dm_call(DM_DEV_CREATE, "disk", 0, NULL, NULL, 0))
		ktap_bail("device mapper cannot make a disk");
}

static inline void dm_remove(void)
{
	if (dm_call(DM_DEV_REMOVE, "disk", 0, NULL, NULL, 0))
		ktap_bail("device mapper cannot remove its disk");
}

/*
 * Hold back what comes from now on, reads and writes, until there is a new table. Who
 * submits it does not wait.
 */
static inline void dm_hold(void)
{
	if (dm_call(DM_DEV_SUSPEND, "disk", DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG, NULL, NULL, 0))
		ktap_bail("device mapper cannot suspend its disk");
}

static inline void dm_good(const char *disk)
{
	char params[80];

	snprintf(params, sizeof(params), "%s 0", disk);
	dm_table(disk, "linear", params);
}

/* Reads at once, writes after @ms */
static inline void dm_slow(const char *disk, int ms)
{
	char params[160];

	snprintf(params, sizeof(params), "%s 0 0 %s 0 %d", disk, disk, ms);
	dm_table(disk, "delay", params);
}

/* Reads succeed, writes fail */
static inline void dm_failing(const char *disk)
{
	char params[80];

	snprintf(params, sizeof(params), "%s 0 0 3600 1 error_writes", disk);
	dm_table(disk, "flakey", params);
}

/* Neither reads nor writes succeed */
static inline void dm_broken(const char *disk)
{
	char params[80];

	snprintf(params, sizeof(params), "%s 0 0 3600", disk);
	dm_table(disk, "flakey", params);
}

/* ---- programs that do one thing of several to a disk ---- */

struct job {
	const char *name;
	int (*run)(void);
};

/* Runs the job that argv[1] names, with argv[2] in *DISK. Returns main()'s status */
/* The last case of a test: what was stored goes with the device */
static inline void ktap_swap_off(const char *device)
{
	if (swapoff(device))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "nothing stays when swap is off");
}

static inline int run_job(int argc, char **argv, const struct job *jobs, const char **disk)
{
	FILE *out = argc == 2 && !strcmp(argv[1], "--help") ? stdout : stderr;

	for (const struct job *job = jobs; argc == 3 && job->name; job++) {
		if (strcmp(argv[1], job->name))
			continue;
		*disk = argv[2];
		return job->run();
	}
	fprintf(out, "usage: %s ", argv[0]);
	for (const struct job *job = jobs; job->name; job++)
		fprintf(out, "%s%s", job == jobs ? "" : "|", job->name);
	fprintf(out, " DISK\n");
	return out == stdout ? 0 : 2;
}

#endif /* ZSWAP_H */
