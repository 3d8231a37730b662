// SPDX-License-Identifier: GPL-2.0
/* What the shim uses of the C library */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime.h"

#define HUGE_PAGE	(2UL << 20)

static int warned;

static void report(const char *fmt, va_list args)
{
	fputs("zsbench: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

void rt_warn(const char *fmt, ...)
{
	va_list args;

	if (__atomic_fetch_add(&warned, 1, __ATOMIC_RELAXED) >= 10)
		return;
	va_start(args, fmt);
	report(fmt, args);
	va_end(args);
}

void rt_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	report(fmt, args);
	va_end(args);
	exit(1);
}

int rt_warned(void)
{
	return __atomic_load_n(&warned, __ATOMIC_RELAXED);
}

void *rt_alloc(unsigned long size)
{
	void *ptr;

	size = (size + 63) & ~63UL;
	ptr = aligned_alloc(64, size);
	if (!ptr)
		rt_die("out of memory");
	return memset(ptr, 0, size);
}

void rt_free(void *ptr)
{
	free(ptr);
}

void *rt_map(unsigned long size)
{
	char *addr;

	size = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	addr = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED)
		rt_die("cannot map %lu bytes", size);
	addr += -(uintptr_t)addr & (HUGE_PAGE - 1);
	/* it may fail: then there are small pages */
	madvise(addr, size, MADV_HUGEPAGE);
	return addr;
}

void rt_populate(void *addr, unsigned long size)
{
	volatile char *p = addr;
	unsigned long i;

	for (i = 0; i < size; i += 4096)
		p[i] = 0;
}
