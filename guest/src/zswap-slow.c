// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-slow: zswap in front of a disk that takes its time to write
 *
 *	zswap-slow bound DISK	never more writebacks in flight than may be
 *	zswap-slow races DISK	what happens to pages that are in flight
 *	zswap-slow congested DISK	stores do not wait for a disk that hangs
 *
 * Device mapper holds each write back, so that writebacks stay in flight and what
 * is to meet them does. A thread reads outstanding_writebacks all the time.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "zswap.h"

#define SWAP		"/dev/dm-0"
#define HARD		1200

static const char *disk;

/* ---- a thread that looks at the number in flight all the time ---- */

static atomic_int sampling;
static atomic_llong most, samples;

static void *sample(void *unused)
{
	(void)unused;
	/* opened anew each time: the file cannot be read from its start again */
	while (atomic_load(&sampling)) {
		long long is = stat_of("outstanding_writebacks");

		if (is > atomic_load(&most))
			atomic_store(&most, is);
		atomic_fetch_add(&samples, 1);
	}
	return NULL;
}

static void set_bound(int bound)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", bound);
	must_param("max_writebacks", text);
}

static void forget_samples(void)
{
	atomic_store(&samples, 0);
	atomic_store(&most, 0);
}

/* As many pages as fill the pool @times times */
static unsigned long pool_pages(double times)
{
	double bytes = stat_of("pool_total_size"), stored = stat_of("stored_pages");
	double limit = total_pages() * PAGE * param_value("max_pool_percent") / 100;
	double each = stored > 100 ? bytes / stored : HARD + 100;

	return limit / each * times;
}

static void wait_until_done(void)
{
	for (int i = 0; i < 1000 && stat_of("outstanding_writebacks") > 0; i++)
		nap_ms(10);
}

/* Wait until the worker has nothing more to write either */
static void wait_until_quiet(void)
{
	long long before, out = event("pswpout");

	do {
		before = out;
		nap_ms(300 * factor());
		wait_until_done();
		out = event("pswpout");
	} while (out != before);
}

/*
 * Page out at most @pages from @at on, a few at a time, until @wanted writebacks
 * are in flight. The worker begins them when it gets to run. Returns how many are.
 */
static long long page_out_until_flying(struct set *set, unsigned long at, unsigned long pages,
				       long long wanted)
{
	const unsigned long few = 8;
	long long flying = 0;

	for (unsigned long done = 0; done + few <= pages && flying < wanted; done += few) {
		page_out(set, at + done, few);
		for (int i = 0; i < 20 && flying < wanted; i++) {
			nap_ms(1);
			flying = stat_of("outstanding_writebacks");
		}
	}
	return flying;
}

static int run_bound(void)
{
	static const int bounds[] = { 1, 4, 32 };
	const unsigned long last = 60;
	unsigned long n = sizeof(bounds) / sizeof(*bounds);
	long long bound, in, out, inverted, refused, flying, left;
	pthread_t sampler;
	unsigned long full, part;
	struct set set;

	ktap_plan(2 * n + 8);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "lzo", 2);
	swap_on(SWAP);
	bound = param_value("max_writebacks");
	note_value("max_writebacks", bound, "writebacks");

	full = pool_pages(1.5);
	part = full / 4;
	set = set_new(full + part * (n + 1), 1, HARD);
	set_write(&set, 0, set.pages);
	out = event("pswpout");
	in = event("zswpout");
	inverted = stat_of("age_inversions");
	refused = refusals();
	page_out(&set, 0, full);
	ktap_ok(stat_of("written_back_pages") > 0, "what is full writes back");
	wait_until_done();
	forget_samples();
	atomic_store(&sampling, 1);
	if (pthread_create(&sampler, NULL, sample, NULL))
		ktap_bail("no thread");

	for (unsigned int i = 0; i < n; i++) {
		double began = now();

		set_bound(bounds[i]);
		dm_slow(disk, 8);
		forget_samples();
		page_out(&set, full + part * i, part);
		dm_good(disk);
		wait_until_done();
		ktap_note("bound %d: at most %lld in %lld looks, %.1f s for %lu pages", bounds[i],
			  (long long)most, (long long)samples, now() - began, part);
		ktap_ok(most <= bounds[i], "never more than %d in flight", bounds[i]);
		ktap_ok(most > bounds[i] / 2, "as many as may be are used, of %d", bounds[i]);
	}

	/*
	 * Lowered while there are more in flight. The pages written back before have
	 * left room within zsmalloc's, which is used up first: how many it takes until
	 * the pool is full again is not known.
	 */
	set_bound(32);
	dm_slow(disk, 1000 * factor());
	flying = page_out_until_flying(&set, set.pages - part, part - last, 3);
	set_bound(2);
	left = stat_of("outstanding_writebacks");
	dm_slow(disk, 300);
	ktap_ok(flying > 2 && left >= 0 && left <= 2,
		"a bound is lowered when the rest is done: %lld, then %lld", flying, left);
	forget_samples();
	page_out(&set, set.pages - last, last);
	ktap_ok(most <= 2 && samples > 0, "a bound that is lowered holds: %lld", (long long)most);
	dm_good(disk);
	wait_until_quiet();
	atomic_store(&sampling, 0);
	pthread_join(sampler, NULL);

	/* a page goes to the disk from zswap, or past it, and then that is counted */
	out = event("pswpout") - out;
	in = event("zswpout") - in;
	inverted = stat_of("age_inversions") - inverted;
	refused = refusals() - refused;
	ktap_note("%lld stored, %lld to the disk, %lld written back, %lld inversions, %lld refused",
		  in, out, stat_of("written_back_pages"), inverted, refused);
	ktap_ok(out == stat_of("written_back_pages") + refused,
		"every page that passed by is counted");
	ktap_ok(inverted <= refused, "so are those that were younger than what stayed");

	ktap_ok(set_right(&set), "every byte is right");
	set_free(&set);
	ktap_swap_off(SWAP);
	dm_remove();
	ktap_ok(stat_of("outstanding_writebacks") == 0, "nothing is in flight");
	return ktap_end();
}

/* ---- races ---- */

static struct set old, new;

/* Write back from the beginning of @old on, in another thread as it may have to wait */
static void *push_thread(void *unused)
{
	(void)unused;
	page_out(&new, 0, new.pages);
	return NULL;
}

static pthread_t pusher;

/* Returns how many are in flight, and stay there for a while. */
static long long open_window(void)
{
	long long flying = 0;
	unsigned long fits;

	dm_good(disk);
	wait_until_done();
	fits = pool_pages(1.0);
	if (!old.at) {
		old = set_new(fits, 1, HARD);
		new = set_new(200, 2, HARD);
	}
	set_write(&old, 0, old.pages);
	set_write(&new, 0, new.pages);
	page_out(&old, 0, old.pages);
	dm_slow(disk, 500 * (factor() > 1 ? 2 : 1));
	if (pthread_create(&pusher, NULL, push_thread, NULL))
		ktap_bail("no thread");
	for (int i = 0; i < 300 && flying <= 0; i++) {
		nap_ms(1);
		flying = stat_of("outstanding_writebacks");
	}
	return flying;
}

static void close_window(void)
{
	dm_good(disk);
	pthread_join(pusher, NULL);
	wait_until_done();
}

static void meet_load(void)
{
	ktap_ok(set_right(&old), "pages in flight that are read are right");
}

static void meet_store(void)
{
	set_write(&old, 0, old.pages);
	page_out(&old, 0, old.pages);
	ktap_ok(set_right(&old), "pages in flight that are written and swapped again are new");
}

static void meet_invalidate(void)
{
	/* the slots are free now, and used again at once */
	set_drop(&old, 0, old.pages);
	set_write(&old, 0, old.pages);
	page_out(&old, 0, old.pages);
	ktap_ok(set_right(&old), "slots that are used again while in flight have the new pages");
}

static void meet_exit(void)
{
	int status, right = 1;
	pid_t pids[4];

	/* children that share the swapped pages, change some, and go */
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		for (unsigned long p = i; p < old.pages; p += 7)
			old.at[p * PAGE + 9] ^= 0xff;
		_exit(0);
	}
	for (int i = 0; i < 4; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			right = 0;
	ktap_ok(right && set_right(&old), "pages in flight whose sharers exit are right");
}

static void meet_pool(void)
{
	int ok = !param("zpool", "zbud") && !param("compressor", "lz4") &&
		 !param("max_pool_percent", "1") && !param("enabled", "0") &&
		 !param("enabled", "1");

	ktap_ok(ok, "parameters change while pages are in flight");
	ktap_ok(set_right(&old), "and the pages are right");
	ok = !param("zpool", "zsmalloc") && !param("compressor", "lzo") &&
	     !param("max_pool_percent", "2");
	ktap_ok(ok, "and change back");
}

/* Written while zswap is off: what zswap has of the page is out of date */
static void meet_disabled(void)
{
	set_write(&old, 0, old.pages);
	must_param("enabled", "0");
	page_out(&old, 0, old.pages);
	must_param("enabled", "1");
	ktap_ok(set_right(&old), "pages in flight that are swapped past zswap are the new ones");
}

static void meet_swapoff(void)
{
	int ok = !swapoff(SWAP);

	ktap_ok(ok, "swap off while pages are in flight");
	ktap_ok(set_right(&old) && set_right(&new), "and every page is right");
	close_window();
	ktap_ok(all_gone(), "and nothing stays");
	swap_on(SWAP);
}

static int run_races(void)
{
	static void (* const races[])(void) = {
		meet_load, meet_store, meet_invalidate, meet_exit, meet_disabled, meet_pool,
	};
	unsigned long n = sizeof(races) / sizeof(*races);
	long long flying;

	/* meet_pool() has three cases, meet_swapoff() four with its window */
	ktap_plan(2 * n + 2 + 4 + 2);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "lzo", 2);
	swap_on(SWAP);
	for (unsigned int i = 0; i < n; i++) {
		double began = now();

		flying = open_window();
		ktap_ok(flying > 0, "%lld pages are in flight", flying);
		races[i]();
		close_window();
		ktap_note("%.1f s", now() - began);
	}
	flying = open_window();
	ktap_ok(flying > 0, "%lld pages are in flight", flying);
	meet_swapoff();
	ktap_ok(set_right(&old) && set_right(&new), "every byte is right in the end");
	set_free(&old);
	set_free(&new);
	ktap_swap_off(SWAP);
	dm_remove();
	return ktap_end();
}

/* ---- a disk that hangs ---- */

#define PLACES	4
#define HUNG	200	/* pages that are swapped out while it does */
#define AFTER	60	/* and after that */

/* How often this thread has gone to sleep of its own accord */
static long sleeps(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		ktap_bail("getrusage");
	return usage.ru_nvcsw;
}

/* What goes to the disk past zswap is refused there, and older pages stay */
struct passed {
	long long refused, inverted, by;
};

static struct passed passed_since(struct passed then)
{
	struct passed is = {
		.refused = refusals() - then.refused,
		.inverted = stat_of("age_inversions") - then.inverted,
		.by = event("pswpout") - stat_of("written_back_pages") - then.by,
	};

	return is;
}

static struct passed passed_now(void)
{
	struct passed none = {};

	return passed_since(none);
}

/*
 * Page out @count pages from @at on while each write takes a while, more of them than
 * there are places. Returns how many were refused.
 */
static long long refused_of(struct set *set, unsigned long at, unsigned long count)
{
	long long before = refusals();

	page_out(set, at, count);
	wait_until_quiet();
	return refusals() - before;
}

static int run_congested(void)
{
	unsigned long full, hung;
	long long flying, refused;
	struct passed passed;
	struct set set;
	long slept;

	ktap_plan(8);
	dm_new();
	dm_good(disk);
	zswap_set_up("zsmalloc", "lzo", 2);
	/* at its limit the pool is left there */
	must_param("accept_threshold_percent", "100");
	swap_on(SWAP);
	full = pool_pages(1.5);
	set = set_new(full + HUNG + AFTER, 1, HARD);
	set_write(&set, 0, set.pages);
	page_out(&set, 0, full);
	wait_until_quiet();
	ktap_ok(stat_of("written_back_pages") > 0, "what is full writes back");

	set_bound(PLACES);
	dm_hold();
	passed = passed_now();
	slept = sleeps();
	/* the few that take all places, one that waits in vain, and those that do not */
	page_out(&set, full, HUNG);
	slept = sleeps() - slept;
	flying = stat_of("outstanding_writebacks");
	hung = passed_since(passed).refused;
	ktap_note("%lu of %d pages refused, %ld sleeps", hung, HUNG, slept);
	ktap_ok(hung > HUNG / 2, "a store is refused while no write ends");
	ktap_ok(flying == PLACES, "as all places are taken: %lld", flying);
	ktap_ok(slept < (long)hung / 4, "and does not wait for what others have waited for");

	/* the new table lets all of it go on; the places were taken by what now ends */
	dm_slow(disk, 8);
	wait_until_quiet();
	passed = passed_since(passed);
	ktap_note("%lld refused, %lld inversions, %lld past zswap", passed.refused, passed.inverted,
		  passed.by);
	ktap_ok(passed.refused == passed.by && passed.inverted == passed.by,
		"each of them went to the disk past older ones, and was counted");

	/* again if the machine stood still for as long as means that the disk hangs */
	for (int tries = 0; tries < 6; tries++) {
		refused = refused_of(&set, full + HUNG, AFTER);
		if (!refused)
			break;
		ktap_note("%lld of %d pages refused", refused, AFTER);
		set_write(&set, full + HUNG, AFTER);
	}
	ktap_ok(refused == 0, "none is refused any more when writes end again");
	dm_good(disk);
	ktap_ok(set_right(&set), "every byte is right");
	set_free(&set);
	ktap_swap_off(SWAP);
	dm_remove();
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "bound", run_bound },
		{ "races", run_races },
		{ "congested", run_congested },
		{ NULL, NULL },
	};

	return run_job(argc, argv, jobs, &disk);
}
