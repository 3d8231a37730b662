// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-errors: zswap when something that it needs fails
 *
 *	zswap-errors disk DISK		each write to the disk fails for a while
 *	zswap-errors memory DISK	allocations fail at random (fault injection)
 *
 * Nothing may be lost: what could not be written or stored stays where it is.
 */
#define _GNU_SOURCE
#include <dirent.h>

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
	if (swapoff(SWAP))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "nothing stays when swap is off");
	dm_remove();
	return ktap_end();
}

/* ---- allocations ---- */

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

static int try_fault(const char *fault, struct set *set)
{
	unsigned long part = set->pages / 8;
	int wrong = 0;

	inject(fault, "verbose", "0");
	inject(fault, "ignore-gfp-wait", "N");
	inject(fault, "task-filter", "Y");
	inject(fault, "interval", "1");
	inject(fault, "times", "-1");
	inject(fault, "probability", "20");
	for (int i = 0; i < 8; i++) {
		set_write(set, i * part, part);
		make_fail(1);
		page_out(set, i * part, part);
		wrong += set_wrong(set, i * part / 2, part / 2);
		make_fail(0);
	}
	inject(fault, "probability", "0");
	return wrong + set_wrong(set, 0, set->pages) == 0;
}

static int run_memory(void)
{
	long long before[2], after[2];
	struct set set;

	ktap_plan(5);
	zswap_set_up("zsmalloc", "lzo", 3);
	swap_on(disk);
	set = set_new(pool_pages() * 2, 1, HARD);
	before[0] = stat_of("reject_alloc_fail");
	before[1] = stat_of("reject_kmemcache_fail");
	inject("fail_page_alloc", "ignore-gfp-highmem", "N");
	inject("fail_page_alloc", "min-order", "0");
	ktap_ok(try_fault("failslab", &set), "slab allocations fail: every byte is right");
	ktap_ok(try_fault("fail_page_alloc", &set), "page allocations fail: every byte is right");
	after[0] = stat_of("reject_alloc_fail");
	after[1] = stat_of("reject_kmemcache_fail");
	ktap_note("reject_alloc_fail %lld, reject_kmemcache_fail %lld, written back %lld",
		  after[0] - before[0], after[1] - before[1], stat_of("written_back_pages"));
	ktap_ok(after[1] > before[1], "stores that failed for an entry are counted");
	set_write(&set, 0, set.pages);
	page_out(&set, 0, set.pages);
	ktap_ok(set_right(&set), "every byte is right when nothing fails");
	set_free(&set);
	if (swapoff(disk))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "nothing stays when swap is off");
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "disk", run_disk },
		{ "memory", run_memory },
		{ NULL, NULL },
	};

	return run_job(argc, argv, jobs, &disk);
}
