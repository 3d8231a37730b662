// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-stress: everything at once, and every page looked at
 *
 *	zswap-stress SECONDS DISK DISK [hotplug]
 *
 * Processes with more pages than fit in memory write, swap out, read, drop and
 * share them, while others fork and exit, make and remove cgroups with limits of
 * their own, change zswap's parameters, take a CPU and blocks of memory away and
 * give them back, and switch swap on either disk off and on. With "hotplug" as
 * its last argument tasks do nothing but swap a few pages, with a compressor that
 * takes its time, while a CPU comes and goes.
 * Prints KTAP and how often each of this was done.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "zswap.h"

#define WORKERS	3
#define BUSY	6
#define CGROUP	"/sys/fs/cgroup/"
#define CPU1	"/sys/devices/system/cpu/cpu1/online"
#define MEMORY	"/sys/devices/system/memory/"

enum done {
	CHECKED, FORKS, CGROUPS, DEAD_CGROUPS, PARAMETERS, SWAPOFFS, CPUS, BLOCKS, SAMPLES,
	N_DONE,
};

static const char * const done_names[N_DONE] = {
	"pages_checked", "forks", "cgroups", "cgroups_removed_with_pages", "parameters",
	"swapoffs", "cpus_offline", "blocks_offline", "samples",
};

/* What all processes see; locked in memory */
static struct shared {
	atomic_int stop;
	atomic_llong done[N_DONE];
	atomic_llong wrong, most_flying;
} *shared;

static const char *disks[2];
static int most_bound;

static int going(void)
{
	return !atomic_load(&shared->stop);
}

static void did(enum done what)
{
	atomic_fetch_add(&shared->done[what], 1);
}

static void check(const struct set *set, unsigned long first, unsigned long count)
{
	atomic_fetch_add(&shared->wrong, set_wrong(set, first, count));
	atomic_fetch_add(&shared->done[CHECKED], count);
}

/* ---- pages ---- */

/* One operation on a random part of @set */
static void work(struct set *set)
{
	unsigned long count = 1 + random() % 64, first = random() % (set->pages - count);

	switch (random() % 8) {
	case 0:
	case 1:
		set_write(set, first, count);
		break;
	case 2:
		set_write(set, first, count);
		/* fall through */
	case 3:
		page_out(set, first, count);
		break;
	case 4:
		set_drop(set, first, count);
		break;
	default:
		check(set, first, count);
	}
}

static int worker(int n, unsigned long pages)
{
	struct set set = set_new(pages, n + 1, n == 1 ? 3900 : 600 * (n + 1));

	/* from now on memory is short */
	for (unsigned long i = 0; i + 64 < set.pages && going(); i += 64)
		set_write(&set, i, 64);
	while (going()) {
		for (int i = 0; i < 50 && going(); i++)
			work(&set);
		if (random() % 4 == 0) {
			/* a child has the same pages, changes its own, and goes */
			pid_t pid = fork();

			if (!pid) {
				srandom(getpid());
				for (int i = 0; i < 10; i++)
					work(&set);
				_exit(0);
			}
			/* it dies before it is done, now and then */
			if (pid > 0 && random() % 4 == 0) {
				nap_ms(random() % 20);
				kill(pid, SIGKILL);
			}
			if (pid > 0) {
				waitpid(pid, NULL, 0);
				did(FORKS);
			}
		}
	}
	check(&set, 0, set.pages);
	return 0;
}

/* Compresses and decompresses all the time, and so does so when its CPU goes away */
static int busy(int n, unsigned long pages)
{
	struct set set = set_new(pages, n + 1, 2000);

	while (going()) {
		set_write(&set, 0, set.pages);
		page_out(&set, 0, set.pages);
		check(&set, 0, set.pages);
	}
	return 0;
}

/* Many that come and go at once */
static int forker(int n, unsigned long pages)
{
	struct set set = set_new(pages, n + 1, 800);

	set_write(&set, 0, set.pages);
	page_out(&set, 0, set.pages);
	while (going()) {
		pid_t pids[8];

		for (int i = 0; i < 8; i++) {
			pids[i] = fork();
			if (!pids[i]) {
				unsigned long first = random() % (set.pages - 16);

				set_write(&set, first + i, 8);
				check(&set, first, 16);
				_exit(0);
			}
		}
		for (int i = 0; i < 8; i++) {
			if (pids[i] > 0)
				waitpid(pids[i], NULL, 0);
			did(FORKS);
		}
		nap_ms(50);
	}
	check(&set, 0, set.pages);
	return 0;
}

/* ---- cgroups ---- */

static void cg_put(const char *group, const char *file, const char *text)
{
	char path[200];

	snprintf(path, sizeof(path), CGROUP "%s/%s", group, file);
	put(path, text);
}

static int cgroups(int n, unsigned long pages)
{
	static const char * const limits[] = { "0", "262144", "2097152", "max" };

	for (int i = 0; going(); i++) {
		char group[32], path[64];
		pid_t pid;
		int wait_ms;

		snprintf(group, sizeof(group), "s%d", i);
		snprintf(path, sizeof(path), CGROUP "%s", group);
		if (mkdir(path, 0700))
			break;
		cg_put(group, "memory.max", random() % 2 ? "6M" : "max");
		cg_put(group, "memory.zswap.max", limits[random() % 4]);
		cg_put(group, "memory.zswap.writeback", random() % 3 ? "1" : "0");
		pid = fork();
		if (!pid) {
			struct set set = set_new(pages, n + 1, 1000);

			srandom(getpid());
			cg_put(group, "cgroup.procs", "0");
			for (int k = 0; k < 60; k++)
				work(&set);
			/* out of the group, which may then go while pages are in it */
			if (random() % 2)
				put(CGROUP "cgroup.procs", "0");
			for (int k = 0; k < 60; k++)
				work(&set);
			check(&set, 0, set.pages);
			_exit(0);
		}
		wait_ms = random() % 200;
		nap_ms(wait_ms);
		cg_put(group, "memory.zswap.max", limits[random() % 4]);
		cg_put(group, "memory.zswap.writeback", random() % 2 ? "1" : "0");
		if (!rmdir(path))
			did(DEAD_CGROUPS);
		/* the limit and no way out: it may be killed for memory */
		if (pid > 0)
			waitpid(pid, NULL, 0);
		rmdir(path);
		did(CGROUPS);
	}
	return 0;
}

/* ---- knobs ---- */

static int parameters(int n, unsigned long pages)
{
	static const struct {
		const char *name, *values[6];
	} params[] = {
		{ "zpool", { "zsmalloc", "zbud", "z3fold", "zsmalloc" } },
		{ "compressor", { "lzo", "lz4", "zstd", "lzo" } },
		{ "max_pool_percent", { "1", "3", "8", "15" } },
		{ "enabled", { "1", "1", "1", "0" } },
		{ "max_writebacks", { "1", "4", "16", "32" } },
		{ "shrinker_enabled", { "0", "1", "1", "0" } },
		{ "same_filled_pages_enabled", { "0", "1", "1", "1" } },
		{ "non_same_filled_pages_enabled", { "0", "1", "1", "1" } },
		/* no such things: errors, and nothing changes */
		{ "compressor", { "nosuch", "nosuch", "nosuch", "nosuch" } },
		{ "zpool", { "nosuch", "nosuch", "nosuch", "nosuch" } },
	};

	(void)n;
	(void)pages;
	while (going()) {
		unsigned int i = random() % (sizeof(params) / sizeof(*params));

		param(params[i].name, params[i].values[random() % 4]);
		did(PARAMETERS);
		nap_ms(random() % 100);
	}
	return 0;
}

/* @pages: how long a CPU stays away or there, in milliseconds, at most */
static int cpus(int n, unsigned long pages)
{
	(void)n;
	while (going()) {
		if (!put(CPU1, "0"))
			did(CPUS);
		nap_ms(random() % pages);
		put(CPU1, "1");
		nap_ms(random() % pages);
	}
	put(CPU1, "1");
	return 0;
}

static int blocks(int n, unsigned long pages)
{
	char file[64];

	(void)n;
	(void)pages;
	while (going()) {
		for (int block = 1; block < 4 && going(); block++) {
			snprintf(file, sizeof(file), MEMORY "memory%d/state", block);
			if (put(file, "offline"))
				continue;
			did(BLOCKS);
			nap_ms(random() % 200);
			put(file, "online_movable");
		}
		nap_ms(300);
	}
	return 0;
}

static int swaps(int n, unsigned long pages)
{
	(void)n;
	(void)pages;
	while (going()) {
		const char *disk = disks[random() % 2];

		if (!swapoff(disk)) {
			did(SWAPOFFS);
			nap_ms(random() % 100);
			if (swapon(disk, 0))
				return 1;
		}
		nap_ms(random() % 1000);
	}
	return 0;
}

static int sampler(int n, unsigned long pages)
{
	(void)n;
	(void)pages;
	while (going()) {
		long long flying = stat_of("outstanding_writebacks");

		if (flying > atomic_load(&shared->most_flying))
			atomic_store(&shared->most_flying, flying);
		did(SAMPLES);
		nap_ms(1);
	}
	return 0;
}

/* ---- all of them ---- */

static pid_t start(int (*fn)(int, unsigned long), int n, unsigned long pages)
{
	pid_t pid = fork();

	if (pid < 0)
		ktap_bail("fork");
	if (!pid) {
		put("/proc/self/oom_score_adj", fn == worker ? "100" : "-1000");
		srandom(100 + n);
		_exit(fn(n, pages));
	}
	return pid;
}

int main(int argc, char **argv)
{
	pid_t pids[BUSY + 8];
	unsigned long room;
	int n = 0, hotplug = argc == 5 && !strcmp(argv[4], "hotplug");
	int status, killed = 0, failed = 0;
	static const char * const reset[][2] = {
		{ "zpool", "zsmalloc" }, { "compressor", "lzo" }, { "max_pool_percent", "20" },
		{ "same_filled_pages_enabled", "1" }, { "non_same_filled_pages_enabled", "1" },
	};

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		puts("usage: zswap-stress SECONDS DISK DISK [hotplug]");
		return 0;
	}
	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: zswap-stress SECONDS DISK DISK [hotplug]\n");
		return 2;
	}
	ktap_plan(7);
	disks[0] = argv[2];
	disks[1] = argv[3];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED || mlock(shared, sizeof(*shared)))
		ktap_bail("memory");
	put("/proc/self/oom_score_adj", "-1000");
	put(CGROUP "cgroup.subtree_control", "+memory");
	most_bound = param_value("max_writebacks");
	if (most_bound < 32)
		most_bound = 32;
	zswap_set_up("zsmalloc", hotplug ? "zstd" : "lzo", 8);
	swap_on(disks[0]);
	swap_on(disks[1]);

	room = free_pages();
	ktap_note("%lu pages are free", room);
	for (int i = 0; hotplug && i < BUSY; i++)
		pids[n++] = start(busy, i, 200);
	for (int i = 0; !hotplug && i < WORKERS; i++)
		pids[n++] = start(worker, i, room * 5 / 10);
	pids[n++] = start(cpus, 10, hotplug ? 40 : 200);
	pids[n++] = start(sampler, 11, 0);
	if (!hotplug) {
		pids[n++] = start(forker, 12, room / 20);
		pids[n++] = start(cgroups, 13, room / 15);
		pids[n++] = start(parameters, 14, 0);
		pids[n++] = start(swaps, 15, 0);
		pids[n++] = start(blocks, 16, 0);
	}
	nap_ms(1000L * atoi(argv[1]));
	atomic_store(&shared->stop, 1);
	for (int i = 0; i < n; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || WIFSIGNALED(status))
			killed++;
		else if (status)
			failed++;
	}
	for (int i = 0; i < N_DONE; i++)
		note_value(done_names[i], atomic_load(&shared->done[i]), "times");
	ktap_note("%lld written back, %lld inversions, %lld in flight, limit hit %lld times",
		  stat_of("written_back_pages"), stat_of("age_inversions"),
		  (long long)shared->most_flying, stat_of("pool_limit_hit"));
	ktap_ok(shared->wrong == 0, "every byte is right: %lld wrong", (long long)shared->wrong);
	ktap_ok(!killed && !failed, "nobody was killed, nobody gave up");
	ktap_ok(shared->done[CHECKED] > 1000 && (hotplug || shared->done[FORKS] > 0) &&
		shared->done[CPUS] > 0, "it was done");
	ktap_ok(hotplug || (shared->done[CGROUPS] > 0 && shared->done[PARAMETERS] > 0 &&
			    shared->done[SWAPOFFS] > 0), "and everything else was");
	ktap_ok(hotplug || stat_of("written_back_pages") > 0, "pages were written back");
	ktap_ok(shared->most_flying <= most_bound, "never more than %d in flight", most_bound);
	for (unsigned int i = 0; i < sizeof(reset) / sizeof(*reset); i++)
		must_param(reset[i][0], reset[i][1]);
	if (swapoff(disks[0]) || swapoff(disks[1]))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "nothing stays when swap is off");
	return ktap_end();
}
