// SPDX-License-Identifier: GPL-2.0
/* User-space substitutes: what of include/shim/ is not inline */
#include <shim/shim.h>

static __thread unsigned int shim_cpu;

/*
 * Spinlocks
 *
 * Each thread waits for one lock at a time, and so has one place in queues.
 */
struct waiter {
	struct waiter *next;
	int first;
} __attribute__((__aligned__(64)));

static struct waiter waiters[RT_MAX_THREADS];

static u32 spin_until_clear(spinlock_t *lock, u32 mask)
{
	u32 word;

	while ((word = smp_load_acquire(&lock->word)) & mask)
		cpu_relax();
	return word;
}

void shim_spin_wait(spinlock_t *lock, u32 word)
{
	struct waiter *self = &waiters[shim_cpu], *prev, *next;
	u16 tail = shim_cpu + 1;
	int patience = 512;

	/* the one who waits is just becoming the holder: it does not take long */
	while (word == SHIM_PENDING && patience--) {
		cpu_relax();
		word = READ_ONCE(lock->word);
	}

	/* the first to wait does so without a queue */
	if (!(word & ~SHIM_LOCKED)) {
		word = __atomic_fetch_or(&lock->word, SHIM_PENDING,
					 __ATOMIC_ACQUIRE);
		if (!(word & ~SHIM_LOCKED)) {
			while (__atomic_load_n(&lock->locked, __ATOMIC_ACQUIRE))
				cpu_relax();
			/* we alone change these two bytes now */
			__atomic_store_n(&lock->locked_pending, SHIM_LOCKED,
					 __ATOMIC_RELAXED);
			return;
		}
		/* others were faster: take back what was not there */
		if (!(word & SHIM_PENDING))
			__atomic_store_n(&lock->pending, 0, __ATOMIC_RELAXED);
	}

	self->next = NULL;
	self->first = 0;
	if (spin_trylock(lock))
		return;

	word = __atomic_exchange_n(&lock->tail, tail, __ATOMIC_ACQ_REL);
	if (word) {
		prev = &waiters[word - 1];
		smp_store_release(&prev->next, self);
		while (!smp_load_acquire(&self->first))
			cpu_relax();
	}

	/* first of the queue: only the holder and the one without queue are before */
	word = spin_until_clear(lock, SHIM_LOCKED | SHIM_PENDING);
	if (word >> SHIM_TAIL_SHIFT == tail &&
	    __atomic_compare_exchange_n(&lock->word, &word, SHIM_LOCKED, false,
					__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;

	__atomic_store_n(&lock->locked, 1, __ATOMIC_RELAXED);
	while (!(next = smp_load_acquire(&self->next)))
		cpu_relax();
	smp_store_release(&next->first, 1);
}

void shim_read_wait(rwlock_t *lock)
{
	/* we are in the way of the writer until it is our turn */
	__atomic_fetch_sub(&lock->count, SHIM_READER, __ATOMIC_RELAXED);
	spin_lock(&lock->queue);
	__atomic_fetch_add(&lock->count, SHIM_READER, __ATOMIC_RELAXED);
	while (__atomic_load_n(&lock->writer, __ATOMIC_ACQUIRE))
		cpu_relax();
	spin_unlock(&lock->queue);
}

void shim_write_wait(rwlock_t *lock)
{
	u32 count = 0;

	spin_lock(&lock->queue);
	if (!__atomic_compare_exchange_n(&lock->count, &count, SHIM_WRITER,
					 false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED)) {
		__atomic_fetch_or(&lock->count, SHIM_WRITER_WAITS,
				  __ATOMIC_RELAXED);
		do {
			while (READ_ONCE(lock->count) != SHIM_WRITER_WAITS)
				cpu_relax();
			count = SHIM_WRITER_WAITS;
		} while (!__atomic_compare_exchange_n(&lock->count, &count,
						      SHIM_WRITER, false,
						      __ATOMIC_ACQUIRE,
						      __ATOMIC_RELAXED));
	}
	spin_unlock(&lock->queue);
}

/* Pages */
#define BATCH	64

struct page *shim_pages;
char *shim_memory;

static struct {
	spinlock_t lock;
	struct page *free;
	unsigned long fresh;	/* pages from here on were never used */
	unsigned long max;
} pages __attribute__((__aligned__(64)));

static __thread struct page *free_pages;
static __thread unsigned int nr_free_pages;

static void refill_pages(void)
{
	struct page *page;

	spin_lock(&pages.lock);
	while (nr_free_pages < BATCH) {
		page = pages.free;
		if (page)
			pages.free = page->next_free;
		else if (pages.fresh < pages.max)
			page = pfn_to_page(pages.fresh++);
		else
			break;
		page->next_free = free_pages;
		free_pages = page;
		nr_free_pages++;
	}
	spin_unlock(&pages.lock);
}

struct page *alloc_page(gfp_t gfp)
{
	struct page *page;

	(void)gfp;
	if (!free_pages)
		refill_pages();
	page = free_pages;
	if (!page)
		return NULL;
	free_pages = page->next_free;
	nr_free_pages--;
	page->refcount = 1;
	page->page_type = -1U;
	page->mapping = 0;
	return page;
}

void shim_free_page(struct page *page)
{
	struct page *last;
	int i;

	/* what zsmalloc has to leave behind */
	if (page->flags || page->private)
		rt_warn("a page is freed with flags %#lx, private %#lx",
			page->flags, page->private);

	page->next_free = free_pages;
	free_pages = page;
	if (++nr_free_pages < 4 * BATCH)
		return;

	last = page;
	for (i = 1; i < 2 * BATCH; i++)
		last = last->next_free;
	nr_free_pages -= 2 * BATCH;
	spin_lock(&pages.lock);
	free_pages = last->next_free;
	last->next_free = pages.free;
	pages.free = page;
	spin_unlock(&pages.lock);
}

/* Slab caches */
#define MAX_CACHES	4
#define SLAB_SIZE	PAGE_SIZE
#define SLAB_SPACE	(256UL << 20)
#define SLAB_READY	(4UL << 20)

struct kmem_cache {
	unsigned int id;
	unsigned int size;	/* with the link, if that is behind the object */
	unsigned int obj_size;
	unsigned int link;	/* offset */
	void (*ctor)(void *obj);
	spinlock_t lock;
	void *free;
	char *fresh, *end;
};

static struct kmem_cache *caches[MAX_CACHES];
static __thread struct {
	void *free;
	unsigned int nr;
} free_objs[MAX_CACHES];

static void **link_of(struct kmem_cache *cache, void *obj)
{
	return (void **)((char *)obj + cache->link);
}

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size,
				     unsigned int align, slab_flags_t flags,
				     void (*ctor)(void *))
{
	struct kmem_cache *cache = rt_alloc(sizeof(*cache));
	unsigned int id;

	(void)name;
	(void)align;
	(void)flags;
	for (id = 0; id < MAX_CACHES && caches[id]; id++)
		;
	if (id == MAX_CACHES)
		rt_die("too many slab caches");
	caches[id] = cache;
	cache->id = id;
	cache->obj_size = size;
	cache->ctor = ctor;
	cache->size = (size + 7) & ~7U;
	if (ctor) {
		cache->link = cache->size;
		cache->size += sizeof(void *);
	}
	cache->fresh = rt_map(SLAB_SPACE);
	cache->end = cache->fresh + SLAB_SPACE;
	rt_populate(cache->fresh, SLAB_READY);
	return cache;
}

/* The id is not used again: threads may have objects. Processes are short. */
void kmem_cache_destroy(struct kmem_cache *cache)
{
	(void)cache;
}

/* a batch of what others have freed, or a new slab */
static void refill_objs(struct kmem_cache *cache)
{
	char *slab = NULL;
	void *obj;
	unsigned int i;

	spin_lock(&cache->lock);
	for (i = 0; i < BATCH && cache->free; i++) {
		obj = cache->free;
		cache->free = *link_of(cache, obj);
		*link_of(cache, obj) = free_objs[cache->id].free;
		free_objs[cache->id].free = obj;
		free_objs[cache->id].nr++;
	}
	if (!i && cache->fresh < cache->end) {
		slab = cache->fresh;
		cache->fresh += SLAB_SIZE;
	}
	spin_unlock(&cache->lock);

	if (!slab)
		return;
	for (i = SLAB_SIZE / cache->size; i-- > 0;) {
		obj = slab + i * cache->size;
		if (cache->ctor)
			cache->ctor(obj);
		*link_of(cache, obj) = free_objs[cache->id].free;
		free_objs[cache->id].free = obj;
		free_objs[cache->id].nr++;
	}
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	void *obj;

	(void)gfp;
	if (unlikely(!free_objs[cache->id].free))
		refill_objs(cache);
	obj = free_objs[cache->id].free;
	if (unlikely(!obj))
		return NULL;
	free_objs[cache->id].free = *link_of(cache, obj);
	free_objs[cache->id].nr--;
	return obj;
}

void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	void *obj = kmem_cache_alloc(cache, gfp);

	return obj ? memset(obj, 0, cache->obj_size) : NULL;
}

void kmem_cache_free(struct kmem_cache *cache, void *obj)
{
	void *last;
	unsigned int i, batch = 8 * BATCH;

	*link_of(cache, obj) = free_objs[cache->id].free;
	free_objs[cache->id].free = obj;
	if (likely(++free_objs[cache->id].nr < 2 * batch))
		return;

	last = obj;
	for (i = 1; i < batch; i++)
		last = *link_of(cache, last);
	free_objs[cache->id].nr -= batch;
	free_objs[cache->id].free = *link_of(cache, last);
	spin_lock(&cache->lock);
	*link_of(cache, last) = cache->free;
	cache->free = obj;
	spin_unlock(&cache->lock);
}

/* Work items */
static struct llist_head works;

void schedule_work(struct work_struct *work)
{
	if (!test_and_set_bit_lock(0, &work->pending))
		llist_add(&work->node, &works);
}

void shim_run_work(void)
{
	struct work_struct *work, *next;

	llist_for_each_entry_safe(work, next, llist_del_all(&works), node) {
		clear_bit_unlock(0, &work->pending);
		work->fn(work);
	}
}

void flush_work(struct work_struct *work)
{
	(void)work;
	shim_run_work();
}

/* CPUs and the module */
static int (*cpu_up)(unsigned int cpu);

int cpuhp_setup_state(int state, const char *name, int (*up)(unsigned int cpu),
		      int (*down)(unsigned int cpu))
{
	(void)state;
	(void)name;
	(void)down;
	cpu_up = up;
	return 0;
}

void shim_thread_init(unsigned int id)
{
	shim_cpu = id;
	if (cpu_up && cpu_up(id))
		rt_die("a CPU does not come up");
}

void shim_init(unsigned long max_pages, unsigned long used_pages)
{
	shim_pages = rt_map(max_pages * sizeof(*shim_pages));
	shim_memory = rt_map(max_pages << PAGE_SHIFT);
	rt_populate(shim_pages, used_pages * sizeof(*shim_pages));
	rt_populate(shim_memory, used_pages << PAGE_SHIFT);
	/* a kernel has no page 0 to give away either */
	pages.fresh = 1;
	pages.max = max_pages;
	if (shim_module_init())
		rt_die("the module's initialization fails");
}
