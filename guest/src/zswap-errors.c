// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-errors: zswap when something that it needs fails
 *
 *	zswap-errors disk DISK		each write to the disk fails for a while
 *	zswap-errors reads DISK		each read does: what is in zswap needs no disk
 *	zswap-errors memory DISK	allocations fail at random (fault injection)
 *	zswap-errors compressor DISK	the compressor fails, and then it is slow: what
 *					else happens to a page meanwhile
 *
 * Nothing may be lost: what could not be written or stored stays where it is. What
 * could not be read is SIGBUS to who wanted it, and to nobody else.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "zswap.h"

#define SWAP	"/dev/dm-0"
#define HARD	1200

static const char *disk;

static unsigned long pool_pages(void)
{
	return total_pages() * PAGE * param_value("max_pool_percent") / 100 / (HARD + 100);
}

/* How often the kernel has said TEXT */
static int said(const char *text)
{
	char command[160], line[32] = "";
	FILE *p;

	snprintf(command, sizeof(command), "dmesg | grep -c '%s'", text);
	p = popen(command, "r");
	if (!p || !fgets(line, sizeof(line), p))
		line[0] = 0;
	if (p)
		pclose(p);
	return atoi(line);
}

static int run_disk(void)
{
	long long back, failed;
	struct set old, new;
	double began, took;
	char text[32];
	int err;

	ktap_plan(9);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "lzo", 3);
	swap_on(SWAP);
	old = set_new(pool_pages(), 1, HARD);
	new = set_new(pool_pages() / 2, 2, HARD);
	set_write(&old, 0, old.pages);
	set_write(&new, 0, new.pages);
	page_out(&old, 0, old.pages);

	failed = stat_of("writeback_errors");
	back = stat_of("written_back_pages");
	dm_failing(disk);
	began = now();
	page_out(&new, 0, new.pages);
	took = now() - began;
	failed = stat_of("writeback_errors") - failed;
	ktap_note("%.2f s; %lld failed, %lld written back", took, failed,
		  stat_of("written_back_pages") - back);
	ktap_ok(took < 20 * factor(), "a store does not wait for ever for a disk that fails");
	ktap_ok(failed > 0, "what failed is counted");
	ktap_ok(said("Write-error on swap-device") > 0, "and reported");
	ktap_ok(stat_of("outstanding_writebacks") == 0, "a writeback that failed is not in flight");
	/* whatever is clean now is what reclaim takes first; it need not get all that it wants */
	snprintf(text, sizeof(text), "%lld", (failed + 1) * (long long)PAGE);
	err = put(CGROUP "memory.reclaim", text);
	if (err && err != EAGAIN)
		ktap_bail("memory.reclaim: %d", err);
	ktap_ok(set_right(&old), "every old page is right");
	ktap_ok(set_right(&new), "every new page is right");

	/* the pages were changed by nobody: they may still be where they were */
	set_write(&new, 0, new.pages);
	set_write(&old, 0, old.pages);
	page_out(&new, 0, new.pages);
	page_out(&old, 0, old.pages);
	dm_good(disk);
	back = stat_of("written_back_pages");
	set_write(&new, 0, new.pages);
	page_out(&new, 0, new.pages);
	page_out(&old, 0, old.pages);
	ktap_ok(stat_of("written_back_pages") > back, "writeback works again when the disk does");
	ktap_ok(set_right(&old) && set_right(&new), "every page is right");
	set_free(&old);
	set_free(&new);
	ktap_swap_off(SWAP);
	dm_remove();
	return ktap_end();
}

/* ---- reads ---- */

static sigjmp_buf before_access;
static unsigned char *accessed;

static void on_sigbus(int unused, siginfo_t *info, void *context)
{
	(void)unused;
	(void)context;
	/* of another page it is a mistake, and as fatal as it should be */
	if (info->si_code != BUS_ADRERR ||
	    ((unsigned long)info->si_addr & -PAGE) != (unsigned long)accessed)
		abort();
	siglongjmp(before_access, 1);
}

/* Whether a page can be had at all */
static int can_access(struct set *set, unsigned long page)
{
	int can = 0;

	accessed = set->at + page * PAGE;
	if (!sigsetjmp(before_access, 1)) {
		(void)*(volatile unsigned char *)accessed;
		can = 1;
	}
	accessed = NULL;
	return can;
}

static void wait_until_quiet(void)
{
	long long before, out = event("pswpout");

	do {
		before = out;
		nap_ms(300 * factor());
		for (int i = 0; i < 1000 && stat_of("outstanding_writebacks") > 0; i++)
			nap_ms(10);
		out = event("pswpout");
	} while (out != before);
}

static int run_reads(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	long long from_disk, from_zswap, back;
	unsigned long had = 0, lost = 0, wrong = 0;
	unsigned char *failed;
	struct set set;
	char text[32];

	ktap_plan(10);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "lzo", 3);
	swap_on(SWAP);
	set = set_new(pool_pages() * 2, 1, HARD);
	failed = calloc(set.pages, 1);
	/* all but the set: nobody else is to have pages on this disk */
	if (!failed || mlockall(MCL_CURRENT | MCL_FUTURE) || munlock(set.at, set.pages * PAGE))
		ktap_bail("mlock");
	if (sigaction(SIGBUS, &action, NULL))
		ktap_bail("sigaction");
	back = stat_of("written_back_pages");
	set_write(&set, 0, set.pages);
	page_out(&set, 0, set.pages);
	wait_until_quiet();
	back = stat_of("written_back_pages") - back;
	ktap_ok(back > 0 && stat_of("stored_pages") > 0, "%lld pages in zswap, %lld on the disk",
		stat_of("stored_pages"), back);

	/* those that were written are still in memory: they are what reclaim takes first */
	snprintf(text, sizeof(text), "%lld", back * (long long)PAGE);
	put(CGROUP "memory.reclaim", text);
	wait_until_quiet();
	dm_broken(disk);
	from_disk = event("pswpin");
	from_zswap = event("zswpin");
	/* the others are for later */
	for (unsigned long i = 0; i < set.pages; i += 2) {
		failed[i] = !can_access(&set, i);
		if (failed[i])
			lost++;
		else if (set_wrong(&set, i, 1))
			wrong++;
		else
			had++;
	}
	from_disk = event("pswpin") - from_disk;
	from_zswap = event("zswpin") - from_zswap;
	ktap_note("%lu pages could be read, %lu not; %lld loads, %lld from the disk", had, lost,
		  from_zswap, from_disk);
	ktap_ok(from_zswap > 0 && (long long)had >= from_zswap,
		"what is in zswap is read while the disk is broken");
	ktap_ok(lost > 0 && (long long)lost == from_disk,
		"what is on the disk is SIGBUS: %lu of %lld", lost, from_disk);
	ktap_ok(wrong == 0, "what can be read is right");
	ktap_ok(said("Read-error on swap-device") > 0, "that is reported");

	dm_good(disk);
	wrong = 0;
	for (unsigned long i = 1; i < set.pages; i += 2)
		wrong += !can_access(&set, i) || set_wrong(&set, i, 1);
	ktap_ok(wrong == 0, "what was not asked for meanwhile is there, and right");
	/* a page that could not be read may stay so while it is in the swap cache */
	lost = 0;
	for (unsigned long i = 0; i < set.pages; i++) {
		if (!failed[i])
			continue;
		if (can_access(&set, i))
			wrong += set_wrong(&set, i, 1);
		else
			lost++;
	}
	ktap_ok(wrong == 0, "what was is right, or still SIGBUS: %lu pages", lost);

	/* half of these get new contents, and half stay as they are for swapoff */
	for (unsigned long i = 0; i < set.pages; i++) {
		if (!failed[i] || i % 4)
			continue;
		set_drop(&set, i, 1);
		set.times[i] = 1;
		set_write(&set, i, 1);
		page_out(&set, i, 1);
		failed[i] = 0;
	}
	ktap_ok(!swapoff(SWAP), "swap off with pages that could not be read");
	wrong = 0;
	for (unsigned long i = 0; i < set.pages; i++)
		wrong += can_access(&set, i) ? set_wrong(&set, i, 1) : !failed[i];
	ktap_ok(wrong == 0, "every other page is right after that");
	set_free(&set);
	ktap_ok(all_gone(), "nothing stays when swap is off");
	dm_remove();
	return ktap_end();
}

/* ---- allocations ---- */

/* How often a fault may strike, so that it can be seen how often it has */
#define STRIKES	1000000

static void inject(const char *fault, const char *name, const char *text)
{
	char file[128];

	snprintf(file, sizeof(file), "/sys/kernel/debug/%s/%s", fault, name);
	must_put(file, text);
}

/* Let allocations of the kernel's own tasks that swap fail, or no more */
static void make_others_fail(const char *yes)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	while (dir && (entry = readdir(dir))) {
		char file[300], name[32] = "";
		FILE *f;

		if (atoi(entry->d_name) <= 2)
			continue;
		snprintf(file, sizeof(file), "/proc/%s/comm", entry->d_name);
		f = fopen(file, "re");
		if (!f)
			continue;
		if (!fgets(name, sizeof(name), f))
			name[0] = 0;
		fclose(f);
		if (strncmp(name, "kswapd", 6) && strncmp(name, "kworker", 7))
			continue;
		snprintf(file, sizeof(file), "/proc/%s/make-it-fail", entry->d_name);
		put(file, yes);
	}
	if (dir)
		closedir(dir);
}

/*
 * The same with this task, which cannot even open a file then: it has that open, and
 * writing to it allocates nothing.
 */
static void make_fail(int yes)
{
	static int self = -1;

	if (self < 0)
		self = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	if (yes)
		make_others_fail("1");
	if (pwrite(self, yes ? "1" : "0", 1, 0) != 1)
		ktap_bail("make-it-fail");
	if (!yes)
		make_others_fail("0");
}

/* Returns whether every byte is right, and in *@struck how often the fault has struck */
static int try_fault(const char *fault, struct set *set, long long *struck)
{
	unsigned long part = set->pages / 8;
	char file[128], strikes[16];
	int wrong = 0;

	snprintf(strikes, sizeof(strikes), "%d", STRIKES);
	inject(fault, "verbose", "0");
	inject(fault, "ignore-gfp-wait", "N");
	inject(fault, "task-filter", "Y");
	inject(fault, "interval", "1");
	inject(fault, "times", strikes);
	inject(fault, "probability", "20");
	for (int i = 0; i < 8; i++) {
		set_write(set, i * part, part);
		make_fail(1);
		page_out(set, i * part, part);
		wrong += set_wrong(set, i * part / 2, part / 2);
		make_fail(0);
	}
	inject(fault, "probability", "0");
	snprintf(file, sizeof(file), "/sys/kernel/debug/%s/times", fault);
	*struck = STRIKES - number(file);
	return wrong + set_wrong(set, 0, set->pages) == 0;
}

static int run_memory(void)
{
	long long no_entry, no_memory, back, struck[2];
	struct set set;

	ktap_plan(8);
	zswap_set_up("zsmalloc", "lzo", 3);
	swap_on(disk);
	set = set_new(pool_pages() * 2, 1, HARD);
	inject("fail_page_alloc", "ignore-gfp-highmem", "N");
	inject("fail_page_alloc", "min-order", "0");
	no_entry = stat_of("reject_kmemcache_fail");
	ktap_ok(try_fault("failslab", &set, &struck[0]),
		"slab allocations fail: every byte is right");
	no_entry = stat_of("reject_kmemcache_fail") - no_entry;
	back = stat_of("written_back_pages");
	no_memory = stat_of("reject_alloc_fail");
	ktap_ok(try_fault("fail_page_alloc", &set, &struck[1]),
		"page allocations fail: every byte is right");
	no_memory = stat_of("reject_alloc_fail") - no_memory;
	back = stat_of("written_back_pages") - back;
	ktap_note("%lld slab allocations failed, %lld page allocations", struck[0], struck[1]);
	ktap_note("reject_kmemcache_fail %lld, reject_alloc_fail %lld, then %lld written back",
		  no_entry, no_memory, back);
	ktap_ok(struck[0] > 0 && struck[1] > 0, "they did fail");
	ktap_ok(no_entry > 0, "stores that failed for an entry are counted");
	ktap_ok(no_memory > 0, "and those that failed for memory of the zpool");
	ktap_ok(back > 0, "pages were written back meanwhile");
	set_write(&set, 0, set.pages);
	page_out(&set, 0, set.pages);
	ktap_ok(set_right(&set), "every byte is right when nothing fails");
	set_free(&set);
	ktap_swap_off(disk);
	return ktap_end();
}

/* ---- compressor ---- */

#define COMPRESSOR	"/sys/module/test_acomp/parameters/"

static void comp_put(const char *name, long long value)
{
	char file[96], text[32];

	snprintf(file, sizeof(file), COMPRESSOR "%s", name);
	snprintf(text, sizeof(text), "%lld", value);
	must_put(file, text);
}

/* Wait until somebody is in the compressor, or has had the time to. Returns whether. */
static int somebody_is(const char *doing)
{
	char file[96];

	snprintf(file, sizeof(file), COMPRESSOR "%s", doing);
	for (int i = 0; i < 500 * factor(); i++) {
		if (number(file) > 0)
			return 1;
		nap_ms(2);
	}
	return 0;
}

static unsigned long can_access_all(struct set *set, unsigned long first, unsigned long count)
{
	unsigned long can = 0;

	for (unsigned long i = first; i < first + count; i++)
		can += can_access(set, i);
	return can;
}

/* Has what could not be read leave the swap cache, where it would stay unreadable */
static int all_can_be_had(struct set *set)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", 4 * set->pages * PAGE);
	for (int i = 0; i < 20; i++) {
		if (can_access_all(set, 0, set->pages) == set->pages)
			return set_right(set);
		put(CGROUP "memory.reclaim", text);
		nap_ms(20);
	}
	return 0;
}

static void meet_failure(struct set *set, struct set *more)
{
	long long failed, stored, back, refused;
	unsigned long half = set->pages / 2;

	set_write(set, 0, set->pages);
	page_out(set, 0, set->pages);
	stored = stat_of("stored_pages");
	ktap_ok(stored >= (long long)set->pages, "%lld pages are in zswap", stored);
	failed = stat_of("decompress_fail");
	comp_put("decompress_fail", 1);
	ktap_ok(can_access_all(set, 0, half) == 0, "what cannot be decompressed is SIGBUS");
	failed = stat_of("decompress_fail") - failed;
	ktap_ok(failed == (long long)half, "each is counted: %lld of %lu", failed, half);
	ktap_ok(said("cannot decompress page") > 0, "and reported");
	ktap_ok(stat_of("stored_pages") == stored, "nothing is taken from zswap for that");

	/* more than there is room for: what cannot be written back stays, too */
	failed = stat_of("decompress_fail");
	back = stat_of("written_back_pages");
	refused = refusals();
	set_write(more, 0, more->pages);
	page_out(more, 0, more->pages);
	failed = stat_of("decompress_fail") - failed;
	ktap_ok(failed > 0 && stat_of("written_back_pages") == back && refusals() > refused,
		"no writeback comes of it: %lld tries, %lld pages past zswap", failed,
		refusals() - refused);
	comp_put("decompress_fail", 0);
	ktap_ok(all_can_be_had(set), "every page is right when it can be decompressed again");
	ktap_ok(all_can_be_had(more), "and what went past zswap");

	comp_put("compress_fail", 1);
	set_write(set, 0, set->pages);
	page_out(set, 0, set->pages);
	comp_put("compress_fail", 0);
	ktap_ok(set_right(set), "what cannot be compressed is right");
}

static struct set *moving;

#define FOREVER		600000	/* milliseconds: until it is woken */

/* On processor @cpu from now on, or on any if that is -1 */
static void stay_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int i = 0; i < 2; i++)
		if (cpu < 0 || cpu == i)
			CPU_SET(i, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		ktap_bail("this needs two processors");
}

/*
 * zswap has one compressor a processor: while this one is at work, whoever stores a
 * page on the same processor waits
 */
static void *read_thread(void *wrong)
{
	stay_on(0);
	*(unsigned long *)wrong = set_wrong(moving, 0, 1);
	return NULL;
}

static void *out_thread(void *unused)
{
	(void)unused;
	page_out(moving, 0, moving->pages);
	return NULL;
}

static void begin(pthread_t *thread, void *(*work)(void *), struct set *set, void *arg)
{
	moving = set;
	if (pthread_create(thread, NULL, work, arg))
		ktap_bail("no thread");
}

/* A load is decompressing the oldest page, which writeback wants first */
static void meet_writeback(struct set *old, struct set *more)
{
	const unsigned long few = 16;
	unsigned long wrong = 1;
	long long first, back = 0;
	pthread_t reader;
	int met;

	set_write(old, 0, old->pages);
	set_write(more, 0, more->pages);
	page_out(old, 0, old->pages);
	stay_on(1);
	comp_put("decompress_delay_ms", FOREVER);
	begin(&reader, read_thread, old, &wrong);
	met = somebody_is("decompressing");
	comp_put("decompress_delay_ms", 0);
	first = stat_of("written_back_pages");
	for (unsigned long i = 0; i + few <= more->pages && back <= first; i += few) {
		page_out(more, i, few);
		back = stat_of("written_back_pages");
	}
	met = met && number(COMPRESSOR "decompressing") > 0;
	comp_put("wake", 1);
	ktap_ok(met && back > first, "pages are written back while the oldest one is loaded");
	pthread_join(reader, NULL);
	stay_on(-1);
	ktap_ok(!wrong && set_right(old) && set_right(more), "and every page is right");
}

/* Writeback is decompressing: begun by another thread, which has to make room */
static int writeback_is_slow(pthread_t *writer, struct set *old, struct set *more)
{
	int met;

	set_write(old, 0, old->pages);
	set_write(more, 0, more->pages);
	page_out(old, 0, old->pages);
	comp_put("decompress_delay_ms", 1000 * factor());
	begin(writer, out_thread, more, NULL);
	met = somebody_is("decompressing");
	comp_put("decompress_delay_ms", 0);
	return met;
}

static void meet_new_contents(struct set *old, struct set *more)
{
	pthread_t writer;
	int met;

	met = writeback_is_slow(&writer, old, more);
	/* the slots go, as far as writeback lets them, and come back with other pages */
	set_drop(old, 0, old->pages);
	set_write(old, 0, old->pages);
	page_out(old, 0, old->pages);
	pthread_join(writer, NULL);
	ktap_ok(met, "slots are freed and used again while one is decompressed for writeback");
	ktap_ok(set_right(old) && set_right(more), "and every page is right");
}

static void meet_readers(struct set *old, struct set *more)
{
	pthread_t writer;
	int met;

	met = writeback_is_slow(&writer, old, more);
	ktap_ok(met && set_right(old), "pages are read while one is decompressed for writeback");
	pthread_join(writer, NULL);
	ktap_ok(set_right(more), "and every page is right");
}

static void meet_off(struct set *old, struct set *more)
{
	pthread_t writer;
	int met, off;

	met = writeback_is_slow(&writer, old, more);
	off = !swapoff(SWAP);
	pthread_join(writer, NULL);
	ktap_ok(met && off, "swap off while a page is decompressed for writeback");
	ktap_ok(set_right(old) && set_right(more), "and every page is right");
	ktap_ok(all_gone(), "and nothing stays");
	swap_on(SWAP);
}

/* A store is compressing with a pool that is no longer the current one then */
static void meet_other_pool(struct set *old)
{
	pthread_t writer;
	int met;

	set_write(old, 0, old->pages);
	comp_put("compress_delay_ms", 50);
	begin(&writer, out_thread, old, NULL);
	met = somebody_is("compressing");
	for (int i = 0; i < 4; i++) {
		must_param("compressor", i % 2 ? "test-acomp" : "lzo");
		must_param("zpool", i % 2 ? "zsmalloc" : "zbud");
	}
	comp_put("compress_delay_ms", 0);
	pthread_join(writer, NULL);
	ktap_ok(met, "compressor and zpool change while a page is compressed");
	ktap_ok(set_right(old), "and every page is right");
	/* pools go when nothing is in them */
	ktap_ok(zsmalloc_pools() <= 1, "%d pools in zsmalloc", zsmalloc_pools());
}

static int run_compressor(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct set set, old, more;

	ktap_plan(9 + 2 + 2 + 2 + 3 + 3 + 3);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "test-acomp", 3);
	swap_on(SWAP);
	set = set_new(64, 1, HARD);
	old = set_new(pool_pages() * 3 / 4, 2, HARD);
	more = set_new(pool_pages(), 3, HARD);
	if (sigaction(SIGBUS, &action, NULL))
		ktap_bail("sigaction");

	meet_failure(&set, &more);
	meet_writeback(&old, &more);
	meet_readers(&old, &more);
	meet_new_contents(&old, &more);
	meet_off(&old, &more);
	meet_other_pool(&old);

	/* what is not in memory, and cannot be decompressed, is lost with its device */
	set_write(&set, 0, set.pages);
	page_out(&set, 0, set.pages);
	comp_put("decompress_fail", 1);
	ktap_ok(!swapoff(SWAP), "swap off while nothing can be decompressed");
	comp_put("decompress_fail", 0);
	ktap_ok(can_access_all(&set, 0, set.pages) == 0, "what was in zswap is SIGBUS");
	set_free(&set);
	set_free(&old);
	set_free(&more);
	ktap_ok(all_gone(), "nothing stays when swap is off");
	dm_remove();
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "disk", run_disk },
		{ "reads", run_reads },
		{ "memory", run_memory },
		{ "compressor", run_compressor },
		{ NULL, NULL },
	};

	return run_job(argc, argv, jobs, &disk);
}
