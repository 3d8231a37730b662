/* SPDX-License-Identifier: GPL-2.0 */
/* One interface to a pool for all kernels */
#ifndef ADAPTER_H
#define ADAPTER_H

struct zs_pool;

struct zs_pool *zb_create(void);
void zb_destroy(struct zs_pool *pool);
unsigned long zb_malloc(struct zs_pool *pool, unsigned long len);
void zb_free(struct zs_pool *pool, unsigned long handle);
void zb_write(struct zs_pool *pool, unsigned long handle, const void *src,
	      unsigned long len);
/* copy: a buffer of at least len bytes, which may or may not be used */
void *zb_read_begin(struct zs_pool *pool, unsigned long handle,
		    unsigned long len, void *copy);
void zb_read_end(struct zs_pool *pool, unsigned long handle, void *obj,
		 void *copy);
unsigned long zb_compact(struct zs_pool *pool);
unsigned long zb_pages(struct zs_pool *pool);
/* compressed pages of this size or more are stored as a whole page by zram */
unsigned long zb_huge_size(struct zs_pool *pool);

#endif
