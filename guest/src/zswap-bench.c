// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-bench: what a hot set costs behind zswap
 *
 *	zswap-bench DISK ZPOOL PATTERN
 *
 * A cold set is written, then a hot set that fits in memory and zswap's pool
 * together; then pages of the hot set are read, those that were swapped faulting.
 * The disk takes 2 ms for each read or write. PATTERN is uniform, zipf (few pages
 * are read most), hard (a quarter of all pages does not compress) or memcg (in a
 * cgroup with half of the memory). Prints KTAP, and in lines "# value NAME NUMBER
 * UNIT" who served the faults, how long they took, what was refused and written.
 */
#define _GNU_SOURCE
#include <math.h>
#include <sys/resource.h>

#include "zswap.h"

#define SWAP		"/dev/dm-0"
#define COMPRESSED	1200
#define PERCENT		12
#define CGROUP		"/sys/fs/cgroup/"

static const char *pattern;

static int is(const char *name)
{
	return !strcmp(pattern, name);
}

/* Every fourth page, where some shall not compress */
static void write_all(struct set *set)
{
	for (unsigned long i = 0; i < set->pages; i++) {
		set->hard = is("hard") && i % 4 == 0 ? PAGE - 8 : COMPRESSED;
		set_write(set, i, 1);
	}
}

/*
 * A page of @n: each as often as the next, or the i-th with weight 1/i. Pages of
 * like weight are spread over the set.
 */
static unsigned long pick(unsigned long n)
{
	double u = (random() + 0.5) / 2147483648.0;

	if (!is("zipf"))
		return random() % n;
	return (unsigned long)exp(u * log(n)) * 2654435761UL % n;
}

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static long major_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_majflt;
}

int main(int argc, char **argv)
{
	unsigned long room, reads, wrong = 0, n = 0;
	long long disk, zswap, out, back, stores, rejected[ARRAY_SIZE(rejects)];
	struct set cold, hot;
	double began, took, *times;
	char params[160], text[32];

	ktap_usage(argc, argv, argc == 4, "zswap-bench DISK ZPOOL uniform|zipf|hard|memcg");
	pattern = argv[3];
	ktap_plan(2);
	srandom(1);
	dm_new();
	dm_good(argv[1]);
	zswap_set_up(argv[2], "lzo", PERCENT);
	swap_on(SWAP);
	room = free_pages();
	if (is("memcg")) {
		room /= 2;
		must_put(CGROUP "cgroup.subtree_control", "+memory");
		if (mkdir(CGROUP "bench", 0700))
			ktap_bail("no cgroup");
		snprintf(text, sizeof(text), "%lu", room * PAGE);
		must_put(CGROUP "bench/memory.max", text);
		must_put(CGROUP "bench/cgroup.procs", "0");
	}
	cold = set_new(room * 85 / 100, 1, COMPRESSED);
	hot = set_new(room - total_pages() * PERCENT / 100 * 4 / 10 / (is("memcg") ? 2 : 1), 2,
		      COMPRESSED);
	reads = hot.pages * 2;
	times = calloc(reads, sizeof(*times));
	if (!times || mlock(times, reads * sizeof(*times)))
		ktap_bail("memory");

	out = event("pswpout");
	stores = event("zswpout");
	back = stat_of("written_back_pages");
	for (unsigned int i = 0; i < ARRAY_SIZE(rejects); i++)
		rejected[i] = stat_of(rejects[i]);
	write_all(&cold);
	write_all(&hot);
	snprintf(params, sizeof(params), "%s 0 2", argv[1]);
	dm_table(argv[1], "delay", params);

	disk = event("pswpin");
	zswap = event("zswpin");
	began = now();
	for (unsigned long i = 0; i < reads; i++) {
		unsigned long page = pick(hot.pages);
		long faults = major_faults();
		double start = now(), end;
		volatile unsigned char *byte = hot.at + page * PAGE + PAGE - 1;

		(void)*byte;
		end = now();
		if (major_faults() != faults)
			times[n++] = end - start;
		hot.hard = is("hard") && page % 4 == 0 ? PAGE - 8 : COMPRESSED;
		wrong += set_wrong(&hot, page, 1);
	}
	took = now() - began;
	disk = event("pswpin") - disk;
	zswap = event("zswpin") - zswap;
	qsort(times, n, sizeof(*times), by_time);

	note_value("reads", reads, "pages");
	note_value("faults", n, "faults");
	note_value("faults_from_disk", disk, "faults");
	note_value("faults_from_zswap", zswap, "faults");
	note_value("disk_share", disk + zswap ? 100.0 * disk / (disk + zswap) : 0, "%");
	note_value("throughput", reads / took, "pages/s");
	if (n) {
		note_value("fault_median", times[n / 2] * 1e6, "us");
		note_value("fault_p99", times[n * 99 / 100] * 1e6, "us");
	}
	note_value("stores", event("zswpout") - stores, "pages");
	out = event("pswpout") - out;
	back = stat_of("written_back_pages") - back;
	/* not every refusal is counted by the base and by 6.12, and some that are none */
	note_value("refused", out - back, "pages");
	for (unsigned int i = 0; i < ARRAY_SIZE(rejects); i++)
		if (stat_of(rejects[i]) > rejected[i])
			note_value(rejects[i], stat_of(rejects[i]) - rejected[i], "times");
	note_value("written_back", back, "pages");
	note_value("written_to_disk", out * PAGE / MIB, "MiB");
	ktap_ok(wrong == 0, "%s, %s: every byte is right", argv[2], pattern);
	dm_good(argv[1]);
	set_free(&cold);
	set_free(&hot);
	if (swapoff(SWAP))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "%s, %s: nothing stays when swap is off", argv[2], pattern);
	return ktap_end();
}
