// SPDX-License-Identifier: GPL-2.0
/*
 * mobility-stress: pages of every kind, while everything that moves pages runs
 *
 *	mobility-stress SECONDS
 *
 * For so long, or, if not all of it has happened then, up to eight times that.
 *
 * Small pages that are swapped to zram, huge pages, hugetlb's, pages that KSM
 * merges, locked ones, shared ones, and those of a cgroup at its limit: each kind
 * has a thread that writes and verifies them. Others compact all of memory and
 * zram, ask for huge pages, take CMA's area, which moves huge pages as well, and
 * offline single pages softly, and hugetlb's. A balloon is inflated and deflated from
 * outside (the test's header). Of each kind pages must have moved. Prints KTAP.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "pages.h"
#include "zram.h"

#define HUGE		(2UL << 20)
#define CMA		"/sys/kernel/debug/cma/"
#define SOFT_OFFLINES	8
#define HUGETLB_OFFLINES	2
#define MERGED_OFFLINES	4
#define COLD		4096	/* pages that stay in zram */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

static atomic_bool stop;
static atomic_uint parts_taken;
static unsigned long area_wrong;

struct kind {
	const char *name;
	void (*set_up)(struct kind *kind);
	void (*now_and_then)(struct kind *kind, unsigned int *random);
	unsigned long pages;
	struct set set;
	pthread_t thread;
	unsigned long checks, wrong;
	/*
	 * The first pages have another frame only if they were migrated: they are
	 * not swapped out, and those of KSM not written.
	 */
	unsigned long watched;
	unsigned long *frames, moved;
	/* all that are watched are merged */
	atomic_bool merged;
};

/* ---- the kinds ---- */

static void from_mmap(struct kind *kind, size_t align, int flags)
{
	unsigned long bytes = kind->pages * PAGE;
	char *at = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, flags, -1, 0);

	kind->set = (struct set){ .pages = kind->pages, .hard = 1200,
				  .seed = kind->pages + kind->name[0] };
	kind->set.times = calloc(kind->pages, sizeof(*kind->set.times));
	if (at == MAP_FAILED || !kind->set.times)
		ktap_bail("%s: memory", kind->name);
	if (align)
		at = (char *)(((unsigned long)at + align - 1) & -align);
	kind->set.at = (unsigned char *)at;
}

static void set_up_small(struct kind *kind)
{
	from_mmap(kind, 0, MAP_PRIVATE | MAP_ANONYMOUS);
	madvise(kind->set.at, kind->pages * PAGE, MADV_NOHUGEPAGE);
}

/* Some leave for zram, and come back when they are looked at */
static void swap_out_some(struct kind *kind, unsigned int *random)
{
	unsigned long first = rand_r(random) % (kind->pages - 64);

	page_out(&kind->set, first, 64);
}

static void set_up_huge(struct kind *kind)
{
	must_put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	must_put("/sys/kernel/mm/transparent_hugepage/defrag", "madvise");
	from_mmap(kind, HUGE, MAP_PRIVATE | MAP_ANONYMOUS);
	if (madvise(kind->set.at, kind->pages * PAGE, MADV_HUGEPAGE))
		ktap_bail("MADV_HUGEPAGE");
}

/* Another huge page is asked for, which takes compaction */
static void give_huge_back(struct kind *kind, unsigned int *random)
{
	unsigned long first = rand_r(random) % (kind->pages * PAGE / HUGE) * (HUGE / PAGE);

	set_drop(&kind->set, first, HUGE / PAGE);
	set_write(&kind->set, first, HUGE / PAGE);
}

static void set_up_hugetlb(struct kind *kind)
{
	char number_of[16];

	snprintf(number_of, sizeof(number_of), "%lu", kind->pages * PAGE / HUGE);
	must_put("/proc/sys/vm/nr_hugepages", number_of);
	from_mmap(kind, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
}

/* One more, if it can be had, and away with it */
static void another_hugetlb(struct kind *kind, unsigned int *random)
{
	char number_of[16];

	snprintf(number_of, sizeof(number_of), "%lu",
		 kind->pages * PAGE / HUGE + rand_r(random) % 2);
	must_put("/proc/sys/vm/nr_hugepages", number_of);
}

/* Many pages, few contents */
static void set_up_ksm(struct kind *kind)
{
	set_up_small(kind);
	if (madvise(kind->set.at, kind->pages * PAGE, MADV_MERGEABLE))
		ktap_bail("MADV_MERGEABLE");
	must_put("/sys/kernel/mm/ksm/pages_to_scan", "2000");
	must_put("/sys/kernel/mm/ksm/sleep_millisecs", "20");
	must_put("/sys/kernel/mm/ksm/run", "1");
}

static void set_up_locked(struct kind *kind)
{
	set_up_small(kind);
	if (mlock(kind->set.at, kind->pages * PAGE))
		ktap_bail("mlock");
}

static void set_up_shared(struct kind *kind)
{
	from_mmap(kind, 0, MAP_SHARED | MAP_ANONYMOUS);
}

static struct kind kinds[] = {
	{ .name = "small pages", .set_up = set_up_small, .pages = 4096,
	  .now_and_then = swap_out_some },
	{ .name = "huge pages", .set_up = set_up_huge, .pages = 4 * HUGE / PAGE,
	  .now_and_then = give_huge_back },
	{ .name = "hugetlb pages", .set_up = set_up_hugetlb, .pages = 3 * HUGE / PAGE,
	  .now_and_then = another_hugetlb, .watched = 3 * HUGE / PAGE },
	{ .name = "merged pages", .set_up = set_up_ksm, .pages = 2048, .watched = 512 },
	{ .name = "locked pages", .set_up = set_up_locked, .pages = 1024, .watched = 1024 },
	{ .name = "shared pages", .set_up = set_up_shared, .pages = 2048,
	  .now_and_then = swap_out_some },
};

#define KINDS	(sizeof(kinds) / sizeof(*kinds))

/* So many contents have the pages that KSM merges, and at least so many frames */
#define CONTENTS	64

/* What a merged page has, by where it is and how often it was written */
static unsigned long merged_content(struct kind *kind, unsigned long page)
{
	return (page + kind->set.times[page]) % CONTENTS;
}

static void write_page(struct kind *kind, unsigned long page)
{
	static __thread unsigned char made[PAGE] __attribute__((aligned(8)));

	if (kind->set_up != set_up_ksm) {
		set_write(&kind->set, page, 1);
		return;
	}
	kind->set.times[page]++;
	make_page(made, merged_content(kind, page), 256);
	memcpy(kind->set.at + page * PAGE, made, PAGE);
}

static unsigned long wrong_page(struct kind *kind, unsigned long page)
{
	static __thread unsigned char made[PAGE] __attribute__((aligned(8)));

	if (kind->set_up != set_up_ksm)
		return set_wrong(&kind->set, page, 1);
	make_page(made, merged_content(kind, page), 256);
	return memcmp(kind->set.at + page * PAGE, made, PAGE) != 0;
}

static void *use(void *arg)
{
	struct kind *kind = arg;
	unsigned int random = kind->pages;

	for (unsigned long n = 0; !stop; n++) {
		unsigned long page = rand_r(&random) % kind->pages;

		kind->wrong += wrong_page(kind, page);
		kind->checks++;
		if (n % 4 == 0 && (kind->set_up != set_up_ksm || page >= kind->watched))
			write_page(kind, page);
		if (n % 1024 == 0 && kind->now_and_then)
			kind->now_and_then(kind, &random);
	}
	return NULL;
}

/* ---- a cgroup at its limit, in a process of its own ---- */

static pid_t start_cgroup(void)
{
	struct set set;
	pid_t pid;

	must_put(CGROUP "cgroup.subtree_control", "+memory");
	if (mkdir(CGROUP "stress", 0700) && errno != EEXIST)
		ktap_bail("no cgroup");
	must_put(CGROUP "stress/memory.max", "8M");
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	if (put(CGROUP "stress/cgroup.procs", "0"))
		_exit(2);
	set = set_new(4096, 77, 1200);
	for (;;) {
		for (unsigned long i = 0; i < set.pages; i += 16) {
			set_write(&set, i, 16);
			/* told by whoever waits for us */
			if (set_wrong(&set, i * 7 % (set.pages - 16), 16))
				_exit(1);
		}
	}
}

/* ---- who has moved ---- */

/*
 * A frame that is not KSM's is none: it may become another when it is merged. Returns
 * how many are KSM's.
 */
static unsigned long forget_unmerged(unsigned long *frames, unsigned long pages)
{
	unsigned long merged = 0;
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);

	for (unsigned long i = 0; i < pages; i++) {
		unsigned long flags = 0;

		if (frames[i] && pread(fd, &flags, 8, frames[i] * 8) != 8)
			ktap_bail("kpageflags");
		if (flags & KPF_KSM)
			merged++;
		else
			frames[i] = 0;
	}
	close(fd);
	return merged;
}

static void watch(struct kind *kind)
{
	unsigned long frames[2048];

	if (!kind->frames)
		kind->frames = calloc(kind->watched, sizeof(*kind->frames));
	read_frames(kind->set.at, kind->watched, frames);
	if (kind->set_up == set_up_ksm && forget_unmerged(frames, kind->watched) == kind->watched)
		kind->merged = true;
	for (unsigned long i = 0; i < kind->watched; i++) {
		kind->moved += frames[i] && kind->frames[i] && frames[i] != kind->frames[i];
		/* locked ones that are nowhere are on their way */
		if (frames[i] || kind->set_up == set_up_ksm)
			kind->frames[i] = frames[i];
	}
}

/* ---- who moves them ---- */

/* A file of the area that DMA uses: its name has changed */
static const char *cma_file(const char *name)
{
	static char path[80];

	snprintf(path, sizeof(path), CMA "cma-reserved/%s", name);
	if (access(path, F_OK))
		snprintf(path, sizeof(path), CMA "reserved/%s", name);
	return path;
}

/*
 * What is in the area has to leave, and may come back. In parts, as one page that was
 * offlined softly hinders one. Returns how many parts could be had.
 */
static int take_area(void)
{
	int parts = 0;

	while (parts < 4 && !put(cma_file("alloc"), "1024"))
		parts++;
	put(cma_file("free"), "4096");
	return parts;
}

/*
 * Huge pages, which compaction leaves where they are: some that are in the area and
 * leave it when it is taken, and as many that are free then for them to move to.
 */
#define AREA_HUGE	2
static struct kind area_huge = {
	.name = "huge pages in the area", .set_up = set_up_huge, .pages = 64 * HUGE / PAGE
};

static unsigned long inside[AREA_HUGE], spare[AREA_HUGE];

/* Whether huge page @huge of these is one, and in the area */
static bool is_inside(unsigned long huge)
{
	unsigned long first = number(cma_file("base_pfn")), end = first + number(cma_file("count"));
	unsigned long frames[HUGE / PAGE], last = HUGE / PAGE - 1;

	read_frames(area_huge.set.at + huge * HUGE, HUGE / PAGE, frames);
	return frames[0] >= first && frames[0] < end && frames[last] == frames[0] + last;
}

static void write_huge(unsigned long huge)
{
	set_write(&area_huge.set, huge * (HUGE / PAGE), HUGE / PAGE);
}

static void drop_huge(unsigned long huge)
{
	set_drop(&area_huge.set, huge * (HUGE / PAGE), HUGE / PAGE);
}

/*
 * The area is used as soon as less is free elsewhere. Begun before anybody else has
 * memory, as there are no huge pages later; returns how many of those in it there are.
 */
static unsigned long fill_area(void)
{
	unsigned long huge, n = 0, others = 0;

	area_huge.set_up(&area_huge);
	for (huge = 0; huge < area_huge.pages * PAGE / HUGE && n < AREA_HUGE; huge++) {
		write_huge(huge);
		if (is_inside(huge))
			inside[n++] = huge;
	}
	while (huge-- > 0) {
		if (huge == inside[0] || (n > 1 && huge == inside[1]))
			continue;
		if (others < AREA_HUGE)
			spare[others++] = huge;
		else
			drop_huge(huge);
	}
	return n;
}

static void move_area(void)
{
	for (int i = 0; i < AREA_HUGE; i++)
		drop_huge(spare[i]);
	parts_taken += take_area();
	for (int i = 0; i < AREA_HUGE; i++) {
		write_huge(spare[i]);
		area_wrong += set_wrong(&area_huge.set, inside[i] * (HUGE / PAGE), HUGE / PAGE);
		drop_huge(inside[i]);
		write_huge(inside[i]);
	}
}

/*
 * Whether one of the pages could be offlined softly: what it has goes to another page,
 * and it is not used again.
 */
static bool offline_one(struct kind *kind, unsigned int *random)
{
	unsigned long page = rand_r(random) % (kind->watched ?: kind->pages);

	return !madvise(kind->set.at + page * PAGE, PAGE, MADV_SOFT_OFFLINE);
}

static void *compact(void *arg)
{
	unsigned int *random = arg;
	int offlined = 0, huge_offlined = 0, merged_offlined = 0;

	while (!stop) {
		must_put("/proc/sys/vm/compact_memory", "1");
		must_put(ZRAM "compact", "1");
		if (offlined < SOFT_OFFLINES && offline_one(&kinds[0], random))
			offlined++;
		if (huge_offlined < HUGETLB_OFFLINES && offline_one(&kinds[2], random))
			huge_offlined++;
		/* compaction may find none of these: here each is a merged one */
		if (kinds[3].merged && merged_offlined < MERGED_OFFLINES &&
		    offline_one(&kinds[3], random))
			merged_offlined++;
		move_area();
		nap_ms(50);
	}
	return (void *)(long)offlined;
}

static long long moved(void)
{
	return event("pgmigrate_success");
}

/* Whether all that is demanded has happened: on a busy machine that takes longer */
static bool enough(long long huge_moves_before)
{
	for (unsigned int i = 0; i < KINDS; i++)
		if (kinds[i].watched && !kinds[i].moved)
			return false;
	return parts_taken > 0 && event("thp_migration_success") > huge_moves_before &&
	       event("balloon_inflate") > 0 && event("balloon_deflate") > 0 &&
	       event("balloon_migrate") > 0;
}

int main(int argc, char **argv)
{
	long long began_moved, huge, moved_huge, inflated, merged = 0;
	struct set cold = set_new(COLD, 7, 1200);
	unsigned long moved_zram, were_inside;
	unsigned int random = 1;
	pthread_t compactor;
	void *offlined;
	pid_t cgroup;
	int seconds, status;

	seconds = argc == 2 ? atoi(argv[1]) : 0;
	ktap_usage(argc, argv, seconds > 0, "mobility-stress SECONDS");
	ktap_plan(KINDS + 10);
	must_put(ZRAM "disksize", "256M");
	swap_on("/dev/zram0");
	were_inside = fill_area();
	moved_zram = move_zrams_pages(&cold);
	ktap_note("zram has %lld pages, %lu of its own have moved",
		  zram_stat("mm_stat", MM_STORED) / (long long)PAGE, moved_zram);
	began_moved = moved();
	huge = event("thp_fault_alloc");
	moved_huge = event("thp_migration_success");
	for (unsigned int i = 0; i < KINDS; i++) {
		kinds[i].set_up(&kinds[i]);
		for (unsigned long page = 0; page < kinds[i].pages; page++)
			write_page(&kinds[i], page);
	}
	cgroup = start_cgroup();
	for (unsigned int i = 0; i < KINDS; i++)
		if (pthread_create(&kinds[i].thread, NULL, use, &kinds[i]))
			ktap_bail("a thread");
	if (pthread_create(&compactor, NULL, compact, &random))
		ktap_bail("a thread");

	for (int i = 0; i < seconds * 10 || (i < seconds * 80 && !enough(moved_huge)); i++) {
		long long sharing = number("/sys/kernel/mm/ksm/pages_sharing");

		if (sharing > merged)
			merged = sharing;
		for (unsigned int k = 0; k < KINDS; k++)
			if (kinds[k].watched)
				watch(&kinds[k]);
		nap_ms(100);
	}
	stop = true;
	pthread_join(compactor, &offlined);
	for (unsigned int i = 0; i < KINDS; i++)
		pthread_join(kinds[i].thread, NULL);
	status = -1;
	if (!waitpid(cgroup, &status, WNOHANG)) {
		kill(cgroup, SIGKILL);
		waitpid(cgroup, &status, 0);
	}

	for (unsigned int i = 0; i < KINDS; i++) {
		struct kind *kind = &kinds[i];

		for (unsigned long page = 0; page < kind->pages; page++)
			kind->wrong += wrong_page(kind, page);
		ktap_note("%s: %lu checks, %lu wrong", kind->name, kind->checks, kind->wrong);
		ktap_ok(kind->checks > 0 && !kind->wrong, "%s are what was written", kind->name);
	}
	ktap_ok(set_right(&cold), "pages that were in zram all the time are what was written");
	ktap_ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		"a cgroup's pages are what was written");
	for (unsigned int i = 0; i < KINDS; i++)
		if (kinds[i].watched)
			ktap_ok(kinds[i].moved > 0, "%s were moved (%lu)", kinds[i].name,
				kinds[i].moved);
	moved_huge = event("thp_migration_success") - moved_huge;
	ktap_ok(parts_taken > 0, "CMA's area was taken (%u parts)", parts_taken);
	ktap_note("huge pages in the area at first: %lu", were_inside);
	ktap_ok(moved_huge > 0 && !area_wrong, "huge pages were moved (%lld)", moved_huge);
	ktap_ok(moved_zram > 0, "zram's pages were moved (%lu)", moved_zram);
	huge = event("thp_fault_alloc") - huge;
	ktap_note("migrated: %lld; huge pages: %lld; merged: %lld; softly offlined: %ld",
		  moved() - began_moved, huge, merged, (long)offlined);
	ktap_ok(moved() - began_moved > 1000 && huge > 0 && merged > 0 && offlined,
		"pages were migrated, huge, merged and offlined");
	inflated = event("balloon_inflate");
	ktap_note("balloon: %lld pages inflated, %lld deflated, %lld migrated", inflated,
		  event("balloon_deflate"), event("balloon_migrate"));
	ktap_ok(inflated > 0 && event("balloon_deflate") > 0 && event("balloon_migrate") > 0,
		"a balloon was inflated, deflated and migrated");
	return ktap_end();
}
