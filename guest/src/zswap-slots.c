// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-slots: swap slots that writeback wants, and somebody else has
 *
 *	zswap-slots claimed DISK	the task that makes room has claimed the slot
 *	zswap-slots reused DEVICE	the slot has changed hands when writeback gets it
 *
 * A fault claims the slot of its page before it charges it. At a cgroup's limit the
 * charge reclaims, a store finds zswap full, and the coldest page there is the very
 * one that is being read: it has to be skipped, and the next ones written. Done on
 * DISK, that takes its time for writes, and on a RAM disk, which bypasses the swap
 * cache; where the cgroup's share of zswap is full, and where all of it is.
 *
 * Writeback picks a page before it claims its slot. If the slot is freed, and has
 * another page, in between, that one must not get the old contents. All is done on
 * one CPU, by a task that only runs when the other one sleeps: what that one does
 * when it wakes comes in between whatever the idle task is about to do.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "zswap.h"

#define HARD	1200
#define GROUP	"claimed"
#define RAM	"/dev/ram0"
#define SWAP	"/dev/dm-0"

static const char *disk;

/* Pages' ages are known for each node, and tasks preempt each other on one CPU alone */
static void stay_here(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		ktap_bail("sched_setaffinity");
}

/* ---- slots that the same task has claimed ---- */

#define ROUNDS	4
#define FAULTS	384	/* enough to use up what the cgroup may still have */
#define REST	256	/* pages that stay in memory, until there is no room for them */
#define CROWD	2

static void put_bytes(const char *file, long long bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", bytes);
	cg_must_put(GROUP, file, text);
}

/*
 * Reads pages of @old, which are the coldest of zswap, in the order in which they were
 * stored, until a fault has had others written back. Returns whether one has: its own
 * page came from zswap, and so writeback has met it there first.
 */
static int meet_claim(const struct set *old)
{
	long long back, in;

	for (unsigned long i = 0; i < FAULTS && i < old->pages; i++) {
		back = stat_of("written_back_pages");
		in = event("zswpin");
		(void)*(volatile unsigned char *)(old->at + i * PAGE);
		if (stat_of("written_back_pages") > back && event("zswpin") > in)
			return 1;
	}
	return 0;
}

/* Has the group at its limit, zswap full, and @old in it */
static void fill_group(struct set *old, struct set *rest, int whole)
{
	must_param("max_pool_percent", "20");
	cg_must_put(GROUP, "memory.max", "max");
	cg_must_put(GROUP, "memory.zswap.max", "max");
	cg_must_put(GROUP, "cgroup.procs", "0");
	set_write(old, 0, old->pages);
	set_write(rest, 0, rest->pages);
	page_out(old, 0, old->pages);
	/* what we read stays charged to the group, and what we need for it is not */
	must_put(CGROUP "cgroup.procs", "0");
	/* less than there is takes away what each CPU has in stock, too */
	put_bytes("memory.max", cg_number(GROUP, "memory.current") - 16 * PAGE);
	if (whole)
		must_param("max_pool_percent", "1");
	else
		put_bytes("memory.zswap.max", cg_number(GROUP, "memory.zswap.current") / 2);
}

static int crowd_one(int n)
{
	struct set set = set_new(1200, 10 + n, HARD);
	unsigned long wrong = 0;
	cpu_set_t cpus;

	memset(&cpus, 0xff, sizeof(cpus));
	if (sched_setaffinity(0, sizeof(cpus), &cpus) || cg_put(GROUP, "cgroup.procs", "0"))
		return 2;
	srandom(n);
	set_write(&set, 0, set.pages);
	for (int i = 0; i < 120; i++) {
		unsigned long count = 1 + random() % 32, first = random() % (set.pages - count);

		if (i % 3 == 0)
			set_write(&set, first, count);
		else if (i % 7 == 0)
			page_out(&set, first, count);
		else
			wrong += set_wrong(&set, first, count);
	}
	return wrong + set_wrong(&set, 0, set.pages) != 0;
}

/* Several at a time, each at the limit of all, and anywhere in their pages */
static int crowd(void)
{
	pid_t pids[CROWD];
	int status, right = 1;

	must_param("max_pool_percent", "1");
	cg_must_put(GROUP, "memory.max", "6M");
	put_bytes("memory.zswap.max", 512 << 10);
	for (int i = 0; i < CROWD; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			ktap_bail("fork");
		if (!pids[i])
			_exit(crowd_one(i));
	}
	for (int i = 0; i < CROWD; i++) {
		if (waitpid(pids[i], &status, 0) == pids[i] && !status)
			continue;
		ktap_note("task %d: status %x", i, status);
		right = 0;
	}
	return right;
}

/* @waits: a write takes its time, and so a store may be refused as none has ended */
static void claim_on(const char *device, int waits)
{
	static const char * const limits[] = { "the cgroup's share", "all" };
	const char *name = waits ? "disk" : "RAM disk";

	swap_on(device);
	for (int whole = 0; whole < 2; whole++) {
		/* in a pool that takes the double of its limit-to-be */
		unsigned long pages = total_pages() * PAGE / 100 * 22 / 10 / (HARD + 100);
		struct set old = set_new(whole ? pages : FAULTS, 1, HARD);
		struct set rest = set_new(REST, 2, HARD);
		long long refused = 0, before;
		unsigned long wrong = 0;
		double began = now();
		int met = 0;

		for (int round = 0; round < ROUNDS; round++) {
			fill_group(&old, &rest, whole);
			before = refusals();
			met += meet_claim(&old);
			refused += refusals() - before;
			wrong += set_wrong(&old, 0, old.pages);
			wrong += set_wrong(&rest, 0, rest.pages);
		}
		ktap_note("%s: met in %d of %d rounds, %lld refused, %.1f s", name, met, ROUNDS,
			  refused, now() - began);
		ktap_ok(met > 0, "%s: %s of zswap is full, the coldest page is read, others go",
			name, limits[whole]);
		if (!waits)
			ktap_ok(refused == 0, "%s: no store is refused for that", name);
		ktap_ok(wrong == 0, "%s: every byte is right", name);
		set_free(&old);
		set_free(&rest);
	}
	ktap_ok(crowd(), "%s: and with several tasks at the limit", name);
	if (waits)
		dm_good(disk);
	if (swapoff(device))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "%s: nothing stays when swap is off", name);
}

static int run_claimed(void)
{
	ktap_plan(14);
	stay_here();
	must_put(CGROUP "cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP GROUP, 0700))
		ktap_bail("mkdir " CGROUP GROUP);
	zswap_set_up("zsmalloc", "lzo", 20);
	dm_new();
	dm_slow(disk, 8);
	claim_on(SWAP, 1);
	dm_remove();
	claim_on(RAM, 0);
	if (rmdir(CGROUP GROUP))
		ktap_bail("rmdir " CGROUP GROUP);
	return ktap_end();
}

/* ---- slots that change hands ---- */

#define CYCLES	200
#define COLD	64	/* pages; with little more swap than that each slot is used again */
#define SPARE	16

static void nap_us(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

/* Has the shrinker write back whatever there is, as long as nobody else wants to run */
static pid_t start_idle(void)
{
	struct sched_param sched = { .sched_priority = 0 };
	pid_t pid = fork();
	int fd;

	if (pid < 0)
		ktap_bail("fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || sched_setscheduler(0, SCHED_IDLE, &sched))
		_exit(1);
	while (pwrite(fd, "2\n", 2, 0) == 2)
		;
	_exit(1);
}

static int run_reused(void)
{
	int status, met = 0, limit_us = 3000;
	unsigned long wrong = 0;
	long long back, left;
	struct set set;
	pid_t idle;

	ktap_plan(4);
	stay_here();
	/* no message each time */
	must_put("/proc/sys/vm/drop_caches", "4");
	zswap_set_up("zsmalloc", "lzo", 20);
	must_param("shrinker_enabled", "1");
	swap_on_part(disk, (1 + COLD + SPARE) * PAGE / 1024);
	/* of what does not compress, as then there is little else to do for a page */
	set = set_new(COLD, 1, PAGE);
	srandom(1);
	prctl(PR_SET_TIMERSLACK, 1);
	idle = start_idle();
	back = stat_of("written_back_pages");
	for (int i = 0; i < CYCLES; i++) {
		set_write(&set, 0, set.pages);
		page_out(&set, 0, set.pages);
		nap_us(10 + random() % limit_us);
		/* in the middle of what there is to write, however fast this machine is */
		left = stat_of("stored_pages");
		met += left > 0 && left < COLD;
		if (!left && limit_us > 10)
			limit_us -= limit_us / 4;
		else if (left > COLD / 2 && limit_us < 10000)
			limit_us += limit_us / 4 + 1;
		/* what is picked now, and not claimed, is not there any more */
		set_drop(&set, 0, set.pages);
		/* nor is what was there before, not even in another page */
		for (int p = 0; p < COLD; p++)
			set.times[p] = 2 * i + 1;
		set_write(&set, 0, set.pages);
		page_out(&set, 0, set.pages);
		nap_us(3000);
		wrong += set_wrong(&set, 0, set.pages);
	}
	back = stat_of("written_back_pages") - back;
	ktap_note("%lld pages written back, up to %d us at a time", back, limit_us);
	ktap_ok(met > 0, "pages are being written back when all are freed: %d of %d times", met,
		CYCLES);
	kill(idle, SIGKILL);
	waitpid(idle, &status, 0);
	ktap_ok(WIFSIGNALED(status), "whoever writes them back was there until the end");
	ktap_ok(wrong == 0, "every byte is right: %lu pages wrong", wrong);
	must_param("shrinker_enabled", "0");
	set_free(&set);
	ktap_swap_off(disk);
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "claimed", run_claimed },
		{ "reused", run_reused },
		{ NULL, NULL },
	};

	return run_job(argc, argv, jobs, &disk);
}
