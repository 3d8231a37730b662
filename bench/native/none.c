// SPDX-License-Identifier: GPL-2.0
/*
 * A pool that is none: objects lie in memory of their thread, packed, and nothing is
 * shared, locked, looked up or moved. What a measurement takes with it is the copying
 * and reading of the objects, and what two threads gain with it is what the machine
 * has to give: no allocator can do better than that.
 */
#include <shim/shim.h>
#include <linux/module.h>

#include "adapter.h"

#define AREA		(128UL << 20)
#define STEP		16UL
#define NR_SIZES	(PAGE_SIZE / STEP + 2)

struct zs_pool {
	int unused;
};

struct place {
	struct place *next;
};

static __thread struct place *freed[NR_SIZES];
static __thread char *fresh, *end;
static struct zs_pool the_pool;

static unsigned long size_index(unsigned long len)
{
	return (len + STEP - 1) / STEP;
}

static int init(void)
{
	return 0;
}
module_init(init);

struct zs_pool *zb_create(void)
{
	/* so that the first thread has its memory */
	zb_free(&the_pool, zb_malloc(&the_pool, STEP));
	return &the_pool;
}

void zb_destroy(struct zs_pool *pool)
{
	(void)pool;
}

/* In front of an object is its size, for the free */
unsigned long zb_malloc(struct zs_pool *pool, unsigned long len)
{
	unsigned long i = size_index(len + sizeof(long));
	struct place *place = freed[i];

	(void)pool;
	if (place) {
		freed[i] = place->next;
	} else {
		if (!fresh) {
			fresh = rt_map(AREA);
			end = fresh + AREA;
			/* as the shim's pages are: there before it is measured */
			rt_populate(fresh, AREA);
		}
		place = (struct place *)fresh;
		fresh += i * STEP;
		if (fresh > end)
			rt_die("none: too many objects");
	}
	*(unsigned long *)place = i;
	return (unsigned long)place + sizeof(long);
}

void zb_free(struct zs_pool *pool, unsigned long handle)
{
	struct place *place = (void *)(handle - sizeof(long));
	unsigned long i = *(unsigned long *)place;

	(void)pool;
	place->next = freed[i];
	freed[i] = place;
}

void zb_write(struct zs_pool *pool, unsigned long handle, const void *src,
	      unsigned long len)
{
	(void)pool;
	memcpy((void *)handle, src, len);
}

void *zb_read_begin(struct zs_pool *pool, unsigned long handle,
		    unsigned long len, void *copy)
{
	(void)pool;
	(void)len;
	(void)copy;
	return (void *)handle;
}

void zb_read_end(struct zs_pool *pool, unsigned long handle, void *obj,
		 void *copy)
{
	(void)pool;
	(void)handle;
	(void)obj;
	(void)copy;
}

unsigned long zb_compact(struct zs_pool *pool)
{
	(void)pool;
	return 0;
}

unsigned long zb_pages(struct zs_pool *pool)
{
	(void)pool;
	return 0;
}

/* as zsmalloc of 6.1 has it */
unsigned long zb_huge_size(struct zs_pool *pool)
{
	(void)pool;
	return 3257;
}
