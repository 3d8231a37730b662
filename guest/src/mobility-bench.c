// SPDX-License-Identifier: GPL-2.0
/*
 * mobility-bench: what page mobility costs, and what it brings
 *
 *	mobility-bench lru|move|still|readers|blocks CORPUS
 *
 * lru: memory full of anonymous pages, every other one of them freed, is
 * compacted; the ticks of the time stamp counter for each page that was migrated,
 * which are instructions under scripts/boot --icount. move: the same for pages that
 * move_pages() sends from one node to the other and back.
 *
 * still and readers: zram holds 65 % of memory, half of it is discarded at random
 * and zram is compacted, and with two readers looping over the rest, or without,
 * huge pages are asked for; then all memory is compacted, and it is counted how much
 * of what is free is in large blocks. blocks: in the same state, without the readers
 * and then with them, each movable block of memory is taken offline and back, several
 * times, and the area of CMA is allocated in pieces of a megabyte.
 *
 * Prints KTAP, and lines "# value NAME NUMBER UNIT".
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <pthread.h>
#include <signal.h>
#include <x86intrin.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>

#include "zram.h"
#include "zswap.h"

#define DEVICE		"/dev/zram0"
#define HUGE_PAGE	(512 * PAGE)
#define COMPACT		"/proc/sys/vm/compact_memory"
#define ROUNDS		5
#define BLOCKS		"/sys/devices/system/memory/"
#define CMA		"/sys/kernel/debug/cma/"
#define CMA_PIECE	256	/* pages */
#define OFFLINE_TIME	20	/* seconds; the kernel itself tries for ever */

static const char *corpus_path;
static int corpus;

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void *map(unsigned long bytes)
{
	unsigned char *at = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		ktap_bail("%lu bytes", bytes);
	return at + (HUGE_PAGE - (unsigned long)at % HUGE_PAGE) % HUGE_PAGE;
}

/* ---- pages of the LRU alone ---- */

static int run_lru(void)
{
	unsigned long pages = free_pages() * 7 / 10, moved, wrong = 0;
	unsigned char *memory = map(pages * PAGE);
	double cost[ROUNDS];
	unsigned long long start;

	ktap_plan(1);
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned long i = 0; i < pages; i++)
			*(unsigned long *)(memory + i * PAGE) = i + 1;
		for (unsigned long i = 0; i < pages; i++)
			if (random() % 2)
				madvise(memory + i * PAGE, PAGE, MADV_DONTNEED);
		moved = event("pgmigrate_success");
		start = __rdtsc();
		must_put(COMPACT, "1");
		cost[round] = __rdtsc() - start;
		moved = event("pgmigrate_success") - moved;
		if (!moved)
			ktap_bail("nothing was moved");
		ktap_note("%lu pages moved", moved);
		cost[round] /= moved;
		for (unsigned long i = 0; i < pages; i++) {
			unsigned long is = *(unsigned long *)(memory + i * PAGE);

			wrong += is && is != i + 1;
		}
	}
	qsort(cost, ROUNDS, sizeof(*cost), by_size);
	note_value("lru_page", cost[ROUNDS / 2], "instructions");
	ktap_ok(!wrong, "every page is right");
	return ktap_end();
}

/* ---- from node to node ---- */

static double move_to(int node, unsigned char *memory, unsigned long pages)
{
	unsigned long long start, cost;
	void **at = malloc(pages * sizeof(*at));
	int *nodes = malloc(pages * sizeof(*nodes)), *status = malloc(pages * sizeof(*status));
	unsigned long moved = 0;

	if (!at || !nodes || !status)
		ktap_bail("memory");
	for (unsigned long i = 0; i < pages; i++) {
		at[i] = memory + i * PAGE;
		nodes[i] = node;
		status[i] = -1;
	}
	start = __rdtsc();
	if (syscall(SYS_move_pages, 0, pages, at, nodes, status, MPOL_MF_MOVE) < 0)
		ktap_bail("move_pages");
	cost = __rdtsc() - start;
	for (unsigned long i = 0; i < pages; i++)
		moved += status[i] == node;
	ktap_note("%lu of %lu pages moved to node %d", moved, pages, node);
	if (moved < pages * 99 / 100)
		ktap_bail("they stay where they are");
	free(at);
	free(nodes);
	free(status);
	return (double)cost / moved;
}

static int run_move(void)
{
	unsigned long pages = free_pages() / 5, first = 1, wrong = 0;
	unsigned char *memory = map(pages * PAGE);
	double cost[2 * ROUNDS];

	ktap_plan(1);
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
	if (syscall(SYS_mbind, memory, pages * PAGE, MPOL_PREFERRED, &first, 64, 0))
		ktap_bail("mbind");
	for (unsigned long i = 0; i < pages; i++)
		*(unsigned long *)(memory + i * PAGE) = i + 1;
	for (int i = 0; i < 2 * ROUNDS; i++)
		cost[i] = move_to(!(i % 2), memory, pages);
	for (unsigned long i = 0; i < pages; i++)
		wrong += *(unsigned long *)(memory + i * PAGE) != i + 1;
	qsort(cost, 2 * ROUNDS, sizeof(*cost), by_size);
	note_value("moved_page", (cost[ROUNDS - 1] + cost[ROUNDS]) / 2, "instructions");
	ktap_ok(!wrong, "every page is right");
	return ktap_end();
}

/* ---- memory full of zram ---- */

static volatile bool stop;
static unsigned long zram_pages;
static unsigned char *kept;

static void *reader(void *arg)
{
	unsigned int seed = (unsigned long)arg;
	unsigned char *page;
	int fd = open(DEVICE, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || posix_memalign((void **)&page, PAGE, PAGE))
		ktap_bail(DEVICE);
	while (!stop) {
		unsigned long i = rand_r(&seed) % zram_pages;

		if (kept[i] && pread(fd, page, PAGE, i * PAGE) != (ssize_t)PAGE)
			ktap_bail("a read");
	}
	close(fd);
	free(page);
	return NULL;
}

static pthread_t readers[2];

static void start_readers(void)
{
	for (unsigned long t = 0; t < 2; t++)
		if (pthread_create(&readers[t], NULL, reader, (void *)(t + 1)))
			ktap_bail("a thread");
}

static void stop_readers(void)
{
	stop = true;
	for (unsigned long t = 0; t < 2; t++)
		pthread_join(readers[t], NULL);
}

static void fill_zram(void)
{
	unsigned long in_corpus = lseek(corpus, 0, SEEK_END) / PAGE;
	long long want = total_pages() * PAGE * 65 / 100;
	unsigned char *page;
	int fd;

	must_put(ZRAM "comp_algorithm", "lzo-rle");
	must_put(ZRAM "disksize", "4G");
	fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign((void **)&page, PAGE, PAGE))
		ktap_bail(DEVICE);
	while (zram_pages % 64 || zram_stat("mm_stat", MM_USED) < want) {
		if (pread(corpus, page, PAGE, zram_pages % in_corpus * PAGE) != (ssize_t)PAGE ||
		    pwrite(fd, page, PAGE, zram_pages * PAGE) != (ssize_t)PAGE)
			ktap_bail("a write");
		zram_pages++;
	}
	kept = malloc(zram_pages);
	if (!kept)
		ktap_bail("memory");
	srandom(1);
	for (unsigned long i = 0; i < zram_pages; i++) {
		unsigned long long range[2] = { i * PAGE, PAGE };

		kept[i] = random() % 2;
		if (!kept[i] && ioctl(fd, BLKDISCARD, range))
			ktap_bail("BLKDISCARD");
	}
	close(fd);
	free(page);
}

static unsigned long zram_wrong(void)
{
	unsigned long in_corpus = lseek(corpus, 0, SEEK_END) / PAGE, wrong = 0;
	unsigned char *is, *should;
	int fd = open(DEVICE, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd < 0 || posix_memalign((void **)&is, PAGE, PAGE) ||
	    posix_memalign((void **)&should, PAGE, PAGE))
		ktap_bail(DEVICE);
	for (unsigned long i = 0; i < zram_pages; i++) {
		if (kept[i])
			wrong += pread(fd, is, PAGE, i * PAGE) != (ssize_t)PAGE ||
				 pread(corpus, should, PAGE, i % in_corpus * PAGE) !=
				 (ssize_t)PAGE || memcmp(is, should, PAGE);
	}
	close(fd);
	return wrong;
}

/* How many free pages are in blocks of at least this order */
static void note_free_blocks(void)
{
	unsigned long blocks[11] = {};
	static const int orders[] = { 2, 3, 4, 9 };
	char line[256], name[32];
	FILE *f = fopen("/proc/buddyinfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "zone");

		/* the zone's name may end in a number */
		if (!at || sscanf(at, "zone %31s", name) != 1)
			continue;
		at = strstr(at, name) + strlen(name);
		for (int order = 0; order < 11; order++) {
			unsigned long n = strtoul(at, &at, 10);

			blocks[order] += n;
		}
	}
	if (f)
		fclose(f);
	for (unsigned int i = 0; i < sizeof(orders) / sizeof(*orders); i++) {
		unsigned long in = 0;

		for (int order = orders[i]; order < 11; order++)
			in += blocks[order] << order;
		snprintf(name, sizeof(name), "free_in_order_%d", orders[i]);
		note_value(name, in, "pages");
	}
}

static int measure_zram(bool with_readers)
{
	long long got, not_got, moved, failed;
	unsigned char *memory;
	unsigned long pages;

	ktap_plan(1);
	/* off by default where memory is small */
	must_put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	must_put("/sys/kernel/mm/transparent_hugepage/defrag", "always");
	fill_zram();
	if (with_readers)
		start_readers();

	/* what the discarded pages have left is free only now, all over the memory */
	must_put(ZRAM "compact", "1");
	pages = total_pages() / 4 / 512;
	memory = map(pages * HUGE_PAGE);
	madvise(memory, pages * HUGE_PAGE, MADV_HUGEPAGE);
	got = event("thp_fault_alloc");
	not_got = event("thp_fault_fallback");
	for (unsigned long i = 0; i < pages; i++)
		memory[i * HUGE_PAGE] = 1;
	got = event("thp_fault_alloc") - got;
	not_got = event("thp_fault_fallback") - not_got;
	if (got + not_got <= 0)
		ktap_bail("nobody has asked for a huge page");
	note_value("huge_pages", 100.0 * got / (got + not_got), "%");
	ktap_note("%lld huge pages, %lld times none", got, not_got);
	madvise(memory, pages * HUGE_PAGE, MADV_DONTNEED);

	moved = event("pgmigrate_success");
	failed = event("pgmigrate_fail");
	must_put(COMPACT, "1");
	note_value("migrated", event("pgmigrate_success") - moved, "pages");
	note_value("not_migrated", event("pgmigrate_fail") - failed, "pages");
	note_value("free", free_pages(), "pages");
	note_free_blocks();
	if (with_readers)
		stop_readers();
	ktap_ok(!zram_wrong(), "every byte is right");
	return ktap_end();
}

static int run_still(void)
{
	return measure_zram(false);
}

static int run_readers(void)
{
	return measure_zram(true);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Is what FILE holds WORD? */
static bool reads(const char *file, const char *word)
{
	char text[64] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		ktap_bail("%s", file);
	close(fd);
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, word);
}

/* Takes each block of the movable zones offline, and back */
static void note_blocks(const char *when)
{
	unsigned int tried = 0, gone = 0;
	struct dirent *entry;
	double start = now();
	char file[512], name[64];

	for (int round = 0; round < ROUNDS; round++) {
		DIR *dir = opendir(BLOCKS);

		while (dir && (entry = readdir(dir))) {
			int error;

			if (strncmp(entry->d_name, "memory", 6))
				continue;
			snprintf(file, sizeof(file), BLOCKS "%s/valid_zones", entry->d_name);
			if (!reads(file, "Movable"))
				continue;
			snprintf(file, sizeof(file), BLOCKS "%s/state", entry->d_name);
			tried++;
			alarm(OFFLINE_TIME);
			error = put(file, "offline");
			alarm(0);
			if (error) {
				ktap_note("%s: %s", entry->d_name, strerror(error));
				continue;
			}
			gone++;
			must_put(file, "online_movable");
		}
		if (dir)
			closedir(dir);
	}
	if (!tried)
		ktap_bail("no block is movable");
	snprintf(name, sizeof(name), "%s:_blocks_offlined", when);
	note_value(name, 100.0 * gone / tried, "%");
	ktap_note("%u of %u blocks in %.2f s", gone, tried, now() - start);
}

/* Allocates the area of CMA in pieces, and gives it back */
static void note_cma(const char *when)
{
	char area[300] = "", file[400], name[64], pages[16];
	DIR *dir = opendir(CMA);
	struct dirent *entry;
	unsigned int got = 0;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			snprintf(area, sizeof(area), CMA "%s", entry->d_name);
	if (dir)
		closedir(dir);
	if (!area[0])
		ktap_bail("there is no area of CMA");
	snprintf(file, sizeof(file), "%s/alloc", area);
	snprintf(pages, sizeof(pages), "%u", CMA_PIECE);
	while (!put(file, pages))
		got++;
	snprintf(name, sizeof(name), "%s:_CMA_allocated", when);
	note_value(name, got * CMA_PIECE * PAGE / MIB, "MiB");
	snprintf(file, sizeof(file), "%s/free", area);
	snprintf(pages, sizeof(pages), "%u", got * CMA_PIECE);
	if (got)
		must_put(file, pages);
}

static int run_blocks(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	sigset_t alarms;

	ktap_plan(1);
	/* for this thread, whose write the alarm is to end */
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	fill_zram();
	must_put(ZRAM "compact", "1");
	note_blocks("still");
	note_cma("still");
	pthread_sigmask(SIG_BLOCK, &alarms, NULL);
	start_readers();
	pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
	note_blocks("readers");
	note_cma("readers");
	stop_readers();
	ktap_ok(!zram_wrong(), "every byte is right");
	return ktap_end();
}

int main(int argc, char **argv)
{
	static const struct job jobs[] = {
		{ "lru", run_lru }, { "move", run_move }, { "still", run_still },
		{ "readers", run_readers }, { "blocks", run_blocks }, { NULL, NULL },
	};

	if (argc == 3) {
		corpus = open(argv[2], O_RDONLY | O_CLOEXEC);
		if (corpus < 0)
			ktap_bail("%s", argv[2]);
	}
	return run_job(argc, argv, jobs, &corpus_path);
}
