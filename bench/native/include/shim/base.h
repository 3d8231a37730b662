/* SPDX-License-Identifier: GPL-2.0 */
/* User-space substitute: types, macros, atomic operations, strings, reports */
#ifndef SHIM_BASE_H
#define SHIM_BASE_H

#include <stddef.h>
#include <stdbool.h>
#include <limits.h>
#include <asm/errno.h>

#include "../../runtime.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef unsigned int gfp_t;
typedef unsigned int isolate_mode_t;
typedef unsigned int slab_flags_t;

#define BITS_PER_LONG		64
#define SHIM_SUFFIX(x, suffix)	x##suffix
#define _AC(x, suffix)		SHIM_SUFFIX(x, suffix)
#define BIT(nr)			(1UL << (nr))
#define SZ_16M			0x1000000
#define U16_MAX			0xffff

/* annotations */
#define __init			__attribute__((__unused__))
#define __exit			__attribute__((__unused__))
#define __must_check		__attribute__((__warn_unused_result__))
#define __maybe_unused		__attribute__((__unused__))
#define __acquires(x)
#define __releases(x)
#define __acquire(x)		((void)0)
#define __release(x)		((void)0)
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

/* IS_ENABLED(): 1 if the option is defined as 1, which pastes to a comma */
#define SHIM_COMMA_1		0,
#define SHIM_SECOND(a, b, ...)	b
#define SHIM_PICK(x)		SHIM_SECOND(x 1, 0, 0)
#define SHIM_PASTE(value)	SHIM_PICK(SHIM_COMMA_##value)
#define IS_ENABLED(option)	SHIM_PASTE(option)

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define min(a, b) \
	({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define min_t(type, a, b)	min((type)(a), (type)(b))
/* sizes of arrays depend on it: a constant expression */
#define MAX(a, b)		((a) > (b) ? (a) : (b))
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define div64_u64(n, d)		((u64)(n) / (u64)(d))

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

#define MAX_ERRNO		4095
#define ERR_PTR(error)		((void *)(long)(error))
#define PTR_ERR(ptr)		((long)(ptr))
#define IS_ERR_VALUE(x)		((unsigned long)(x) >= -(unsigned long)MAX_ERRNO)
#define IS_ERR(ptr)		unlikely(IS_ERR_VALUE(ptr))
#define IS_ERR_OR_NULL(ptr)	(unlikely(!(ptr)) || IS_ERR(ptr))

/* Reports. What only debugging kernels check is parsed and not evaluated. */
#define WARN_ON(cond) ({						\
	bool bad_ = !!(cond);						\
	if (unlikely(bad_))						\
		rt_warn("%s:%d: %s", __FILE__, __LINE__, #cond);	\
	unlikely(bad_);							\
})
#define WARN_ON_ONCE(cond)	WARN_ON(cond)
#define BUG_ON(cond) do {						\
	if (unlikely(cond))						\
		rt_die("%s:%d: %s", __FILE__, __LINE__, #cond);		\
} while (0)
#define SHIM_UNCHECKED(cond)	((void)sizeof((long)(cond)))
#define VM_BUG_ON(cond)		SHIM_UNCHECKED(cond)
#define VM_BUG_ON_PAGE(cond, page) SHIM_UNCHECKED(cond)
#define VM_WARN_ON_ONCE(cond)	SHIM_UNCHECKED(cond)
#define static_assert(expr)	_Static_assert(expr, #expr)
#define ALIGN(x, a)		(((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))
#define BUILD_BUG_ON(cond)	_Static_assert(!(cond), #cond)
#define pr_info(...)		rt_warn(__VA_ARGS__)
#define pr_warn(...)		rt_warn(__VA_ARGS__)
#define pr_err(...)		rt_warn(__VA_ARGS__)

/* Accesses */
#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, val)	(*(volatile __typeof__(x) *)&(x) = (val))
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_acquire__after_ctrl_dep() __atomic_thread_fence(__ATOMIC_ACQUIRE)

static inline void barrier(void)
{
	__asm__ __volatile__("" ::: "memory");
}

static inline void cpu_relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#else
	barrier();
#endif
}

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	long counter;
} atomic_long_t;

#define atomic_read(v)		__atomic_load_n(&(v)->counter, __ATOMIC_RELAXED)
#define atomic_set(v, i)	__atomic_store_n(&(v)->counter, i, __ATOMIC_RELAXED)
#define atomic_set_release(v, i) \
	__atomic_store_n(&(v)->counter, i, __ATOMIC_RELEASE)
#define atomic_xchg(v, i)	__atomic_exchange_n(&(v)->counter, i, __ATOMIC_SEQ_CST)
#define atomic_add_return(i, v)	__atomic_add_fetch(&(v)->counter, i, __ATOMIC_SEQ_CST)
#define atomic_dec_return_release(v) \
	__atomic_sub_fetch(&(v)->counter, 1, __ATOMIC_RELEASE)
#define atomic_long_read(v)	atomic_read(v)
#define atomic_long_set(v, i)	atomic_set(v, i)
#define atomic_long_set_release(v, i) \
	__atomic_store_n(&(v)->counter, (i), __ATOMIC_RELEASE)
#define ____cacheline_aligned_in_smp	__attribute__((aligned(64)))
#define atomic_long_add(i, v) \
	((void)__atomic_fetch_add(&(v)->counter, i, __ATOMIC_RELAXED))
#define atomic_long_sub(i, v) \
	((void)__atomic_fetch_sub(&(v)->counter, i, __ATOMIC_RELAXED))

static inline bool atomic_long_try_cmpxchg(atomic_long_t *v, long *old, long new)
{
	return __atomic_compare_exchange_n(&v->counter, old, new, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static inline bool atomic_try_cmpxchg_acquire(atomic_t *v, int *old, int new)
{
	return __atomic_compare_exchange_n(&v->counter, old, new, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* returns what was there */
static inline int atomic_cmpxchg_acquire(atomic_t *v, int old, int new)
{
	atomic_try_cmpxchg_acquire(v, &old, new);
	return old;
}

/* Bits, for numbers below BITS_PER_LONG */
static inline bool test_bit(int nr, const unsigned long *word)
{
	return READ_ONCE(*word) & BIT(nr);
}

static inline void set_bit(int nr, unsigned long *word)
{
	__atomic_fetch_or(word, BIT(nr), __ATOMIC_RELAXED);
}

static inline void clear_bit(int nr, unsigned long *word)
{
	__atomic_fetch_and(word, ~BIT(nr), __ATOMIC_RELAXED);
}

static inline bool test_and_set_bit_lock(int nr, unsigned long *word)
{
	return __atomic_fetch_or(word, BIT(nr), __ATOMIC_ACQUIRE) & BIT(nr);
}

static inline void clear_bit_unlock(int nr, unsigned long *word)
{
	__atomic_fetch_and(word, ~BIT(nr), __ATOMIC_RELEASE);
}

/*
 * Strings. Kernels have one memcpy() for all, which on today's x86 processors is
 * this instruction. The C library's would use vector registers.
 */
static inline void *shim_memcpy(void *to, const void *from, size_t len)
{
#ifdef __x86_64__
	void *dst = to;

	__asm__ __volatile__("rep movsb"
			     : "+D" (dst), "+S" (from), "+c" (len)
			     : : "memory");
	return to;
#else
	return __builtin_memcpy(to, from, len);
#endif
}

#define memcpy(to, from, len)						\
	(__builtin_constant_p(len) && (len) <= 64 ?			\
	 __builtin_memcpy(to, from, len) : shim_memcpy(to, from, len))
#define memset(to, c, len)	__builtin_memset(to, c, len)

#endif
