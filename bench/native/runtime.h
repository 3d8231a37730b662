/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the shim and the driver use of the C library; and what the driver calls
 * in the shim. No other header is included: both sides include this one.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#define RT_MAX_THREADS	64

/* zeroed, on cache lines of its own */
void *rt_alloc(unsigned long size);
void rt_free(void *ptr);
/*
 * zeroed memory that lasts as long as the process, aligned to 2 MiB and on huge
 * pages if the host has some; nothing of it is there before it is touched
 */
void *rt_map(unsigned long size);
void rt_populate(void *addr, unsigned long size);

/* something is wrong: the process is not going to exit with 0 */
void rt_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void rt_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
int rt_warned(void);

/* max_pages there can be; the first used_pages of them are made ready */
void shim_init(unsigned long max_pages, unsigned long used_pages);
/* each thread, the first one too, before it uses a pool; id < RT_MAX_THREADS */
void shim_thread_init(unsigned int id);
/* does what was left to a worker */
void shim_run_work(void);

#endif
