/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-space substitute: locks that work as x86 kernels' do, in as many bytes
 *
 * A spinlock has a byte for its holder, one for the first who waits, and a queue
 * of all others, each of whom waits on a cache line of its own. A rwlock has a
 * writer's byte and a count of readers; who does not get it at once waits on a
 * spinlock, and so in order. Unlocking is a plain store, or for readers one
 * atomic operation.
 *
 * Nothing keeps the host from preempting who holds or waits for a lock.
 */
#ifndef SHIM_LOCK_H
#define SHIM_LOCK_H

#include <shim/base.h>

/* there is nothing to disable: only the compiler is kept from moving things */
#define preempt_disable()	barrier()
#define preempt_enable()	barrier()
#define pagefault_disable()	barrier()
#define pagefault_enable()	barrier()
#define in_interrupt()		0
#define in_task()		1
#define cond_resched()		barrier()

/* RCU: a zspage's memory remains a zspage's for good, see slab.h */
#define rcu_read_lock()		barrier()
#define rcu_read_unlock()	barrier()
#define rcu_read_lock_held()	1
#define synchronize_rcu_tasks()	barrier()
#define RCU_LOCKDEP_WARN(cond, text) SHIM_UNCHECKED(cond)

/* lockdep; the arguments may name what only its kernels have */
#define lock_acquire_shared_recursive(...)	((void)0)
#define lock_acquire_exclusive(...)		((void)0)
#define lock_acquired(...)			((void)0)
#define lock_release(...)			((void)0)
#define lockdep_assert_held(lock)		SHIM_UNCHECKED(lock)
#define lockdep_assert_held_write(lock)		SHIM_UNCHECKED(lock)
#define assert_spin_locked(lock)		SHIM_UNCHECKED(lock)

typedef struct {
	union {
		u32 word;
		struct {
			u8 locked;
			u8 pending;
			u16 tail;
		};
		u16 locked_pending;
	};
} spinlock_t;

#define SHIM_LOCKED		0x1u
#define SHIM_PENDING		0x100u
#define SHIM_TAIL_SHIFT		16

void shim_spin_wait(spinlock_t *lock, u32 word);

static inline void spin_lock_init(spinlock_t *lock)
{
	lock->word = 0;
}

static inline bool spin_trylock(spinlock_t *lock)
{
	u32 word = READ_ONCE(lock->word);

	return !word &&
		__atomic_compare_exchange_n(&lock->word, &word, SHIM_LOCKED,
					    false, __ATOMIC_ACQUIRE,
					    __ATOMIC_RELAXED);
}

static inline void spin_lock(spinlock_t *lock)
{
	u32 word = 0;

	if (unlikely(!__atomic_compare_exchange_n(&lock->word, &word,
						  SHIM_LOCKED, false,
						  __ATOMIC_ACQUIRE,
						  __ATOMIC_RELAXED)))
		shim_spin_wait(lock, word);
}

static inline void spin_unlock(spinlock_t *lock)
{
	__atomic_store_n(&lock->locked, 0, __ATOMIC_RELEASE);
}

static inline bool spin_is_contended(spinlock_t *lock)
{
	return READ_ONCE(lock->word) & ~0xffu;
}

typedef struct {
	union {
		u32 count;
		u8 writer;
	};
	spinlock_t queue;
} rwlock_t;

#define SHIM_WRITER		0xffu
#define SHIM_WRITER_WAITS	0x100u
#define SHIM_READER		0x200u

void shim_read_wait(rwlock_t *lock);
void shim_write_wait(rwlock_t *lock);

static inline void rwlock_init(rwlock_t *lock)
{
	lock->count = 0;
	spin_lock_init(&lock->queue);
}

static inline void read_lock(rwlock_t *lock)
{
	u32 count = __atomic_add_fetch(&lock->count, SHIM_READER,
				       __ATOMIC_ACQUIRE);

	if (unlikely(count & (SHIM_WRITER | SHIM_WRITER_WAITS)))
		shim_read_wait(lock);
}

static inline void read_unlock(rwlock_t *lock)
{
	__atomic_fetch_sub(&lock->count, SHIM_READER, __ATOMIC_RELEASE);
}

static inline void write_lock(rwlock_t *lock)
{
	u32 count = 0;

	if (unlikely(!__atomic_compare_exchange_n(&lock->count, &count,
						  SHIM_WRITER, false,
						  __ATOMIC_ACQUIRE,
						  __ATOMIC_RELAXED)))
		shim_write_wait(lock);
}

#define write_lock_nested(lock, depth)	write_lock(lock)

static inline void write_unlock(rwlock_t *lock)
{
	__atomic_store_n(&lock->writer, 0, __ATOMIC_RELEASE);
}

static inline bool rwlock_is_contended(rwlock_t *lock)
{
	return READ_ONCE(lock->queue.word);
}

static inline void bit_spin_lock(int nr, unsigned long *word)
{
	while (unlikely(test_and_set_bit_lock(nr, word))) {
		do {
			cpu_relax();
		} while (test_bit(nr, word));
	}
}

/* a CPU is a thread, so that nobody else uses what belongs to it */
typedef struct {
} local_lock_t;

#define INIT_LOCAL_LOCK(name)	{ }
#define local_lock(lock)	barrier()
#define local_unlock(lock)	barrier()

#define DEFINE_PER_CPU(type, name)	__thread type name
#define this_cpu_ptr(ptr)		(ptr)
/* used only to set up a CPU, which each thread does for itself */
#define per_cpu(var, cpu)		(*({ (void)(cpu); &(var); }))

#endif
