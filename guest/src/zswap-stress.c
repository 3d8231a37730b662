// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-stress: everything at once, and every page looked at
 *
 *	zswap-stress SECONDS DISK DISK [hotplug|blocks]
 *
 * Processes with more pages than fit in memory write, swap out, read, drop and
 * share them, while others fork and exit, make and remove cgroups with limits of
 * their own, change zswap's parameters, take a CPU and blocks of memory away and
 * give them back, and switch swap on either disk off and on. With "hotplug" as
 * its last argument tasks do nothing but swap a few pages, with a compressor that
 * takes its time, while a CPU comes and goes. With "blocks" there must be a block of
 * memory that can go offline, which leaves too little for the pages when it does:
 * movablecore= on the kernel's command line has to make a whole block movable that
 * is not the last one, as that has what the kernel allocates at boot.
 * Prints KTAP and how often each of this was done.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "zswap.h"

#define WORKERS	3
#define BUSY	6
#define BLOCKS_MAX	16
#define OFFLINE_TIME	20	/* seconds; the kernel itself tries for ever */
#define CPU1	"/sys/devices/system/cpu/cpu1/online"
#define MEMORY	"/sys/devices/system/memory/"

enum done {
	CHECKED, FORKS, CGROUPS, DEAD_CGROUPS, PARAMETERS, SWAPOFFS, CPUS, BLOCKS,
	BLOCKS_BACK, BLOCKS_KEPT, SAMPLES, SHORT, DIED,
	N_DONE,
};

static const char * const done_names[N_DONE] = {
	"pages_checked", "forks", "cgroups", "cgroups_removed_with_pages", "parameters",
	"swapoffs", "cpus_offline", "blocks_offline", "blocks_online_again", "blocks_kept",
	"samples", "killed_for_memory", "died",
};

/* What all processes see; locked in memory */
static struct shared {
	atomic_int stop;
	atomic_int left;	/* the task of the newest cgroup is in another one now */
	atomic_int full;	/* workers that have written all of their pages once */
	atomic_llong done[N_DONE];
	atomic_llong wrong, most_flying;
} *shared;

static const char *disks[2];
static int most_bound;

/* Blocks of memory that may be able to go offline */
static int movable[BLOCKS_MAX], n_movable;

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

/*
 * What has become of a child. It may have been killed, by us if @sent, or to have its
 * memory, which the kernel counts. Of anything else it must not die: a page that is lost
 * is SIGBUS or SIGSEGV.
 */
static void ended(int status, int sent)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		if (!sent)
			did(SHORT);
		return;
	}
	ktap_note("the status of a child is %x", status);
	did(DIED);
}

static void wait_for(pid_t pid, int sent)
{
	int status;

	if (waitpid(pid, &status, 0) == pid)
		ended(status, sent);
	else
		did(DIED);
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
	atomic_fetch_add(&shared->full, 1);
	while (going()) {
		for (int i = 0; i < 50 && going(); i++)
			work(&set);
		if (random() % 4 == 0) {
			/* a child has the same pages, changes its own, and goes */
			pid_t pid = fork();
			int sent = 0;

			if (!pid) {
				srandom(getpid());
				for (int i = 0; i < 10; i++)
					work(&set);
				_exit(0);
			}
			/* it dies before it is done, now and then */
			if (pid > 0 && random() % 4 == 0) {
				nap_ms(random() % 20);
				sent = !kill(pid, SIGKILL);
			}
			if (pid > 0) {
				wait_for(pid, sent);
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
			if (pids[i] < 0)
				continue;
			wait_for(pids[i], 0);
			did(FORKS);
		}
		nap_ms(50);
	}
	check(&set, 0, set.pages);
	return 0;
}

/* ---- cgroups ---- */

/* In the group until it has some in zswap, and then no more: they stay behind */
static void leave_pages(struct set *set, const char *group)
{
	while (going() && cg_number(group, "memory.zswap.current") <= 0) {
		set_write(set, 0, set->pages);
		page_out(set, 0, set->pages);
	}
	put(CGROUP "cgroup.procs", "0");
	atomic_store(&shared->left, 1);
}

/*
 * Removes a group that its task has left, and counts it if pages were in zswap. Returns
 * whether the task is still there.
 */
static int remove_left(const char *group, pid_t pid)
{
	int pages, status, there = 1;
	char path[64];

	while (!atomic_load(&shared->left) && there) {
		there = waitpid(pid, &status, WNOHANG) != pid;
		if (!there)
			ended(status, 0);
		nap_ms(2);
	}
	pages = cg_number(group, "memory.zswap.current") > 0;
	snprintf(path, sizeof(path), CGROUP "%s", group);
	if (!rmdir(path) && pages)
		did(DEAD_CGROUPS);
	return there;
}

static int cgroups(int n, unsigned long pages)
{
	static const char * const limits[] = { "0", "262144", "2097152", "max" };

	for (int i = 0; going(); i++) {
		/* every other one is certain to be removed with pages in zswap */
		int leaves = i % 2 == 0;
		char group[32], path[64];
		int wait_ms, there = 1;
		pid_t pid;

		snprintf(group, sizeof(group), "s%d", i);
		snprintf(path, sizeof(path), CGROUP "%s", group);
		if (mkdir(path, 0700))
			break;
		cg_put(group, "memory.max", random() % 2 ? "6M" : "max");
		cg_put(group, "memory.zswap.max", leaves ? "max" : limits[random() % 4]);
		cg_put(group, "memory.zswap.writeback", leaves || random() % 3 ? "1" : "0");
		atomic_store(&shared->left, 0);
		pid = fork();
		if (!pid) {
			struct set set = set_new(pages, n + 1, 1000);

			srandom(getpid());
			put("/proc/self/oom_score_adj", "100");
			cg_put(group, "cgroup.procs", "0");
			if (leaves)
				leave_pages(&set, group);
			for (int k = 0; k < 60 && going(); k++)
				work(&set);
			/* out of the group, which may then go while pages are in it */
			if (random() % 2)
				put(CGROUP "cgroup.procs", "0");
			for (int k = 0; k < 60 && going(); k++)
				work(&set);
			check(&set, 0, set.pages);
			_exit(0);
		}
		wait_ms = random() % 200;
		nap_ms(wait_ms);
		if (leaves && pid > 0) {
			there = remove_left(group, pid);
		} else {
			cg_put(group, "memory.zswap.max", limits[random() % 4]);
			cg_put(group, "memory.zswap.writeback", random() % 2 ? "1" : "0");
			rmdir(path);
		}
		/* the limit and no way out: it may be killed for memory */
		if (pid > 0 && there)
			wait_for(pid, 0);
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
		{ "accept_threshold_percent", { "20", "60", "90", "100" } },
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

/* A block that is of more than one zone, or not of the movable one, has what must stay */
static void find_blocks(void)
{
	struct dirent *entry;
	DIR *dir = opendir(MEMORY);

	while (dir && (entry = readdir(dir)) && n_movable < BLOCKS_MAX) {
		char file[300], zone[32] = "";
		FILE *f;

		if (sscanf(entry->d_name, "memory%d", &movable[n_movable]) != 1)
			continue;
		snprintf(file, sizeof(file), MEMORY "%s/valid_zones", entry->d_name);
		f = fopen(file, "re");
		if (f && fgets(zone, sizeof(zone), f) && !strcmp(zone, "Movable\n"))
			n_movable++;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
}

static void on_alarm(int unused)
{
	(void)unused;
}

static int blocks(int n, unsigned long pages)
{
	/* no SA_RESTART: an alarm ends what takes too long */
	struct sigaction action = { .sa_handler = on_alarm };
	char file[64];

	(void)n;
	(void)pages;
	sigaction(SIGALRM, &action, NULL);
	/* what is empty moves nothing */
	while (going() && (atomic_load(&shared->full) < WORKERS || stat_of("stored_pages") <= 0))
		nap_ms(20);
	while (going()) {
		for (int i = 0; i < n_movable && going(); i++) {
			int kept;

			snprintf(file, sizeof(file), MEMORY "memory%d/state", movable[i]);
			alarm(OFFLINE_TIME * factor());
			kept = put(file, "offline");
			alarm(0);
			if (kept) {
				did(BLOCKS_KEPT);
				continue;
			}
			did(BLOCKS);
			nap_ms(random() % 200);
			if (!put(file, "online_movable"))
				did(BLOCKS_BACK);
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

/* Nothing here lets a device, or a compressor, fail */
static int none_failed(void)
{
	static const char * const stats[] = {
		"duplicate_entry", "decompress_fail", "writeback_errors",
	};
	int none = 1;

	for (unsigned int i = 0; i < sizeof(stats) / sizeof(*stats); i++) {
		if (stat_of(stats[i]) <= 0)
			continue;
		ktap_note("%s is %lld", stats[i], stat_of(stats[i]));
		none = 0;
	}
	return none;
}

/* Has everything that the test wants been done as often as it wants it? */
static int all_done(int hotplug)
{
	/* what the small kernel comes to in some 40 seconds where QEMU emulates the CPUs */
	static const struct {
		enum done what;
		long long times;
	} wanted[] = {
		{ FORKS, 40 }, { CGROUPS, 3 }, { DEAD_CGROUPS, 2 }, { PARAMETERS, 100 },
		{ SWAPOFFS, 6 },
	};

	if (atomic_load(&shared->done[CHECKED]) <= 1000 || !atomic_load(&shared->done[CPUS]))
		return 0;
	for (unsigned int i = 0; !hotplug && i < sizeof(wanted) / sizeof(*wanted); i++)
		if (atomic_load(&shared->done[wanted[i].what]) < wanted[i].times)
			return 0;
	return hotplug || !n_movable || atomic_load(&shared->done[BLOCKS]);
}

int main(int argc, char **argv)
{
	pid_t pids[BUSY + 8];
	unsigned long room;
	double began;
	int n = 0, hotplug = argc == 5 && !strcmp(argv[4], "hotplug");
	int need_blocks = argc == 5 && !strcmp(argv[4], "blocks");
	int status, killed = 0, failed = 0;
	long long short_of;
	static const char * const reset[][2] = {
		{ "zpool", "zsmalloc" }, { "compressor", "lzo" }, { "max_pool_percent", "20" },
		{ "accept_threshold_percent", "90" },
		{ "same_filled_pages_enabled", "1" }, { "non_same_filled_pages_enabled", "1" },
	};

	ktap_usage(argc, argv, argc == 4 || (argc == 5 && (hotplug || need_blocks)),
		   "zswap-stress SECONDS DISK DISK [hotplug|blocks]");
	ktap_plan(hotplug ? 9 : 11);
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

	if (!hotplug)
		find_blocks();
	room = free_pages();
	short_of = event("oom_kill");
	ktap_note("%lu pages are free; %d blocks may go offline", room, n_movable);
	for (int i = 0; hotplug && i < BUSY; i++)
		pids[n++] = start(busy, i, 200);
	/* with a block that goes memory is short when it is gone: it could not go else */
	for (int i = 0; !hotplug && i < WORKERS; i++)
		pids[n++] = start(worker, i, room * (need_blocks ? 2 : 4) / 10);
	pids[n++] = start(cpus, 10, hotplug ? 40 : 200);
	pids[n++] = start(sampler, 11, 0);
	if (!hotplug) {
		pids[n++] = start(forker, 12, room / 20);
		pids[n++] = start(cgroups, 13, room / 15);
		pids[n++] = start(parameters, 14, 0);
		pids[n++] = start(swaps, 15, 0);
		pids[n++] = start(blocks, 16, 0);
	}
	began = now();
	nap_ms(1000L * atoi(argv[1]));
	/* what a slow machine, or kernel, has not come to gets as much time again, twice */
	for (int i = 0; i < 20 * atoi(argv[1]) * factor() && !all_done(hotplug); i++)
		nap_ms(100);
	ktap_note("%s after %.1f s", all_done(hotplug) ? "enough of all" : "not enough",
		  now() - began);
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
	short_of = event("oom_kill") - short_of;
	ktap_ok(!shared->done[DIED] && shared->done[SHORT] <= short_of,
		"no child has died but who was killed, %lld for memory of %lld",
		(long long)shared->done[SHORT], short_of);
	ktap_ok(shared->done[CHECKED] > 1000 && (hotplug || shared->done[FORKS] > 0) &&
		shared->done[CPUS] > 0, "it was done");
	ktap_ok(hotplug || (shared->done[CGROUPS] > 0 && shared->done[PARAMETERS] > 0 &&
			    shared->done[SWAPOFFS] > 0), "and everything else was");
	if (!hotplug) {
		ktap_ok(shared->done[DEAD_CGROUPS] > 0, "cgroups were removed with pages in zswap");
		ktap_ok((n_movable || !need_blocks) && (!n_movable || shared->done[BLOCKS] > 0) &&
			shared->done[BLOCKS] == shared->done[BLOCKS_BACK],
			"%lld blocks of memory went offline, %lld came back, of %d",
			(long long)shared->done[BLOCKS], (long long)shared->done[BLOCKS_BACK],
			n_movable);
	}
	ktap_ok(hotplug || stat_of("written_back_pages") > 0, "pages were written back");
	ktap_ok(shared->most_flying <= most_bound, "never more than %d in flight", most_bound);
	ktap_ok(none_failed(), "no page was there twice, or could not be decompressed or written");
	for (unsigned int i = 0; i < sizeof(reset) / sizeof(*reset); i++)
		must_param(reset[i][0], reset[i][1]);
	if (swapoff(disks[0]) || swapoff(disks[1]))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "nothing stays when swap is off");
	return ktap_end();
}
