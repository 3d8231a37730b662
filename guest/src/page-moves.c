// SPDX-License-Identifier: GPL-2.0
/*
 * page-moves: a process's pages move between nodes, and keep what is in them
 *
 *	page-moves
 *
 * Small pages, huge ones, those that KSM has merged, locked ones, those of a file
 * and those in zram, by move_pages(), mbind(), migrate_pages(), NUMA balancing,
 * compaction, and a pin for long. After each a page must be on the node where it
 * was to go, in another frame than before, with each of its bytes; in the end
 * nothing is isolated. Needs two nodes with a processor each, and ZONE_MOVABLE.
 * Prints KTAP.
 */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/klog.h>
#include <sys/syscall.h>

#include "pages.h"
#include "zram.h"

#define HUGE		(2UL << 20)
#define KSM		"/sys/kernel/mm/ksm/"

/* of mm/gup_test.h */
struct gup_test {
	__u64 get_delta_usec, put_delta_usec, addr, size;
	__u32 nr_pages_per_call, gup_flags, test_flags, which_pages[8];
};

#define PIN_LONGTERM_BENCHMARK	_IOWR('g', 3, struct gup_test)
#define FOLL_WRITE		1

struct kind {
	const char *name;
	void (*set_up)(struct kind *kind);
	unsigned long pages;
	unsigned long step;	/* pages that move as one */
	struct set set;
	unsigned long *frames;	/* where they were */
};

/* ---- where pages are ---- */

static unsigned long in_memory(const struct set *set)
{
	unsigned long *frames = calloc(set->pages, sizeof(*frames)), n = 0;

	read_frames(set->at, set->pages, frames);
	for (unsigned long i = 0; i < set->pages; i++)
		n += frames[i] != 0;
	free(frames);
	return n;
}

/* The nodes of pages, or with TO their moves there; 0 or -1 */
static long move_pages(const struct set *set, unsigned long step, int *status, int to)
{
	unsigned long n = 0;
	void **at = calloc(set->pages, sizeof(*at));
	int *nodes = calloc(set->pages, sizeof(*nodes));
	long ret;

	for (unsigned long i = 0; i < set->pages; i += step) {
		at[n] = set->at + i * PAGE;
		nodes[n++] = to;
	}
	ret = syscall(SYS_move_pages, 0, n, at, to < 0 ? NULL : nodes, status, MPOL_MF_MOVE_ALL);
	free(at);
	free(nodes);
	return ret;
}

static int node_of(const struct set *set, unsigned long page)
{
	struct set one = { .at = set->at + page * PAGE, .pages = 1 };
	int node;

	if (move_pages(&one, 1, &node, -1) || node < 0)
		ktap_bail("the node of a page");
	return node;
}

static unsigned long pages_on(const struct set *set, int node)
{
	int *status = calloc(set->pages, sizeof(*status));
	unsigned long n = 0;

	if (move_pages(set, 1, status, -1))
		ktap_bail("the nodes of pages");
	for (unsigned long i = 0; i < set->pages; i++)
		n += status[i] == node;
	free(status);
	return n;
}

/* ---- the kinds ---- */

static void map(struct kind *kind, size_t align, int flags, int fd)
{
	unsigned long bytes = kind->pages * PAGE;
	char *at = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, flags, fd, 0);

	kind->set = (struct set){ .pages = kind->pages, .hard = 1200,
				  .seed = kind->pages + kind->name[0] };
	kind->set.times = calloc(kind->pages, sizeof(*kind->set.times));
	kind->frames = calloc(kind->pages, sizeof(*kind->frames));
	if (at == MAP_FAILED || !kind->set.times || !kind->frames)
		ktap_bail("%s: memory", kind->name);
	if (align)
		at = (char *)(((unsigned long)at + align - 1) & -align);
	kind->set.at = (unsigned char *)at;
}

static void set_up_small(struct kind *kind)
{
	map(kind, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	madvise(kind->set.at, kind->pages * PAGE, MADV_NOHUGEPAGE);
	set_write(&kind->set, 0, kind->pages);
}

static void set_up_huge(struct kind *kind)
{
	long long before = event("thp_fault_alloc");

	must_put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	must_put("/sys/kernel/mm/transparent_hugepage/defrag", "madvise");
	map(kind, HUGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (madvise(kind->set.at, kind->pages * PAGE, MADV_HUGEPAGE))
		ktap_bail("MADV_HUGEPAGE");
	set_write(&kind->set, 0, kind->pages);
	if (event("thp_fault_alloc") < before + (long long)(kind->pages * PAGE / HUGE))
		ktap_bail("no huge pages");
}

/* Many pages, of eight contents */
static void set_up_merged(struct kind *kind)
{
	set_up_small(kind);
	for (unsigned long i = 0; i < kind->pages; i++)
		make_page(kind->set.at + i * PAGE, i % 8, 256);
	if (madvise(kind->set.at, kind->pages * PAGE, MADV_MERGEABLE))
		ktap_bail("MADV_MERGEABLE");
	must_put(KSM "pages_to_scan", "2000");
	must_put(KSM "sleep_millisecs", "20");
	must_put(KSM "run", "1");
	for (int i = 0; i < 600 * factor(); i++) {
		if (number(KSM "pages_sharing") == (long long)kind->pages - 8)
			break;
		nap_ms(100);
	}
	/* they stay merged */
	must_put(KSM "run", "0");
	if (number(KSM "pages_sharing") < (long long)kind->pages / 2)
		ktap_bail("only %lld pages were merged", number(KSM "pages_sharing"));
}

static void set_up_locked(struct kind *kind)
{
	set_up_small(kind);
	if (mlock(kind->set.at, kind->pages * PAGE))
		ktap_bail("mlock");
}

/* The page cache's */
static void set_up_file(struct kind *kind)
{
	int fd = open("/dev/ram0", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		ktap_bail("/dev/ram0");
	map(kind, 0, MAP_SHARED, fd);
	close(fd);
	set_write(&kind->set, 0, kind->pages);
}

static struct kind kinds[] = {
	{ .name = "small pages", .set_up = set_up_small, .pages = 512, .step = 1 },
	{ .name = "huge pages", .set_up = set_up_huge, .pages = 3 * HUGE / PAGE,
	  .step = HUGE / PAGE },
	{ .name = "merged pages", .set_up = set_up_merged, .pages = 512, .step = 1 },
	{ .name = "locked pages", .set_up = set_up_locked, .pages = 256, .step = 1 },
	{ .name = "pages of a file", .set_up = set_up_file, .pages = 256, .step = 1 },
};

#define KINDS	(sizeof(kinds) / sizeof(*kinds))

static unsigned long wrong_pages(const struct kind *kind)
{
	unsigned char made[PAGE] __attribute__((aligned(8)));
	unsigned long wrong = 0;

	if (kind->set_up != set_up_merged)
		return set_wrong(&kind->set, 0, kind->pages);
	for (unsigned long i = 0; i < kind->pages; i++) {
		make_page(made, i % 8, 256);
		wrong += memcmp(kind->set.at + i * PAGE, made, PAGE) != 0;
	}
	return wrong;
}

/* ---- the ways ---- */

static bool by_move_pages(struct kind *kind, int from, int to)
{
	int *status = calloc(kind->pages, sizeof(*status));
	long ret = move_pages(&kind->set, kind->step, status, to);

	(void)from;
	free(status);
	return !ret;
}

static bool by_mbind(struct kind *kind, int from, int to)
{
	unsigned long nodes = 1UL << to, bytes = kind->pages * PAGE;
	long ret;

	(void)from;
	/* MPOL_MF_STRICT would fail at the second place where a merged page is mapped */
	ret = syscall(SYS_mbind, kind->set.at, bytes, MPOL_BIND, &nodes, 64, MPOL_MF_MOVE_ALL);
	return !ret && !syscall(SYS_mbind, kind->set.at, bytes, MPOL_DEFAULT, NULL, 0, 0);
}

/* All of the process's, this kind's among them */
static bool by_migrate_pages(struct kind *kind, int from, int to)
{
	unsigned long old = 1UL << from, new = 1UL << to;

	(void)kind;
	return syscall(SYS_migrate_pages, 0, 64, &old, &new) >= 0;
}

static const struct {
	const char *name;
	bool (*move)(struct kind *kind, int from, int to);
} ways[] = {
	{ "move_pages()", by_move_pages },
	{ "mbind()", by_mbind },
	{ "migrate_pages()", by_migrate_pages },
};

#define WAYS	(sizeof(ways) / sizeof(*ways))

/* How many pages are in the frame in which they were */
static unsigned long left_behind(struct kind *kind)
{
	unsigned long *frames = calloc(kind->pages, sizeof(*frames)), n = 0;

	read_frames(kind->set.at, kind->pages, frames);
	for (unsigned long i = 0; i < kind->pages; i++)
		n += frames[i] == kind->frames[i];
	free(frames);
	return n;
}

static void move_kind(struct kind *kind, unsigned int way)
{
	/* on one node, whatever the way was that brought them here */
	int from = node_of(&kind->set, 0), to = !from;
	bool done = by_move_pages(kind, to, from);
	unsigned long there, left, wrong;
	long long huge;

	read_frames(kind->set.at, kind->pages, kind->frames);
	huge = event("thp_migration_success");
	done &= ways[way].move(kind, from, to);
	huge = event("thp_migration_success") - huge;
	there = pages_on(&kind->set, to);
	left = left_behind(kind);
	wrong = wrong_pages(kind);
	ktap_note("%s: %lu of %lu on node %d, %lu in their old frames, %lu wrong", kind->name,
		  there, kind->pages, to, left, wrong);
	ktap_ok(done && there == kind->pages && !left && !wrong &&
		(kind->step == 1 || huge >= (long long)(kind->pages / kind->step)),
		"%s move by %s", kind->name, ways[way].name);
}

/* ---- zram ---- */

/* Pages in zram are nowhere to be moved from, and come back as they were */
static void swapped_pages(struct kind *kind)
{
	int from = node_of(&kind->set, 0), to = !from;
	unsigned long before, wrong;
	bool done;

	page_out(&kind->set, 0, kind->pages);
	before = in_memory(&kind->set);
	done = by_migrate_pages(kind, from, to);
	done &= by_mbind(kind, from, to);
	wrong = wrong_pages(kind);
	ktap_note("%lu of %lu pages were in memory, %lu wrong", before, kind->pages, wrong);
	ktap_ok(done && before < kind->pages / 8 && !wrong, "pages in zram stay as they are");
}

/* What zram has their contents in */
static void pages_of_zram(struct kind *kind)
{
	unsigned long moved = move_zrams_pages(&kind->set), wrong = wrong_pages(kind);

	ktap_note("%lu of zram's pages have moved, %lu wrong", moved, wrong);
	ktap_ok(moved && !wrong, "zram's pages move by compaction");
}

/* ---- NUMA balancing ---- */

static int run_on(int cpu)
{
	unsigned int node;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) || getcpu(NULL, &node))
		ktap_bail("CPU %d", cpu);
	return node;
}

/* Who reads them is on the other node, until half of them have followed */
static void balanced_pages(struct kind *kind)
{
	int from = node_of(&kind->set, 0), to = run_on(0), *status;
	long long before = event("numa_pages_migrated"), migrated;
	unsigned long there = 0, wrong;
	cpu_set_t all;

	if (to == from)
		to = run_on(1);
	if (to == from)
		ktap_bail("both CPUs are on node %d", from);
	status = calloc(kind->pages, sizeof(*status));
	if (move_pages(&kind->set, kind->step, status, from))
		ktap_bail("move_pages");
	must_put("/proc/sys/kernel/numa_balancing", "1");
	for (double end = now() + 60 * factor(); there < kind->pages / 2 && now() < end;) {
		for (int round = 0; round < 50; round++)
			for (unsigned long i = 0; i < kind->pages; i++)
				*(volatile unsigned char *)(kind->set.at + i * PAGE + round);
		there = pages_on(&kind->set, to);
	}
	must_put("/proc/sys/kernel/numa_balancing", "0");
	migrated = event("numa_pages_migrated") - before;
	wrong = wrong_pages(kind);
	ktap_note("%s: NUMA balancing migrated %lld pages; %lu of %lu are on node %d, %lu wrong",
		  kind->name, migrated, there, kind->pages, to, wrong);
	ktap_ok(migrated > 0 && there >= kind->pages / 2 && !wrong, "%s move by NUMA balancing",
		kind->name);
	free(status);
	CPU_ZERO(&all);
	CPU_SET(0, &all);
	CPU_SET(1, &all);
	sched_setaffinity(0, sizeof(all), &all);
}

/* ---- a pin for long, for which pages leave ZONE_MOVABLE ---- */

static unsigned long in_zone_movable(const struct set *set)
{
	unsigned long *frames = calloc(set->pages, sizeof(*frames)), n = 0, spanned = 0, start;
	char line[256], zone[16] = "";
	FILE *f = fopen("/proc/zoneinfo", "re");

	if (!f)
		ktap_bail("zoneinfo");
	read_frames(set->at, set->pages, frames);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %*d, zone %15s", zone) == 1)
			spanned = 0;
		if (sscanf(line, " spanned %lu", &spanned) == 1)
			continue;
		if (strcmp(zone, "Movable") || sscanf(line, " start_pfn: %lu", &start) != 1)
			continue;
		for (unsigned long i = 0; i < set->pages; i++)
			n += frames[i] >= start && frames[i] < start + spanned;
	}
	fclose(f);
	free(frames);
	return n;
}

static void pinned_pages(struct kind *kind)
{
	struct gup_test gup = {
		.addr = (unsigned long)kind->set.at, .size = kind->pages * PAGE,
		.nr_pages_per_call = kind->pages, .gup_flags = FOLL_WRITE,
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	unsigned long before = in_zone_movable(&kind->set), after, wrong;

	if (fd < 0 || ioctl(fd, PIN_LONGTERM_BENCHMARK, &gup))
		ktap_bail("gup_test");
	close(fd);
	after = in_zone_movable(&kind->set);
	wrong = wrong_pages(kind);
	ktap_note("%s: %lu of %lu pages were in ZONE_MOVABLE, %lu are; %llu were pinned, %lu wrong",
		  kind->name, before, kind->pages, after,
		  (unsigned long long)gup.size / PAGE, wrong);
	ktap_ok(before && !after && gup.size == kind->pages * PAGE && !wrong,
		"%s leave ZONE_MOVABLE to be pinned", kind->name);
}

/* ---- nothing stays isolated ---- */

/* The kernel tells a count below 0 in its log alone, and in files says 0 */
static bool none_below_zero(void)
{
	static char log[1 << 20];
	int n = klogctl(3, log, sizeof(log) - 1);

	if (n < 0)
		ktap_bail("the kernel's log");
	log[n] = 0;
	return !strstr(log, "vmstat_refresh: nr_isolated");
}

static void none_isolated(void)
{
	long long anon = -1, file = -1;

	for (int i = 0; i < 100 * factor(); i++) {
		/* what processors have counted for themselves, too */
		must_put("/proc/sys/vm/stat_refresh", "1");
		anon = event("nr_isolated_anon");
		file = event("nr_isolated_file");
		if (!anon && !file)
			break;
		nap_ms(100);
	}
	ktap_note("isolated: %lld anonymous pages, %lld of files", anon, file);
	ktap_ok(!anon && !file && none_below_zero(), "nothing is isolated in the end");
}

int main(int argc, char **argv)
{
	struct kind swapped = { .name = "swapped pages", .pages = 2048, .step = 1 };
	struct kind small = { .name = "small pages", .pages = 1024, .step = 1 };
	struct kind huge = { .name = "huge pages", .pages = 2 * HUGE / PAGE, .step = HUGE / PAGE };

	ktap_usage(argc, argv, argc == 1, "page-moves");
	ktap_plan(KINDS * WAYS + 7);
	must_put("/proc/sys/kernel/numa_balancing", "0");
	must_put(ZRAM "disksize", "128M");
	swap_on("/dev/zram0");

	for (unsigned int i = 0; i < KINDS; i++)
		kinds[i].set_up(&kinds[i]);
	for (unsigned int way = 0; way < WAYS; way++)
		for (unsigned int i = 0; i < KINDS; i++)
			move_kind(&kinds[i], way);

	set_up_small(&swapped);
	swapped_pages(&swapped);
	pages_of_zram(&swapped);

	set_up_small(&small);
	balanced_pages(&small);
	set_up_huge(&huge);
	balanced_pages(&huge);

	pinned_pages(&small);
	/* by mbind() they have left it, perhaps */
	set_up_huge(&huge);
	pinned_pages(&huge);

	none_isolated();
	return ktap_end();
}
