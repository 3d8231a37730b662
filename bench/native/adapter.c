// SPDX-License-Identifier: GPL-2.0
/*
 * One interface to a pool for all kernels. ZS_OBJ_API is defined for those that
 * have zs_obj_read_begin() and so on in the place of zs_map_object().
 */
#include <shim/shim.h>
#include <linux/zsmalloc.h>

#include "adapter.h"

struct zs_pool *zb_create(void)
{
	struct zs_pool *pool = zs_create_pool("bench");

	if (!pool)
		rt_die("cannot make a pool");
	return pool;
}

void zb_destroy(struct zs_pool *pool)
{
	zs_destroy_pool(pool);
}

unsigned long zb_malloc(struct zs_pool *pool, unsigned long len)
{
	unsigned long handle = zs_malloc(pool, len,
					 __GFP_HIGHMEM | __GFP_MOVABLE);

	if (IS_ERR_OR_NULL((void *)handle))
		rt_die("zs_malloc(%lu) fails", len);
	return handle;
}

void zb_free(struct zs_pool *pool, unsigned long handle)
{
	zs_free(pool, handle);
}

#ifdef ZS_OBJ_API
void zb_write(struct zs_pool *pool, unsigned long handle, const void *src,
	      unsigned long len)
{
	zs_obj_write(pool, handle, src, len);
}

void *zb_read_begin(struct zs_pool *pool, unsigned long handle,
		    unsigned long len, void *copy)
{
	return zs_obj_read_begin(pool, handle, len, copy);
}

void zb_read_end(struct zs_pool *pool, unsigned long handle, void *obj,
		 void *copy)
{
	(void)handle;
	zs_obj_read_end(pool, obj, copy);
}
#else
void zb_write(struct zs_pool *pool, unsigned long handle, const void *src,
	      unsigned long len)
{
	memcpy(zs_map_object(pool, handle, ZS_MM_WO), src, len);
	zs_unmap_object(pool, handle);
}

void *zb_read_begin(struct zs_pool *pool, unsigned long handle,
		    unsigned long len, void *copy)
{
	(void)len;
	(void)copy;
	return zs_map_object(pool, handle, ZS_MM_RO);
}

void zb_read_end(struct zs_pool *pool, unsigned long handle, void *obj,
		 void *copy)
{
	(void)obj;
	(void)copy;
	zs_unmap_object(pool, handle);
}
#endif

unsigned long zb_compact(struct zs_pool *pool)
{
	return zs_compact(pool);
}

unsigned long zb_pages(struct zs_pool *pool)
{
	return zs_get_total_pages(pool);
}

unsigned long zb_huge_size(struct zs_pool *pool)
{
	return zs_huge_class_size(pool);
}
