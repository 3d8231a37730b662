// SPDX-License-Identifier: GPL-2.0
/*
 * zram-bench: what zram does in a second
 *
 *	zram-bench throughput|writeback|storm|recompress|zipf DISK CORPUS
 *
 * throughput: pages of CORPUS written past the page cache and read again, by one
 * thread and by two. writeback: pages that do not compress, to DISK, which takes
 * 1 ms for each request. storm: processes of 160 MiB each, swapped, of which 1, 2
 * and 4 unmap that, or are killed, at once, until zram has given the memory back.
 * recompress: what CORPUS takes, before and after idle pages were compressed again
 * and written back to DISK. zipf: two threads use few pages much, of more than
 * fits, with and without compaction every two seconds. Prints KTAP, and lines
 * "# value NAME NUMBER UNIT".
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "zram.h"
#include "zswap.h"

#define DEVICE		"/dev/zram0"
#define COMPRESSED	1200
#define STORM_PAGES	(160UL * 256)
#define KEPT		524288UL	/* operations of which the time is kept */
#define FAST		0.000005	/* shorter ones are counted only */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

static const char *disk;
static int corpus;

static void zram_new(const char *algorithm, const char *backing, unsigned long long bytes)
{
	char text[32];

	must_put(ZRAM "reset", "1");
	must_put(ZRAM "comp_algorithm", algorithm);
	if (backing)
		must_put(ZRAM "backing_dev", backing);
	snprintf(text, sizeof(text), "%llu", bytes);
	must_put(ZRAM "disksize", text);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
	qsort(values, n, sizeof(*values), by_size);
	return values[n / 2];
}

/* ---- throughput ---- */

#define SHARE	4096UL		/* pages of each thread */
#define ROUNDS	5

struct io {
	pthread_t thread;
	unsigned char *data;
	unsigned long first;
	bool writes;
	bool failed;
};

static void *do_io(void *arg)
{
	struct io *io = arg;
	int fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);

	for (unsigned long i = 0; i < SHARE && !io->failed; i++) {
		unsigned char *page = io->data + i % (SHARE / 4) * PAGE;
		off_t at = (io->first + i) * PAGE;

		io->failed = (io->writes ? pwrite(fd, page, PAGE, at) :
					   pread(fd, page, PAGE, at)) != (ssize_t)PAGE;
	}
	close(fd);
	return NULL;
}

/* Pages a second */
static double io_speed(struct io *io, int threads, bool writes)
{
	double began = now(), took;

	for (int t = 0; t < threads; t++) {
		io[t].writes = writes;
		if (pthread_create(&io[t].thread, NULL, do_io, &io[t]))
			ktap_bail("a thread");
	}
	for (int t = 0; t < threads; t++) {
		pthread_join(io[t].thread, NULL);
		if (io[t].failed)
			ktap_bail("I/O");
	}
	took = now() - began;
	return threads * SHARE / took;
}

static void throughput(const char *algorithm)
{
	double speed[2][2][ROUNDS], ratio[2][ROUNDS];
	char name[64];
	struct io io[2] = {};

	zram_new(algorithm, NULL, 2 * SHARE * PAGE);
	for (int t = 0; t < 2; t++) {
		io[t].first = t * SHARE;
		if (posix_memalign((void **)&io[t].data, PAGE, SHARE / 4 * PAGE) ||
		    pread(corpus, io[t].data, SHARE / 4 * PAGE, t * SHARE * PAGE) !=
		    (ssize_t)(SHARE / 4 * PAGE))
			ktap_bail("the corpus");
	}
	io_speed(io, 2, true);
	for (int round = 0; round < ROUNDS; round++) {
		for (int threads = 1; threads <= 2; threads++) {
			/* a read brings what was written, so the data stay what they are */
			speed[threads - 1][0][round] = io_speed(io, threads, true);
			speed[threads - 1][1][round] = io_speed(io, threads, false);
		}
		for (int read = 0; read < 2; read++)
			ratio[read][round] = speed[1][read][round] / speed[0][read][round];
	}
	for (int read = 0; read < 2; read++) {
		for (int threads = 1; threads <= 2; threads++) {
			snprintf(name, sizeof(name), "%s_%s_%d", algorithm,
				 read ? "read" : "write", threads);
			note_value(name, median(speed[threads - 1][read], ROUNDS), "pages/s");
		}
		snprintf(name, sizeof(name), "%s_%s_2_to_1", algorithm, read ? "read" : "write");
		note_value(name, median(ratio[read], ROUNDS), "times");
	}
}

static int run_throughput(void)
{
	ktap_plan(2);
	throughput("lzo-rle");
	ktap_ok(zram_stat("mm_stat", MM_STORED) == 2 * SHARE * PAGE, "lzo-rle: all was stored");
	throughput("zstd");
	ktap_ok(zram_stat("mm_stat", MM_STORED) == 2 * SHARE * PAGE, "zstd: all was stored");
	return ktap_end();
}

/* ---- writeback ---- */

#define HUGE_PAGES	4096UL

static int run_writeback(void)
{
	unsigned char *page, *back;
	unsigned long wrong = 0;
	double began, took;
	char params[160];
	int fd;

	ktap_plan(2);
	dm_new();
	snprintf(params, sizeof(params), "%s 0 1", disk);
	dm_table(disk, "delay", params);
	zram_new("lzo-rle", "/dev/dm-0", HUGE_PAGES * PAGE);
	fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign((void **)&page, PAGE, PAGE) ||
	    posix_memalign((void **)&back, PAGE, PAGE))
		ktap_bail("memory");
	for (unsigned long i = 0; i < HUGE_PAGES; i++) {
		make_page(page, i, PAGE);
		if (pwrite(fd, page, PAGE, i * PAGE) != (ssize_t)PAGE)
			ktap_bail("a write");
	}
	began = now();
	must_put(ZRAM "writeback", "huge");
	took = now() - began;
	ktap_ok(zram_stat("bd_stat", BD_COUNT) * 4096 / PAGE == HUGE_PAGES,
		"all pages are on the disk (%lld)", zram_stat("bd_stat", BD_COUNT));
	note_value("writeback", HUGE_PAGES / took, "pages/s");
	for (unsigned long i = 0; i < HUGE_PAGES; i += 37) {
		make_page(page, i, PAGE);
		wrong += pread(fd, back, PAGE, i * PAGE) != (ssize_t)PAGE ||
			 memcmp(page, back, PAGE);
	}
	ktap_ok(!wrong, "every byte is right");
	close(fd);
	must_put(ZRAM "reset", "1");
	return ktap_end();
}

/* ---- exit storm ---- */

/* Has its memory swapped, says so, and is killed or unmaps it when it may */
static void storm_process(int ready, int go, unsigned int number)
{
	struct set set = set_new(STORM_PAGES, number + 1, COMPRESSED);
	char c = 0;

	for (unsigned long i = 0; i < STORM_PAGES; i += 1024) {
		set_write(&set, i, 1024);
		page_out(&set, i, 1024);
	}
	page_out(&set, 0, STORM_PAGES);
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		_exit(1);
	munmap(set.at, STORM_PAGES * PAGE);
	if (write(ready, &c, 1) != 1)
		_exit(1);
	pause();
}

/*
 * Some slots stay with each processor's cache of slots that can be used again, and
 * what is next to them in zsmalloc's pages stays with them.
 */
#define STORM_STORED	(4LL << 20)
#define STORM_USED	(4LL << 20)

/* What is in zram, and what it takes there */
struct storm_size {
	long long stored, used;
};

static struct storm_size storm_size(void)
{
	return (struct storm_size){
		zram_stat("mm_stat", MM_STORED), zram_stat("mm_stat", MM_USED)
	};
}

/* What has not come back since */
static struct storm_size storm_left(struct storm_size before)
{
	struct storm_size now = storm_size();

	return (struct storm_size){ now.stored - before.stored, now.used - before.used };
}

static bool storm_over(struct storm_size left)
{
	return left.stored <= STORM_STORED && left.used <= STORM_USED;
}

/* Seconds until all of @n processes' memory is back, of which @left is not */
static double storm(int n, bool killed, struct storm_size *left)
{
	struct storm_size before = storm_size();
	int ready[2], go[2], status;
	double began, took;
	char text[8] = {};
	pid_t pids[8];

	if (pipe(ready) || pipe(go))
		ktap_bail("a pipe");
	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		if (!pids[i])
			storm_process(ready[1], go[0], i);
	}
	for (int i = 0; i < n; i++)
		if (read(ready[0], text, 1) != 1)
			ktap_bail("a process");
	began = now();
	if (killed) {
		for (int i = 0; i < n; i++)
			kill(pids[i], SIGKILL);
	} else {
		if (write(go[1], text, n) != n)
			ktap_bail("a pipe");
		for (int i = 0; i < n; i++)
			if (read(ready[0], text, 1) != 1)
				ktap_bail("a process");
	}
	for (int i = 0; i < n && killed; i++)
		waitpid(pids[i], &status, 0);
	while (!storm_over(*left = storm_left(before)) && now() < began + 10)
		nap_ms(1);
	took = now() - began;
	for (int i = 0; i < n && !killed; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
	}
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
	return took;
}

/*
 * The same on a new device. Without swap no cache has slots either: what zram has
 * then is the header, and what was freed while it was not told or did not listen.
 */
static double storm_alone(int n, bool killed, struct storm_size *left, long long *orphaned)
{
	double took;

	zram_new("lzo-rle", NULL, 1ULL << 30);
	swap_on(DEVICE);
	took = storm(n, killed, left);
	if (swapoff(DEVICE))
		ktap_bail("swapoff");
	*orphaned += zram_stat("mm_stat", MM_STORED) / (long long)PAGE - 1;
	return took;
}

static int run_storm(void)
{
	struct storm_size left, most = {};
	long long orphaned = 0;
	bool over = true;
	double times[3];
	char name[64];

	ktap_plan(2);
	must_put("/proc/sys/vm/page-cluster", "0");
	for (int killed = 0; killed < 2; killed++) {
		for (int n = 1; n <= 4; n *= 2) {
			for (int round = 0; round < 3; round++) {
				times[round] = storm_alone(n, killed, &left, &orphaned);
				over &= storm_over(left);
				if (left.stored > most.stored)
					most.stored = left.stored;
				if (left.used > most.used)
					most.used = left.used;
			}
			snprintf(name, sizeof(name), "%s_%d", killed ? "killed" : "unmapped", n);
			note_value(name, median(times, 3) * 1000, "ms");
		}
	}
	note_value("orphaned", orphaned, "slots");
	ktap_ok(orphaned == 0, "without swap only its header is left each time");
	ktap_ok(over, "the memory came back each time (%lld pages were left, which took %lld)",
		most.stored / (long long)PAGE, most.used / (long long)PAGE);
	return ktap_end();
}

/* ---- what is cold takes less ---- */

static void note_used(const char *when)
{
	char name[64];

	must_put(ZRAM "compact", "1");
	snprintf(name, sizeof(name), "memory_%s", when);
	note_value(name, zram_stat("mm_stat", MM_USED) / MIB, "MiB");
}

static int run_recompress(void)
{
	unsigned long pages = 64 * 256, wrong = 0;
	unsigned char *page, *back;
	bool recompresses;
	int fd;

	ktap_plan(1);
	must_put(ZRAM "reset", "1");
	recompresses = !put(ZRAM "recomp_algorithm", "algo=zstd priority=1");
	/* 6.12 recompresses, and has no such knob */
	if (put(ZRAM "compressed_writeback", "1") && errno != ENOENT)
		ktap_bail("compressed_writeback");
	must_put(ZRAM "comp_algorithm", "lzo-rle");
	must_put(ZRAM "backing_dev", disk);
	must_put(ZRAM "disksize", "64M");
	fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign((void **)&page, PAGE, PAGE) ||
	    posix_memalign((void **)&back, PAGE, PAGE))
		ktap_bail("memory");
	/* from all over the corpus, in which files of a kind are together */
	for (unsigned long i = 0; i < pages; i++) {
		if (pread(corpus, page, PAGE, i * 6 * PAGE) != (ssize_t)PAGE ||
		    pwrite(fd, page, PAGE, i * PAGE) != (ssize_t)PAGE)
			ktap_bail("a write");
	}
	note_value("data", pages * PAGE / MIB, "MiB");
	note_used("stored");
	if (recompresses) {
		must_put(ZRAM "idle", "all");
		must_put(ZRAM "recompress", "type=idle");
		note_used("recompressed");
	}
	must_put(ZRAM "idle", "all");
	must_put(ZRAM "writeback", "idle");
	note_used("written_back");
	note_value("blocks", zram_stat("bd_stat", BD_COUNT), "blocks");
	for (unsigned long i = 0; i < pages; i += 7) {
		wrong += pread(corpus, page, PAGE, i * 6 * PAGE) != (ssize_t)PAGE ||
			 pread(fd, back, PAGE, i * PAGE) != (ssize_t)PAGE ||
			 memcmp(page, back, PAGE);
	}
	ktap_ok(!wrong, "every byte is right");
	close(fd);
	must_put(ZRAM "reset", "1");
	return ktap_end();
}

/* ---- few pages much, and compaction ---- */

struct user {
	pthread_t thread;
	struct set *set;
	double until, *times;
	unsigned long first, pages;
	unsigned long n, kept;	/* operations, and those of which the time is kept */
	unsigned int random;
};

/* The i-th page of a share with weight 1/i; those of like weight are spread */
static void *use(void *arg)
{
	struct user *user = arg;
	double start;

	user->kept = 0;
	for (user->n = 0; (start = now()) < user->until; user->n++) {
		double u = (rand_r(&user->random) + 0.5) / (RAND_MAX + 1.0);
		unsigned long page = user->first + (unsigned long)exp(u * log(user->pages)) *
				     2654435761UL % user->pages;
		volatile unsigned char *at = user->set->at + page * PAGE;

		/* every tenth is a store: the byte stays what it is, the page is dirty */
		if (user->n % 10)
			(void)*at;
		else
			*at = *at;
		start = now() - start;
		if (start > FAST && user->kept < KEPT)
			user->times[user->kept++] = start;
	}
	return NULL;
}

static double zipf_p999(struct user *users, double seconds, bool compact, unsigned long *n)
{
	double until = now() + seconds, *all = users[0].times;
	unsigned long kept;

	for (int t = 0; t < 2; t++) {
		users[t].until = until;
		if (pthread_create(&users[t].thread, NULL, use, &users[t]))
			ktap_bail("a thread");
	}
	while (now() < until - 2) {
		nap_ms(2000);
		if (compact)
			must_put(ZRAM "compact", "1");
	}
	for (int t = 0; t < 2; t++)
		pthread_join(users[t].thread, NULL);
	*n = users[0].n + users[1].n;
	kept = users[0].kept + users[1].kept;
	if (kept <= *n / 1000)
		ktap_bail("hardly anything was slow: %lu of %lu", kept, *n);
	memmove(all + users[0].kept, users[1].times, users[1].kept * sizeof(*all));
	qsort(all, kept, sizeof(*all), by_size);
	return all[kept - *n / 1000 - 1];
}

static int run_zipf(void)
{
	double without[3], with[3], ratio[3];
	unsigned long n, ops = 0, compacted;
	struct user users[2] = {};
	double *times;
	struct set set;

	ktap_plan(2);
	must_put("/proc/sys/vm/page-cluster", "0");
	zram_new("lzo-rle", NULL, 1ULL << 30);
	swap_on(DEVICE);
	times = calloc(2 * KEPT, sizeof(*times));
	if (!times)
		ktap_bail("memory");
	memset(times, 1, 2 * KEPT * sizeof(*times));
	mlock(times, 2 * KEPT * sizeof(*times));
	set = set_new(free_pages() * 8 / 5, 1, COMPRESSED);
	for (unsigned long i = 0; i < set.pages; i++)
		set_write(&set, i, 1);
	for (int t = 0; t < 2; t++) {
		users[t] = (struct user){
			.set = &set, .times = times + t * KEPT, .first = t * (set.pages / 2),
			.pages = set.pages / 2, .random = t + 1,
		};
	}
	zipf_p999(users, 8, false, &n);
	compacted = zram_stat("mm_stat", MM_COMPACTED);
	for (int round = 0; round < 3; round++) {
		without[round] = zipf_p999(users, 12, false, &n);
		ops += n;
		with[round] = zipf_p999(users, 12, true, &n);
		ops += n;
		ratio[round] = with[round] / without[round];
	}
	note_value("operations", ops, "operations");
	note_value("compacted", zram_stat("mm_stat", MM_COMPACTED) - compacted, "pages");
	note_value("p999_without", median(without, 3) * 1e6, "us");
	note_value("p999_with", median(with, 3) * 1e6, "us");
	note_value("p999_ratio", median(ratio, 3), "times");
	ktap_ok(set_right(&set), "every byte is right");
	set_free(&set);
	if (swapoff(DEVICE))
		ktap_bail("swapoff");
	ktap_ok(zram_stat("mm_stat", MM_STORED) <= (long long)PAGE,
		"without swap only its header is left");
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "throughput", run_throughput }, { "writeback", run_writeback },
		{ "storm", run_storm }, { "recompress", run_recompress },
		{ "zipf", run_zipf }, { NULL, NULL },
	};

	if (argc == 4) {
		corpus = open(argv[3], O_RDONLY | O_CLOEXEC);
		if (corpus < 0)
			ktap_bail("%s", argv[3]);
		argc--;
	}
	return run_job(argc, argv, jobs, &disk);
}
