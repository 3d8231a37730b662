/* SPDX-License-Identifier: GPL-2.0 */
/*
 * zspage_lock: the zspage lock of mm/zsmalloc.c
 *
 * models/check reads the lines below that start with a keyword and a colon
 * (models/README.md explains them). Fields are separated by "|":
 *
 *   property: NAME | safety, or ltl | defines | what holds
 *   mistake:  NAME | property that must fail | what is wrong
 *   limit:    NAME | property that must fail | what the lock does not promise
 *
 * property: exclusion | safety | READERS=2 WRITERS=2 | a writer is alone, and readers are with readers only
 * property: count | safety | READERS=3 WRITERS=1 | the counter is -1 while a writer owns the lock, else the number of readers
 * property: rest | safety | READERS=2 WRITERS=2 | nobody hangs; when all are done nobody owns anything but readers that were stopped
 * property: backoff | safety | READERS=2 WRITERS=1 MEMORY MOD=2 | a writer that fails has changed nothing
 * property: memory | safety | READERS=2 WRITERS=1 MEMORY MOD=2 | whoever holds the lock sees all of what was done under it before, and nothing of what is done later
 * property: memory_writers | safety | READERS=1 WRITERS=2 MEMORY | the same from writer to writer
 * property: stopped_reader | ltl | READERS=3 WRITERS=1 FINITE | a reader that never runs again blocks no reader
 * property: reader_gets_in | ltl | READERS=2 WRITERS=2 FINITE | a reader gets in although writers try again and again
 * property: writer_never_waits | ltl | READERS=2 WRITERS=2 FREEZE | a trylock ends, wherever all others are stopped
 * property: reader_gets_in_tries | ltl | READERS=2 WRITERS=1 TRIES=2 | as reader_gets_in, against readers that come and go without end, if the fast path gives up after two tries
 *
 * mistake: MISSING_ACQUIRE_READER | memory | the reader's cmpxchg orders nothing
 * mistake: MISSING_ACQUIRE_WRITER | memory | the writer's cmpxchg orders nothing
 * mistake: MISSING_ACQUIRE_SLOW | memory | the slow path's spin_lock orders nothing
 * mistake: MISSING_RELEASE_READER | memory | read_unlock orders nothing
 * mistake: MISSING_RELEASE_WRITER | memory | write_unlock clears the counter without order
 * mistake: CHECK_THEN_ACT | exclusion | the fast path reads the counter, then increments it
 * mistake: BLIND_INCREMENT | exclusion | the fast path increments first and takes it back where it met a writer
 * mistake: INCREMENT_TOO_LATE | exclusion | the slow path increments after it released wait
 * mistake: WRITER_WITHOUT_WAIT | exclusion | the writer takes the counter and not wait
 * mistake: UNLOCK_OUT_OF_ORDER | count | write_unlock releases wait before it clears the counter
 * mistake: EXCHANGE | count | the writer puts -1 there and puts the old value back where that was not 0
 * mistake: LOST_WAKEUP | rest | a reader sleeps until it is woken, and is woken before it sleeps
 * mistake: FORGOTTEN_WAIT | rest | write_unlock does not release wait
 * mistake: READER_IN_INTERRUPT | rest | an interrupt takes the lock for reading on the CPU of its writer
 * mistake: TRYLOCK_KEEPS_WAIT | backoff | a trylock that meets readers does not release wait
 * mistake: MARK_TOO_EARLY | backoff | the writer changes the page before it owns the lock
 * mistake: READER_KEEPS_WAIT | stopped_reader | the slow path holds wait for the whole section: a reader waits for a reader
 * mistake: READER_WAITS_FOR_ZERO | stopped_reader | the slow path waits until nobody owns the lock: a reader waits for a reader
 * mistake: WRITER_WAITS | writer_never_waits | the writer waits until the readers are gone
 * mistake: WRITER_SPINS | writer_never_waits | the writer takes wait with spin_lock
 * mistake: UNFAIR_SPINLOCK | reader_gets_in | wait is given to anybody, not to the first that came
 * mistake: SLEEPING_WRITER | reader_gets_in | a writer may be stopped while it owns the lock
 *
 * limit: ENDLESS_READERS | reader_gets_in | readers that come and go without end can make every cmpxchg of another reader fail
 *
 *
 * The lock
 * --------
 * `count` is -1 while a writer owns the lock, else the number of readers; the
 * spinlock `wait` is held by a writer for its whole section, and by a reader
 * that met a writer while it increments.
 *
 *   read_lock      increment count with cmpxchg while it is not negative; where
 *                  it is: spin_lock(wait), increment, spin_unlock(wait)
 *   read_unlock    decrement count
 *   write_trylock  spin_trylock(wait), cmpxchg count from 0 to -1; where that
 *                  fails, spin_unlock(wait) and give up
 *   write_unlock   count = 0, spin_unlock(wait)
 *
 * One step here is one atomic operation of the C code. Variables that only the
 * model has (to state what must hold) are written in the same step as the
 * operation they describe.
 *
 * The spinlock
 * ------------
 * A queue of those who wait; its head owns the lock. That is what ticket and
 * queued spinlocks do: first come, first served, and a trylock fails while
 * anybody holds it or waits for it. Whoever holds it, or waits for it, is not
 * preempted.
 *
 * Stopped readers
 * ---------------
 * A reader may be preempted, or sleep, in its section. It then may never run
 * again: the state STOPPED.
 *
 * Order of memory accesses (-DMEMORY)
 * -----------------------------------
 * What the lock protects here: two words `x` and `y`, which only writers change,
 * together (where the objects are); and a word `o` for each reader, which that
 * reader changes and which a writer reads (objects' contents: users write them
 * under the read lock, migration copies them).
 *
 * The accesses of one section are handed, as a set, to the CPU's `memory`
 * process before the lock is taken. It performs them on one memory that all
 * share, one by one, in any order, at any time: at once, or long after the CPU
 * went on, unless
 *  - a load is before the acquire operation that opens the section (loads are
 *    speculated; a load that came too early keeps the value it got);
 *  - a store is before the lock is known to be taken (stores are not speculated:
 *    a control dependency orders them even where the acquire is missing);
 *  - it depends on the value of a load that has not been performed;
 *  - there is a release operation, which is not performed before everything
 *    that precedes it in the program.
 * Operations on `count` and `wait` are performed in program order and each is one
 * step. So this is a machine with one memory for all CPUs (multi-copy atomic: x86,
 * arm64, RISC-V), stores out of order (store buffers), early loads and late
 * loads. models/README.md says what that leaves out.
 */

#ifndef READERS
#define READERS	2
#endif
#ifndef WRITERS
#define WRITERS	2
#endif
#define CPUS	(READERS + WRITERS)	/* readers first, then writers */
#define NOBODY	CPUS

#define WRITER	(-1)

/* which property's assertions this run has */
#ifdef PROPERTY_exclusion
#define check_exclusion(e)	assert(e)
#else
#define check_exclusion(e)	skip
#endif
#ifdef PROPERTY_count
#define check_count(e)		assert(e)
#else
#define check_count(e)		skip
#endif

/* ---- the lock ------------------------------------------------------------ */

short count;

/* ---- what the model knows besides ---------------------------------------- */

#define OUT	0
#define TRYING	1
#define IN	2
#define STOPPED	3
#define DONE	4

byte at[CPUS];			/* where everybody is */
byte readers_in, writers_in;	/* how many own the lock */
byte nr_still, nr_done;		/* how many never move again; how many of them have ended */

#ifdef FREEZE
/* at any time everybody but the first writer may stop, wherever they are */
bool frozen;
#define MAY_RUN	provided (!frozen || _pid == READERS + 1)
#else
#define MAY_RUN
#endif

#define count_is_right	(count == (writers_in > 0 -> WRITER : readers_in))

/* ---- the spinlock -------------------------------------------------------- */

#ifdef UNFAIR_SPINLOCK
byte wait_owner = NOBODY;
#define wait_is_free	(wait_owner == NOBODY)
#define owns_wait(id)	(wait_owner == id)
#define wait_length	(wait_owner != NOBODY)
inline wait_join(id)	{ atomic { wait_is_free -> wait_owner = id } }
inline wait_leave(id)	{ wait_owner = NOBODY }
#else
chan wait = [CPUS + 1] of { byte };
#define wait_is_free	(len(wait) == 0)
#define owns_wait(id)	(wait?[eval(id)])
#define wait_length	(len(wait))
inline wait_join(id)	{ wait!id }
inline wait_leave(id)	{ wait?eval(id) }
#endif

inline spin_lock(id)
{
	wait_join(id);
	owns_wait(id)
}

inline spin_trylock(id, taken)
{
	atomic {
		if
		:: wait_is_free -> wait_join(id); taken = true
		:: else -> taken = false
		fi
	}
}

inline spin_unlock(id)
{
	wait_leave(id)
}

/* ---- the memory ---------------------------------------------------------- */

#ifdef MEMORY

#ifndef MOD
#define MOD	3		/* values a word can have, one after the other */
#endif
#define next(v)	((v + 1) % MOD)

/* accesses */
#define LX	1		/* load x */
#define LY	2		/* load y */
#define SX	4		/* store x */
#define SY	8		/* store y */
#define SO	16		/* store this reader's o */
#define LO(r)	(32 << (r))	/* load reader r's o */

#define ALL_LO	(32 * ((1 << READERS) - 1))

byte x, y, o[READERS];

byte pending[CPUS];		/* accesses that have not been performed */
bool loads[CPUS], stores[CPUS];	/* may they be performed? */

/* What they should find. From outside of a section: what it would be now. */
byte version;			/* of x and y */
byte content[READERS];		/* of o */
byte mine[READERS];		/* what the reader stores in its next section */
byte want[CPUS];		/* the version this section sees */
typedef contents { byte word[READERS] };
contents wanted[WRITERS];	/* and the contents */

/* What loads found that were performed before the lock was taken */
byte early[CPUS];		/* which they are */
byte early_x[CPUS], early_y[CPUS];
contents early_o[WRITERS];

#ifdef PROPERTY_backoff
#define check_memory(e)	skip
#else
#define check_memory(e)	assert(e)
#endif

#define writer_nr(id)	(id - READERS)

inline issue_reader(id)
{
	d_step {
		pending[id] = LX | LY | SO;
		mine[id] = next(content[id])
	}
}

inline issue_writer(id)
{
#ifdef MARK_TOO_EARLY
	pending[id] = LX | ALL_LO | SX
#else
	pending[id] = LX | ALL_LO | SX | SY
#endif
}

/* acquire: from here on accesses may be performed */
inline acquire(id)
{
	loads[id] = true;
	stores[id] = true
}

/* without it: loads may be performed before, stores may not */
inline no_acquire(id)
{
	loads[id] = true
}

/* release: goes on when all accesses before it have been performed */
inline release(id)
{
	pending[id] == 0
}

/* the next section is handed over when the last one's accesses are done */
inline drain(id)
{
	atomic {
		pending[id] == 0;
		loads[id] = false;
		stores[id] = false;
		want[id] = 0
	}
}

inline drain_writer(id)
{
	atomic {
		drain(id);
		for (k : 0 .. READERS - 1) {
			wanted[writer_nr(id)].word[k] = 0
		}
		k = 0
	}
}

/* a writer that failed: what was loaded too early is forgotten */
inline squash(id)
{
	d_step {
		pending[id] = 0;
		loads[id] = false;
		stores[id] = false;
		early[id] = 0;
		early_x[id] = 0;
		early_y[id] = 0;
		for (k : 0 .. READERS - 1) {
			early_o[writer_nr(id)].word[k] = 0
		}
		k = 0
	}
}

/* in the step in which the lock is taken */
inline memory_reader_in(id)
{
	acquire(id);
	want[id] = version;
	content[id] = mine[id];
	check_memory(!(early[id] & LX) || early_x[id] == version);
	check_memory(!(early[id] & LY) || early_y[id] == version);
	early[id] = 0;
	early_x[id] = 0;
	early_y[id] = 0
}

inline memory_writer_in(id)
{
	acquire(id);
	want[id] = version;
	version = next(version);
	check_memory(!(early[id] & LX) || early_x[id] == want[id]);
	for (k : 0 .. READERS - 1) {
		check_memory(!(early[id] & LO(k)) ||
			     early_o[writer_nr(id)].word[k] == content[k]);
		early_o[writer_nr(id)].word[k] = 0;
		wanted[writer_nr(id)].word[k] = content[k]
	}
	k = 0;
	early[id] = 0;
	early_x[id] = 0
}

/* one access of the set that may be performed now */
#define may_load(a)	(loads[id] && (pending[id] & (a)))
#define may_store(a)	(stores[id] && (pending[id] & (a)))
#define performed(a)	pending[id] = pending[id] & (255 - (a))
#define not_in_yet	(at[id] == TRYING)

inline load(a, word, wanted_value, early_value)
{
	performed(a);
	if
	:: not_in_yet -> early[id] = early[id] | (a); early_value = word
	:: else -> check_memory(word == wanted_value)
	fi
}

proctype memory(byte id)
{
	byte r;
end:	do
	:: atomic { may_load(LX) -> load(LX, x, want[id], early_x[id]) }
	:: atomic { may_load(LY) -> load(LY, y, want[id], early_y[id]) }
	:: atomic { may_load(ALL_LO) ->
		do	/* any of them */
		:: r < READERS - 1 -> r++
		:: pending[id] & LO(r) -> break
		od;
#ifdef MISSING_ACQUIRE_WRITER
		load(LO(r), o[r], wanted[writer_nr(id)].word[r],
		     early_o[writer_nr(id)].word[r]);
#else
		/* the only acquire of a writer's section is where it is in */
		assert(!not_in_yet);
		performed(LO(r));
		check_memory(o[r] == wanted[writer_nr(id)].word[r]);
#endif
		r = 0 }
	/* the new value comes from the load of x */
	:: atomic { may_store(SX) && !(pending[id] & LX) ->
		performed(SX); x = next(want[id]) }
	:: atomic { may_store(SY) && !(pending[id] & LX) ->
		performed(SY); y = next(want[id]) }
	:: atomic { may_store(SO) -> performed(SO); o[id] = mine[id] }
	od
}

#else	/* !MEMORY */

#define issue_reader(id)	skip
#define issue_writer(id)	skip
#define acquire(id)		skip
#define no_acquire(id)		skip
#define release(id)		skip
#define drain(id)		skip
#define drain_writer(id)	skip
#define squash(id)		skip
#define memory_reader_in(id)	skip
#define memory_writer_in(id)	skip

#endif

/* ---- in and out, as the properties see it -------------------------------- */

inline reader_in(id)
{
	at[id] = IN;
	readers_in++;
	memory_reader_in(id);
	check_exclusion(writers_in == 0);
	check_count(count_is_right)
}

inline reader_out(id)
{
	at[id] = OUT;
	readers_in--;
	check_count(count_is_right)
}

inline writer_in(id)
{
	at[id] = IN;
	writers_in++;
	memory_writer_in(id);
	check_exclusion(writers_in == 1 && readers_in == 0);
	check_count(count_is_right)
}

inline writer_out(id)
{
	at[id] = OUT;
	writers_in--;
	check_count(count_is_right)
}

/* ---- read_lock ----------------------------------------------------------- */

#ifdef LOST_WAKEUP
bool asleep[READERS];
#endif

/* slow path: the reader met a writer */
inline read_lock_slow(id)
{
#if defined(LOST_WAKEUP)
	/* wrong: the writer may come and go before this reader is asleep */
	asleep[id] = true;
	!asleep[id];
	c = count
#elif defined(INCREMENT_TOO_LATE)
	spin_lock(id);
	spin_unlock(id);
	atomic { count++; reader_in(id) }
	break
#elif defined(READER_KEEPS_WAIT)
	spin_lock(id);
	acquire(id);
	atomic { count++; reader_in(id) }
	break
#elif defined(READER_WAITS_FOR_ZERO)
	spin_lock(id);
	acquire(id);
	atomic { count == 0 -> count++; reader_in(id) }
	spin_unlock(id);
	break
#else
#ifdef MISSING_ACQUIRE_SLOW
	no_acquire(id);
#endif
	spin_lock(id);
	acquire(id);		/* the spinlock's; the increment orders nothing */
	atomic { count++; reader_in(id) }
	spin_unlock(id);
	break
#endif
}

/* c (and tries) are the caller's */
inline read_lock(id)
{
	atomic {
		at[id] = TRYING;
		issue_reader(id);
#ifdef MISSING_ACQUIRE_READER
		no_acquire(id)
#endif
	}
	c = count;			/* atomic_read() */
	do
	:: c < 0 ->
		c = 0;
		read_lock_slow(id)
#ifdef TRIES
	:: c >= 0 && tries == TRIES ->
		c = 0;
		read_lock_slow(id)
	:: c >= 0 && tries < TRIES ->
		tries++;
#else
	:: c >= 0 ->
#endif
#if defined(CHECK_THEN_ACT)
		atomic { count++; reader_in(id); break }
#elif defined(BLIND_INCREMENT)
		atomic {
			count++;
			if
			:: count > 0 -> reader_in(id); break
			:: else
			fi
		}
		count--;
		c = WRITER
#else
		atomic {		/* atomic_try_cmpxchg_acquire() */
			if
			:: count == c -> count++; reader_in(id); break
			:: else -> c = count
			fi
		}
#endif
	od;
	c = 0
#ifdef TRIES
	; tries = 0
#endif
}

inline read_unlock(id)
{
#ifdef READER_KEEPS_WAIT
	if
	:: owns_wait(id) -> spin_unlock(id)
	:: else
	fi;
#endif
#ifndef MISSING_RELEASE_READER
	release(id);
#endif
	atomic { count--; reader_out(id) }	/* atomic_dec_return_release() */
}

/* ---- write_trylock ------------------------------------------------------- */

inline write_trylock(id, taken)
{
	atomic {
		at[id] = TRYING;
		issue_writer(id);
	}
#ifdef MARK_TOO_EARLY
	y = next(y);
#endif
#if defined(WRITER_WITHOUT_WAIT)
	taken = true;
#elif defined(WRITER_SPINS)
	spin_lock(id);
	taken = true;
#else
	spin_trylock(id, taken);
#endif
	if
	:: taken ->
#ifdef MISSING_ACQUIRE_WRITER
		no_acquire(id);		/* wait's acquire is before it, still */
#endif
#ifdef WRITER_WAITS
		count == 0;
#endif
#ifdef EXCHANGE
		atomic { c = count; count = WRITER };
		if
		:: c == 0 -> atomic { writer_in(id) }
		:: else -> count = c; c = 0; taken = false
		fi;
#else
		atomic {		/* atomic_cmpxchg_acquire() */
			if
			:: count == 0 -> count = WRITER; writer_in(id)
			:: else -> taken = false
			fi
		};
#endif
		if
		:: taken
		:: else ->
#if !defined(TRYLOCK_KEEPS_WAIT) && !defined(WRITER_WITHOUT_WAIT)
			spin_unlock(id)
#else
			skip
#endif
		fi
	:: else
	fi;
	if
	:: taken
	:: else -> atomic { squash(id); at[id] = OUT }
	fi
}

inline write_unlock(id)
{
#ifdef UNLOCK_OUT_OF_ORDER
	release(id);
	spin_unlock(id);
	atomic { count = 0; writer_out(id) }
#else
#ifdef LOST_WAKEUP
	for (k : 0 .. READERS - 1) {
		asleep[k] = false
	}
	k = 0;
#endif
#ifndef MISSING_RELEASE_WRITER
	release(id);
#endif
	atomic { count = 0; writer_out(id) }	/* atomic_set_release() */
#if !defined(FORGOTTEN_WAIT) && !defined(WRITER_WITHOUT_WAIT)
	release(id);
	spin_unlock(id)
#endif
#endif
}

/* ---- those who use it ---------------------------------------------------- */

/*
 * Under FINITE the readers but the first come once: then whatever keeps the
 * first one out for ever is not that the others are too many.
 */
#if defined(FINITE) && !defined(ENDLESS_READERS)
#define comes_again(id)	(id == 0)
#else
#define comes_again(id)	true
#endif

proctype reader(byte id) MAY_RUN
{
	short c;
#ifdef TRIES
	byte tries;
#endif

	do
	:: drain(id);
		read_lock(id);
		if
		:: skip				/* the section ends */
		:: atomic { id > 0 ->		/* or the reader does not run again */
			at[id] = STOPPED; nr_still++ }
end_stopped:		false
		fi;
		read_unlock(id);
		if
		:: comes_again(id)
		:: else -> break
		fi
	:: break
	od;
	drain(id);
	atomic { at[id] = DONE; nr_still++; nr_done++ }
}

proctype writer(byte id) MAY_RUN
{
	bool taken;
	byte k;
#ifdef EXCHANGE
	short c;
#endif
#ifdef PROPERTY_backoff
	bool nobody_moves;
	short was_count;
	byte was_x, was_y, was_o[READERS], was_wait;
#endif

	do
	:: drain_writer(id);
#ifdef PROPERTY_backoff
		d_step {
			nobody_moves = (nr_still == READERS && readers_in > 0);
			for (k : 0 .. READERS - 1) {
				nobody_moves = nobody_moves && pending[k] == 0
			}
			k = 0;
			if
			:: nobody_moves ->
				was_count = count;
				was_wait = wait_length;
				was_x = x;
				was_y = y;
				for (k : 0 .. READERS - 1) {
					was_o[k] = o[k]
				}
				k = 0
			:: else
			fi
		}
#endif
		write_trylock(id, taken);
#ifdef PROPERTY_backoff
		/* a d_step cannot hold a break, nor stop at an assertion for nothing */
		atomic {
			if
			:: nobody_moves ->
				assert(!taken);
				assert(count == was_count);
				assert(wait_length == was_wait);
				assert(x == was_x && y == was_y);
				for (k : 0 .. READERS - 1) {
					assert(o[k] == was_o[k]);
					was_o[k] = 0
				}
				k = 0;
				nobody_moves = false;
				was_count = 0;
				was_wait = 0;
				was_x = 0;
				was_y = 0
			:: else
			fi
		}
#endif
		if
		:: taken ->
#ifdef SLEEPING_WRITER
			if
			:: skip
			:: atomic { true -> at[id] = STOPPED; nr_still++ }
end_stopped:			false
			fi;
#endif
#ifdef READER_IN_INTERRUPT
			if
			:: skip
			:: spin_lock(NOBODY); spin_unlock(NOBODY)	/* the slow path */
			fi;
#endif
			write_unlock(id);
			taken = false
		:: else
		fi
	:: break
	od;
	drain_writer(id);
	atomic { at[id] = DONE; nr_still++; nr_done++ }
}

#ifdef FREEZE
proctype freezer()
{
	if
	:: frozen = true
	:: skip
	fi
}
#endif

init
{
	byte k;

	atomic {
		for (k : 0 .. CPUS - 1) {
			if
			:: k < READERS -> run reader(k)
			:: else -> run writer(k)
			fi;
#ifdef MEMORY
			run memory(k)
#endif
		}
		k = 0;
#ifdef FREEZE
		run freezer()
#endif
	}
#ifdef PROPERTY_rest
	timeout;
	assert(nr_still == CPUS);	/* nobody hangs */
	assert(wait_is_free);
	assert(count == nr_still - nr_done)	/* the readers that never run again */
#endif
}

/* ---- properties over time ------------------------------------------------ */

#ifdef PROPERTY_stopped_reader
ltl stopped_reader {
	[] ((at[0] == TRYING && at[1] == STOPPED) -> <> (at[0] == IN))
}
#endif
#if defined(PROPERTY_reader_gets_in) || defined(PROPERTY_reader_gets_in_tries)
ltl reader_gets_in {
	[] ((at[0] == TRYING) -> <> (at[0] == IN))
}
#endif
#ifdef PROPERTY_writer_never_waits
ltl writer_never_waits {
	[] ((at[READERS] == TRYING) -> <> (at[READERS] != TRYING))
}
#endif
