/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-space substitute: pages and slab caches
 *
 * All pages are one mapping, with an array of struct page beside it, so that
 * going from one to the other is arithmetic, as with a kernel's direct map.
 * Free pages and free slab objects are kept in a list for each thread, which is
 * refilled from, and spilled to, a common one in batches.
 */
#ifndef SHIM_MM_H
#define SHIM_MM_H

#include <shim/base.h>

#define PAGE_SHIFT		12
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#define PAGE_MASK		(~(PAGE_SIZE - 1))
#define offset_in_page(p)	((unsigned long)(p) & ~PAGE_MASK)
/* as x86-64 with 5-level page tables has it, which Debian's kernels have */
#define MAX_POSSIBLE_PHYSMEM_BITS 52

#define GFP_KERNEL		0u
#define __GFP_HIGHMEM		0x02u
#define __GFP_MOVABLE		0x08u
#define __GFP_NORETRY		0x10u

/* the size and the order of what zsmalloc uses are the kernel's */
struct page {
	unsigned long flags;
	struct page *next_free;
	unsigned long unused;
	unsigned long mapping;
	unsigned long index;
	unsigned long private;
	unsigned int page_type;
	int refcount;
	unsigned long unused2;
};

enum {
	SHIM_PG_LOCKED,
	SHIM_PG_PRIVATE,
};

extern struct page *shim_pages;
extern char *shim_memory;

#define page_to_pfn(page)	((unsigned long)((page) - shim_pages))
#define pfn_to_page(pfn)	(shim_pages + (pfn))

static inline void *page_address(struct page *page)
{
	return shim_memory + (page_to_pfn(page) << PAGE_SHIFT);
}

static inline struct page *virt_to_page(const void *addr)
{
	return pfn_to_page((unsigned long)((const char *)addr - shim_memory) >>
			   PAGE_SHIFT);
}

struct page *alloc_page(gfp_t gfp);
void shim_free_page(struct page *page);

static inline void get_page(struct page *page)
{
	__atomic_fetch_add(&page->refcount, 1, __ATOMIC_RELAXED);
}

static inline void put_page(struct page *page)
{
	if (!__atomic_sub_fetch(&page->refcount, 1, __ATOMIC_ACQ_REL))
		shim_free_page(page);
}

#define __free_page(page)	put_page(page)

static inline bool trylock_page(struct page *page)
{
	return !test_and_set_bit_lock(SHIM_PG_LOCKED, &page->flags);
}

static inline void unlock_page(struct page *page)
{
	clear_bit_unlock(SHIM_PG_LOCKED, &page->flags);
}

static inline void wait_on_page_locked(struct page *page)
{
	while (test_bit(SHIM_PG_LOCKED, &page->flags))
		cpu_relax();
}

static inline void lock_page(struct page *page)
{
	while (!trylock_page(page))
		wait_on_page_locked(page);
}

#define PageLocked(page)	test_bit(SHIM_PG_LOCKED, &(page)->flags)
#define PagePrivate(page)	test_bit(SHIM_PG_PRIVATE, &(page)->flags)
#define SetPagePrivate(page)	set_bit(SHIM_PG_PRIVATE, &(page)->flags)
#define ClearPagePrivate(page)	clear_bit(SHIM_PG_PRIVATE, &(page)->flags)
#define PageHighMem(page)	((void)(page), 0)
#define page_private(page)	((page)->private)
#define set_page_private(page, v) ((page)->private = (v))
#define page_mapcount_reset(page) ((page)->page_type = -1U)
/* a type above the 24 bits that zsmalloc may use */
#define PageZsmalloc(page)	((page)->page_type >> 24 == 0xf8)
#define __SetPageZsmalloc(page)	((page)->page_type = 0xf8u << 24)
#define __ClearPageZsmalloc(page) ((page)->page_type = -1U)

#define kmap_atomic(page)	page_address(page)
#define kunmap_atomic(addr)	((void)(addr), barrier())
#define kmap_local_page(page)	page_address(page)
#define kunmap_local(addr)	((void)(addr), barrier())
#define copy_page(to, from)	memcpy(to, from, PAGE_SIZE)
#define kmsan_copy_page_meta(to, from) ((void)0)

static inline void memcpy_from_page(void *to, struct page *page, size_t off,
				    size_t len)
{
	memcpy(to, (char *)page_address(page) + off, len);
}

static inline void memcpy_to_page(struct page *page, size_t off,
				  const void *from, size_t len)
{
	memcpy((char *)page_address(page) + off, from, len);
}

#define page_zone(page)		((void)(page), NULL)
#define inc_zone_page_state(page, item) ((void)(page))
#define dec_zone_page_state(page, item) ((void)(page))

/* Page migration: nobody migrates pages here */
enum migrate_mode {
	MIGRATE_ASYNC,
	MIGRATE_SYNC,
	MIGRATE_SYNC_NO_COPY,
};

#define MIGRATEPAGE_SUCCESS	0

struct movable_operations {
	bool (*isolate_page)(struct page *page, isolate_mode_t mode);
	int (*migrate_page)(struct page *to, struct page *from,
			    enum migrate_mode mode);
	void (*putback_page)(struct page *page);
};

#define PageMovable(page)	((page)->mapping & 2)
#define PageIsolated(page)	((void)(page), 1)
#define __SetPageMovable(page, ops) ((page)->mapping = (unsigned long)(ops) | 2)
#define __ClearPageMovable(page) ((page)->mapping = 2)

/*
 * Slab caches. Memory never leaves a cache, so SLAB_TYPESAFE_BY_RCU holds for
 * all of them. The link of a free object is in its place, or behind it if there
 * is a constructor.
 */
struct kmem_cache;

#define SLAB_TYPESAFE_BY_RCU	0x00080000U

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size,
				     unsigned int align, slab_flags_t flags,
				     void (*ctor)(void *));
void kmem_cache_destroy(struct kmem_cache *cache);
void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp);
void kmem_cache_free(struct kmem_cache *cache, void *obj);

static inline void *kmalloc(size_t size, gfp_t gfp)
{
	(void)gfp;
	return rt_alloc(size);
}

#define kzalloc(size, gfp)	kmalloc(size, gfp)
#define kfree(ptr)		rt_free((void *)(ptr))

static inline char *kstrdup(const char *s, gfp_t gfp)
{
	size_t len = __builtin_strlen(s) + 1;

	return __builtin_memcpy(kmalloc(len, gfp), s, len);
}

/* used for names of caches only, which nobody reads */
#define kasprintf(gfp, fmt, arg) ((void)(arg), kstrdup(fmt, gfp))

#endif
