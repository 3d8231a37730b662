// SPDX-License-Identifier: GPL-2.0
/*
 * zsbench: one measurement of one kernel's zsmalloc, see README.md
 *
 * usage: zsbench [-s SEED] [-t MILLISECONDS] [-n OBJECTS] [-c CYCLES] SIZES MODE
 *		[ARGUMENT...]
 *
 *   single                        one thread: ns an object for a cycle of
 *                                 free, malloc, write and read in a full pool,
 *                                 and for malloc, write, read, free by themselves
 *   threads N [all|same-class|read]  N threads, objects of their own: million
 *                                 cycles (read: reads) a second of all together
 *   latency [idle|compact]        ns of a read: median, p99, p99.9, longest;
 *                                 and how many thousand reads were measured
 *   density MIB                   MiB stored; pages used for that, with half of
 *                                 it freed, and then compacted
 *   compact MIB                   with half freed: thousand objects moved a
 *                                 second, thousand pages freed a second, objects
 *                                 moved, pages freed
 *
 * SIZES has a number a line. Sizes of objects are drawn from it at random; what
 * zs_huge_class_size() calls huge is stored as a page, as zram does. Prints one
 * line of numbers. Exits with 1 if contents are wrong or the shim complained,
 * with 2 on bad usage, with 3 if there are fewer CPUs than threads.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "adapter.h"
#include "runtime.h"

#define PAGE		4096
#define MAX_PAGES	(1UL << 18)	/* 1 GiB */

struct obj {
	unsigned long handle;
	unsigned int len;
	unsigned int off;	/* of its content in the pattern */
};

static struct zs_pool *pool;
static uint64_t seed = 1;
static long millis = 1000, fixed_cycles;
static long nr_objs;

/* Random numbers: xorshift, with a multiplication at the end */
static uint64_t rnd(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static unsigned int below(uint64_t *state, unsigned int n)
{
	return (rnd(state) >> 32) * n >> 32;
}

static uint64_t rnd_init(unsigned int stream)
{
	uint64_t state = (seed * 64 + stream + 1) * 0x9e3779b97f4a7c15ULL;

	rnd(&state);
	return state;
}

static void shuffle(unsigned int *order, unsigned int n, uint64_t *rng)
{
	unsigned int i, j, tmp;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i > 1; i--) {
		j = below(rng, i);
		tmp = order[i - 1];
		order[i - 1] = order[j];
		order[j] = tmp;
	}
}

/* Time */
static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* A clock for short times; everything before it is done when it is read */
static inline uint64_t ticks(void)
{
#ifdef __x86_64__
	uint64_t t;

	__builtin_ia32_lfence();
	t = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return t;
#else
	return now_ns();
#endif
}

/* Sizes */
static unsigned int *sizes;
static unsigned int nr_sizes;
static unsigned int median_size;
static double mean_size;
static unsigned int huge_size = PAGE;	/* stored as a page, from this on */

static int cmp_uint(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return (x > y) - (x < y);
}

static void load_sizes(const char *name)
{
	FILE *file = fopen(name, "r");
	unsigned int size, room = 0;
	double sum = 0;

	if (!file)
		rt_die("%s: %s", name, strerror(errno));
	while (fscanf(file, "%u", &size) == 1) {
		if (size < 1 || size > PAGE)
			rt_die("%s: no size of an object: %u", name, size);
		if (nr_sizes == room) {
			room = room ? 2 * room : 1024;
			sizes = realloc(sizes, room * sizeof(*sizes));
			if (!sizes)
				rt_die("out of memory");
		}
		sizes[nr_sizes++] = size;
		sum += size;
	}
	if (!feof(file) || !nr_sizes)
		rt_die("%s: not a list of numbers", name);
	fclose(file);
	mean_size = sum / nr_sizes;
	/* the order of the list is of no importance */
	qsort(sizes, nr_sizes, sizeof(*sizes), cmp_uint);
	median_size = sizes[nr_sizes / 2];
}

/* Contents: pieces of a random pattern, of which the sums are known */
#define PATTERN		(16 << 10)

static union {
	uint64_t words[(PATTERN + PAGE) / 8];
	unsigned char bytes[PATTERN + PAGE];
} pattern;
static uint64_t sum_before[(PATTERN + PAGE) / 8 + 1];

static void make_pattern(void)
{
	uint64_t rng = rnd_init(63);
	unsigned int i;

	for (i = 0; i < (PATTERN + PAGE) / 8; i++) {
		pattern.words[i] = rnd(&rng);
		sum_before[i + 1] = sum_before[i] + pattern.words[i];
	}
}

static uint64_t sum_tail(const unsigned char *p, unsigned int len)
{
	uint64_t sum = 0;

	while (len--)
		sum += *p++;
	return sum;
}

static uint64_t sum_of(const void *data, unsigned int len)
{
	const unsigned char *p = data;
	uint64_t word, sum = 0;
	unsigned int i;

	for (i = 0; i + 8 <= len; i += 8) {
		memcpy(&word, p + i, 8);
		sum += word;
	}
	return sum + sum_tail(p + i, len - i);
}

static uint64_t sum_expected(const struct obj *obj)
{
	unsigned int end = obj->off + (obj->len & ~7U);

	return sum_before[end / 8] - sum_before[obj->off / 8] +
		sum_tail(pattern.bytes + end, obj->len & 7);
}

static void choose_content(struct obj *obj, unsigned int len, uint64_t *rng)
{
	obj->len = len >= huge_size ? PAGE : len;
	obj->off = below(rng, PATTERN / 8) * 8;
}

static void write_obj(struct obj *obj)
{
	zb_write(pool, obj->handle, pattern.bytes + obj->off, obj->len);
}

static uint64_t read_obj(struct obj *obj, void *copy)
{
	void *data = zb_read_begin(pool, obj->handle, obj->len, copy);
	uint64_t sum = sum_of(data, obj->len);

	zb_read_end(pool, obj->handle, data, copy);
	return sum;
}

static void check_obj(struct obj *obj, void *copy)
{
	if (read_obj(obj, copy) != sum_expected(obj))
		rt_die("an object of %u bytes has wrong contents", obj->len);
}

static unsigned int any_size(uint64_t *rng)
{
	return sizes[below(rng, nr_sizes)];
}

static void new_obj(struct obj *obj, unsigned int len, uint64_t *rng)
{
	choose_content(obj, len, rng);
	obj->handle = zb_malloc(pool, obj->len);
	write_obj(obj);
}

static struct obj *alloc_objs(long n)
{
	return rt_alloc(n * sizeof(struct obj));
}

/* Threads, each on a CPU of its own */
static cpu_set_t usable;

static void need_cpus(int n)
{
	if (CPU_COUNT(&usable) < n) {
		fprintf(stderr, "zsbench: %d threads need as many CPUs\n", n);
		exit(3);
	}
}

static void be_thread(unsigned int id)
{
	unsigned int cpu, nth = 0;
	cpu_set_t set;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &usable) && nth++ == id)
			break;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		rt_die("cannot go to CPU %u", cpu);
	shim_thread_init(id);
}

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

static pthread_t start_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg))
		rt_die("cannot start a thread");
	return thread;
}

/* single */

/* A profiler looks at what is below this, and at nothing else */
static __attribute__((__noinline__)) void cycle(struct obj *obj, uint64_t *rng, unsigned char *copy)
{
	zb_free(pool, obj->handle);
	new_obj(obj, any_size(rng), rng);
	check_obj(obj, copy);
}

static void single(void)
{
	static unsigned char copy[PAGE];
	long n = nr_objs ? nr_objs : 20000, i;
	struct obj *objs = alloc_objs(n);
	unsigned int *order = malloc(n * sizeof(*order));
	uint64_t rng = rnd_init(0), sum = 0, expected = 0;
	uint64_t t[8], cycles = 0;

	if (!order)
		rt_die("out of memory");
	shuffle(order, n, &rng);
	for (i = 0; i < n; i++) {
		choose_content(&objs[i], any_size(&rng), &rng);
		expected += sum_expected(&objs[i]);
	}

	t[0] = now_ns();
	for (i = 0; i < n; i++)
		objs[i].handle = zb_malloc(pool, objs[i].len);
	t[1] = now_ns();
	for (i = 0; i < n; i++)
		write_obj(&objs[i]);
	t[2] = now_ns();
	for (i = 0; i < n; i++)
		sum += read_obj(&objs[order[i]], copy);
	t[3] = now_ns();
	if (sum != expected)
		rt_die("contents are wrong");

	/* the pool as it is after a while, and not as it was filled */
	t[4] = now_ns();
	do {
		for (i = 0; i < 1000; i++)
			cycle(&objs[below(&rng, n)], &rng, copy);
		cycles += 1000;
		t[5] = now_ns();
	} while (fixed_cycles ? cycles < (uint64_t)fixed_cycles :
		 t[5] - t[4] < 1000000ULL * millis);

	for (i = 0; i < n; i++)
		check_obj(&objs[i], copy);

	t[6] = now_ns();
	for (i = 0; i < n; i++)
		zb_free(pool, objs[order[i]].handle);
	t[7] = now_ns();
	printf("%.2f %.2f %.2f %.2f %.2f\n",
	       (double)(t[5] - t[4]) / cycles, (double)(t[1] - t[0]) / n,
	       (double)(t[2] - t[1]) / n, (double)(t[3] - t[2]) / n,
	       (double)(t[7] - t[6]) / n);
	free(order);
	rt_free(objs);
}

/* threads */
enum kind { ALL, SAME_CLASS, READ };

struct worker {
	unsigned int id;
	enum kind kind;
	double rate;	/* operations a ns */
	struct obj *objs;
} __attribute__((__aligned__(64)));

static pthread_barrier_t start;

static unsigned int size_for(struct worker *w, uint64_t *rng)
{
	return w->kind == SAME_CLASS ? median_size : any_size(rng);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	long n = nr_objs ? nr_objs : 4096, i;
	uint64_t rng = rnd_init(w->id), ops = 0, from;
	unsigned char copy[PAGE];

	be_thread(w->id);
	w->objs = alloc_objs(n);
	for (i = 0; i < n; i++)
		new_obj(&w->objs[i], size_for(w, &rng), &rng);

	pthread_barrier_wait(&start);
	from = now_ns();
	while (!stopped()) {
		struct obj *obj = &w->objs[below(&rng, n)];

		if (w->kind != READ) {
			zb_free(pool, obj->handle);
			new_obj(obj, size_for(w, &rng), &rng);
		}
		check_obj(obj, copy);
		ops++;
	}
	w->rate = (double)ops / (now_ns() - from);
	pthread_barrier_wait(&start);

	for (i = 0; i < n; i++) {
		check_obj(&w->objs[i], copy);
		zb_free(pool, w->objs[i].handle);
	}
	rt_free(w->objs);
	return NULL;
}

static void threads(int n, enum kind kind)
{
	static struct worker workers[RT_MAX_THREADS];
	pthread_t ids[RT_MAX_THREADS];
	double rate = 0;
	int i;

	need_cpus(n);
	pthread_barrier_init(&start, NULL, n + 1);
	for (i = 0; i < n; i++) {
		workers[i].id = i;
		workers[i].kind = kind;
		ids[i] = start_thread(work, &workers[i]);
	}
	pthread_barrier_wait(&start);
	sleep_ms(millis);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_barrier_wait(&start);
	for (i = 0; i < n; i++) {
		pthread_join(ids[i], NULL);
		rate += workers[i].rate;
	}
	printf("%.4f\n", rate * 1000);
}

/* latency */
#define MAX_SAMPLES	(4L << 20)

static struct {
	struct obj *objs;
	long n;
} mine, theirs;

static int compacting __attribute__((__aligned__(64)));

static void *compactor(void *arg)
{
	unsigned char copy[PAGE];
	uint64_t rng = rnd_init(2);
	long i, n = theirs.n;
	bool *freed = rt_alloc(n * sizeof(*freed));

	(void)arg;
	be_thread(1);
	pthread_barrier_wait(&start);
	while (!stopped()) {
		for (i = 0; i < n; i++) {
			freed[i] = below(&rng, 2);
			if (freed[i])
				zb_free(pool, theirs.objs[i].handle);
		}
		__atomic_store_n(&compacting, 1, __ATOMIC_RELAXED);
		zb_compact(pool);
		__atomic_store_n(&compacting, 0, __ATOMIC_RELAXED);
		shim_run_work();
		for (i = 0; i < n; i++)
			if (freed[i])
				new_obj(&theirs.objs[i], any_size(&rng), &rng);
	}
	for (i = 0; i < n; i++)
		check_obj(&theirs.objs[i], copy);
	rt_free(freed);
	return NULL;
}

static void latency(bool compact)
{
	unsigned char copy[PAGE];
	uint64_t rng = rnd_init(1), from, from_ticks, until, a, b;
	unsigned int *samples;
	pthread_t thread = 0;
	double scale;
	long i, n = 0;

	need_cpus(compact ? 2 : 1);
	samples = rt_map(MAX_SAMPLES * sizeof(*samples));
	rt_populate(samples, MAX_SAMPLES * sizeof(*samples));
	mine.n = nr_objs ? nr_objs : 8192;
	theirs.n = 2 * mine.n;
	mine.objs = alloc_objs(mine.n);
	theirs.objs = alloc_objs(theirs.n);
	/* zspages have objects of both */
	for (i = 0; i < mine.n; i++) {
		new_obj(&mine.objs[i], any_size(&rng), &rng);
		new_obj(&theirs.objs[2 * i], any_size(&rng), &rng);
		new_obj(&theirs.objs[2 * i + 1], any_size(&rng), &rng);
	}
	if (compact) {
		pthread_barrier_init(&start, NULL, 2);
		thread = start_thread(compactor, NULL);
		pthread_barrier_wait(&start);
	}

	from = now_ns();
	from_ticks = ticks();
	until = from + 1000000ULL * millis;
	do {
		for (i = 0; i < 64 && n < MAX_SAMPLES; i++) {
			struct obj *obj = &mine.objs[below(&rng, mine.n)];
			uint64_t expected = sum_expected(obj), sum;
			int during;

			during = __atomic_load_n(&compacting, __ATOMIC_RELAXED);
			a = ticks();
			sum = read_obj(obj, copy);
			b = ticks();
			during |= __atomic_load_n(&compacting, __ATOMIC_RELAXED);
			if (sum != expected)
				rt_die("an object has wrong contents");
			if (during || !compact)
				samples[n++] = b - a < UINT32_MAX ? b - a : UINT32_MAX;
		}
	} while (now_ns() < until && n < MAX_SAMPLES);
	scale = (double)(now_ns() - from) / (ticks() - from_ticks);

	if (compact) {
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
	}
	for (i = 0; i < mine.n; i++) {
		check_obj(&mine.objs[i], copy);
		zb_free(pool, mine.objs[i].handle);
	}
	for (i = 0; i < theirs.n; i++)
		zb_free(pool, theirs.objs[i].handle);
	if (n < 1000)
		rt_die("only %ld reads were measured", n);
	qsort(samples, n, sizeof(*samples), cmp_uint);
	printf("%.1f %.1f %.1f %.1f %.1f\n", samples[n / 2] * scale,
	       samples[n * 99 / 100] * scale, samples[n * 999 / 1000] * scale,
	       samples[n - 1] * scale, n / 1000.0);
}

/* density and compact: a pool of which half was freed */
static struct obj *half_objs;
static long nr_half, nr_filled;
static double mib_filled;
static unsigned long pages_full, pages_half;

static void fill_and_free_half(long mib)
{
	uint64_t rng = rnd_init(0);
	unsigned long bytes = 0, target = (unsigned long)mib << 20;
	long room = target / mean_size * 1.2 + 1000, n = 0, i;
	unsigned int *order;

	half_objs = alloc_objs(room);
	while (bytes < target) {
		if (n == room)
			rt_die("objects are smaller than expected");
		unsigned int len = any_size(&rng);

		/* the same objects for all kernels, whatever is huge to them */
		new_obj(&half_objs[n++], len, &rng);
		bytes += len;
	}
	pages_full = zb_pages(pool);
	nr_filled = n;
	mib_filled = bytes / 1048576.0;

	order = malloc(n * sizeof(*order));
	if (!order)
		rt_die("out of memory");
	shuffle(order, n, &rng);
	for (i = 0; i < n / 2; i++) {
		zb_free(pool, half_objs[order[i]].handle);
		half_objs[order[i]].handle = 0;
	}
	free(order);
	for (i = 0; i < n; i++)
		if (half_objs[i].handle)
			half_objs[nr_half++] = half_objs[i];
	shim_run_work();
	pages_half = zb_pages(pool);
}

static void check_and_free_rest(void)
{
	static unsigned char copy[PAGE];
	long i;

	for (i = 0; i < nr_half; i++) {
		check_obj(&half_objs[i], copy);
		zb_free(pool, half_objs[i].handle);
	}
	rt_free(half_objs);
}

static void density(long mib)
{
	fill_and_free_half(mib);
	zb_compact(pool);
	shim_run_work();
	printf("%.3f %lu %lu %lu\n", mib_filled, pages_full, pages_half,
	       zb_pages(pool));
	check_and_free_rest();
}

/* A handle is the address of a word that says where the object is */
static unsigned long place(struct obj *obj)
{
	return *(volatile unsigned long *)obj->handle;
}

static void compact(long mib)
{
	unsigned long *before, from, to, freed;
	long i, moved = 0;

	fill_and_free_half(mib);
	before = rt_alloc(nr_half * sizeof(*before));
	for (i = 0; i < nr_half; i++)
		before[i] = place(&half_objs[i]);

	from = now_ns();
	zb_compact(pool);
	shim_run_work();
	to = now_ns();

	for (i = 0; i < nr_half; i++)
		moved += place(&half_objs[i]) != before[i];
	freed = pages_half - zb_pages(pool);
	printf("%.3f %.3f %ld %lu\n", moved * 1e6 / (to - from),
	       freed * 1e6 / (to - from), moved, freed);
	rt_free(before);
	check_and_free_rest();
}

static void __attribute__((__noreturn__)) bad_usage(void)
{
	fprintf(stderr,
		"usage: zsbench [-s SEED] [-t MILLISECONDS] [-n OBJECTS] [-c CYCLES] SIZES MODE [ARGUMENT...]\n"
		"modes: single; threads N [all|same-class|read]; latency [idle|compact];\n"
		"       density MIB; compact MIB\n");
	exit(2);
}

static long number(const char *s, long max)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s, &end, 10);
	if (errno || end == s || *end || n < 1 || n > max)
		bad_usage();
	return n;
}

int main(int argc, char **argv)
{
	const char *mode, *arg[2] = { NULL, NULL };
	enum kind kind = ALL;
	double mib = 64;
	int opt;

	while ((opt = getopt(argc, argv, "s:t:n:c:")) != -1) {
		switch (opt) {
		case 's':
			seed = number(optarg, 1000000);
			break;
		case 't':
			millis = number(optarg, 1000000);
			break;
		case 'n':
			nr_objs = number(optarg, 1000000);
			break;
		case 'c':
			fixed_cycles = number(optarg, 100000000);
			break;
		default:
			bad_usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 2 || argc > 4)
		bad_usage();
	mode = argv[1];
	if (argc > 2)
		arg[0] = argv[2];
	if (argc > 3)
		arg[1] = argv[3];

	load_sizes(argv[0]);
	make_pattern();
	if (sched_getaffinity(0, sizeof(usable), &usable))
		rt_die("which CPUs are there? %s", strerror(errno));

	if (!strcmp(mode, "density") || !strcmp(mode, "compact")) {
		if (argc != 3)
			bad_usage();
		mib = number(arg[0], 512);
	} else if (nr_objs) {
		mib = nr_objs * 4 * mean_size / 1048576;
	}
	/* zspages are not full, and large objects have a page */
	shim_init(MAX_PAGES, (unsigned long)(mib * 1.3 + 8) << 8);
	be_thread(0);
	pool = zb_create();
	huge_size = zb_huge_size(pool);

	if (!strcmp(mode, "single") && argc == 2) {
		single();
	} else if (!strcmp(mode, "threads") && arg[0]) {
		if (!arg[1] || !strcmp(arg[1], "all"))
			kind = ALL;
		else if (!strcmp(arg[1], "same-class"))
			kind = SAME_CLASS;
		else if (!strcmp(arg[1], "read"))
			kind = READ;
		else
			bad_usage();
		threads(number(arg[0], RT_MAX_THREADS), kind);
	} else if (!strcmp(mode, "latency") && !arg[1]) {
		if (arg[0] && strcmp(arg[0], "idle") && strcmp(arg[0], "compact"))
			bad_usage();
		latency(arg[0] && !strcmp(arg[0], "compact"));
	} else if (!strcmp(mode, "density")) {
		density(number(arg[0], 512));
	} else if (!strcmp(mode, "compact")) {
		compact(number(arg[0], 512));
	} else {
		bad_usage();
	}

	shim_run_work();
	if (zb_pages(pool))
		rt_warn("%lu pages are left in an empty pool", zb_pages(pool));
	zb_destroy(pool);
	if (fflush(stdout) || rt_warned())
		return 1;
	return 0;
}
