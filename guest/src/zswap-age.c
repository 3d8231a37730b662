// SPDX-License-Identifier: GPL-2.0
/*
 * zswap-age: the oldest pages go to the disk, whatever the allocator
 *
 *	zswap-age DISK ZPOOL...
 *
 * Writes a cold set, then a hot set that fits in memory and zswap's pool
 * together, and reads the hot set: its faults must be served by zswap. The cold
 * set must come from the disk. Prints KTAP, and how the faults were served.
 */
#define _GNU_SOURCE
#include "zswap.h"

#define COMPRESSED	1200	/* a third of a page at the most: 3 fit in z3fold's */
#define PERCENT		12
#define ROUNDS		1

struct counts {
	long long disk, zswap, out, back, inverted, refused;
};

static struct counts counts_now(void)
{
	return (struct counts){
		.disk = event("pswpin"), .zswap = event("zswpin"), .out = event("pswpout"),
		.back = stat_of("written_back_pages"), .inverted = stat_of("age_inversions"),
		.refused = refusals(),
	};
}

static void try_zpool(const char *disk, const char *zpool)
{
	unsigned long room, wrong = 0;
	struct counts start, before, after;
	struct set cold, hot;
	double began;
	char name[64];

	zswap_set_up(zpool, "lzo", PERCENT);
	swap_on(disk);
	room = free_pages();
	/* the hot set exceeds what is free without the pool, but by less than
	 * two thirds of the pages that the pool can hold
	 */
	cold = set_new(room * 85 / 100, 1, COMPRESSED);
	hot = set_new(room - total_pages() * PERCENT / 100 * 4 / 10, 2, COMPRESSED);

	start = counts_now();
	began = now();
	set_write(&cold, 0, cold.pages);
	set_write(&hot, 0, hot.pages);
	snprintf(name, sizeof(name), "%s_fill_time", zpool);
	note_value(name, now() - began, "s");

	before = counts_now();
	began = now();
	for (int i = 0; i < ROUNDS; i++)
		wrong += set_wrong(&hot, 0, hot.pages);
	after = counts_now();
	snprintf(name, sizeof(name), "%s_hot_time", zpool);
	note_value(name, now() - began, "s");
	ktap_note("%s: cold %lu pages, hot %lu pages, pool %lld bytes with %lld pages", zpool,
		  cold.pages, hot.pages, stat_of("pool_total_size"), stat_of("stored_pages"));
	ktap_note("%s: hot faults: %lld from the disk, %lld from zswap", zpool,
		  after.disk - before.disk, after.zswap - before.zswap);
	ktap_note("%s: %lld written back, %lld written to the disk, %lld inversions, %lld refused",
		  zpool, after.back - start.back, after.out - start.out,
		  after.inverted - start.inverted, after.refused - start.refused);
	ktap_ok(wrong == 0, "%s: every byte of the hot set is right", zpool);
	ktap_ok(after.zswap - before.zswap > (long long)hot.pages / 100 &&
		(after.disk - before.disk) * 20 <= after.zswap - before.zswap,
		"%s: the hot set's faults are served by zswap", zpool);
	ktap_ok(after.refused == start.refused, "%s: no store is refused", zpool);

	before = counts_now();
	wrong = set_wrong(&cold, 0, cold.pages);
	after = counts_now();
	ktap_note("%s: cold faults: %lld from the disk, %lld from zswap", zpool,
		  after.disk - before.disk, after.zswap - before.zswap);
	ktap_ok(wrong == 0, "%s: every byte of the cold set is right", zpool);
	ktap_ok(after.disk - before.disk > (long long)cold.pages / 2,
		"%s: the cold set comes from the disk", zpool);

	set_free(&cold);
	set_free(&hot);
	if (swapoff(disk))
		ktap_bail("swapoff");
	ktap_ok(all_gone(), "%s: nothing stays in zswap when swap is off", zpool);
}

int main(int argc, char **argv)
{
	ktap_usage(argc, argv, argc >= 3, "zswap-age DISK ZPOOL...");
	ktap_plan(6 * (argc - 2));
	for (int i = 2; i < argc; i++)
		try_zpool(argv[1], argv[i]);
	return ktap_end();
}
