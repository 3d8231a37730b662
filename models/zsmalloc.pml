/* SPDX-License-Identifier: GPL-2.0 */
/*
 * zsmalloc: pins, freezing, freeing and migration in mm/zsmalloc.c
 *
 * models/check reads the lines below that start with a keyword and a colon
 * (models/README.md explains them).
 *
 * property: objects | safety | COMPACT MIGRATE=1 | users find their objects, each is freed once, and nothing is left over
 * property: migrations | safety | MIGRATE=2 | the same, with pages migrated twice and no compaction
 * property: nobody_waits | safety | COMPACT MIGRATE=1 STOP | users get on although the compactor, or a reader of another object, never runs again
 *
 * mistake: FREE_SPINS | nobody_waits | zs_free() waits until the zspage is not frozen
 * mistake: READER_WAITS_FOR_READERS | nobody_waits | compaction write locks its source until it is done
 * mistake: FREE_AT_ONCE | objects | zs_free() frees an object of a frozen zspage at once
 * mistake: MARK_WITHOUT_PIN | objects | zs_free() marks an object without its pin
 * mistake: MOVE_WITHOUT_PIN | objects | compaction copies an object without its pin
 * mistake: SWITCH_FIRST | objects | compaction switches the handle, then copies
 * mistake: MARK_NOT_SEEN | objects | compaction does not look for the mark under the pin
 * mistake: NO_RETIRE | objects | compaction frees its source although there are readers
 * mistake: RETIRE_IN_TWO_STEPS | objects | compaction looks for readers, then retires the zspage
 * mistake: REAP_ONCE | objects | unfreezing does not look again after it reaped
 * mistake: REAP_WITHOUT_PIN | objects | reaping does not wait for whoever sets the mark
 * mistake: MIGRATE_FROZEN | objects | page migration does not mind that the zspage is frozen
 * mistake: MIGRATE_EMPTY | objects | page migration does not mind that the zspage is being freed
 * mistake: MIGRATE_UNPINNED | migrations | page migration does not pin the objects
 * mistake: MIGRATE_SOME_PINNED | migrations | page migration goes on without a pin that it did not get
 * mistake: MIGRATE_READ | migrations | page migration does not lock the zspage
 * mistake: STALE_PLACE | migrations | a reader that waited uses the place that it found before
 * mistake: UNPIN_FIRST | migrations | page migration unpins before the new page belongs to the zspage
 * mistake: LOOKUP_WITHOUT_PIN | migrations | a reader looks its object up without the pin
 *
 *
 * Two zspages of one class, SOURCE and TARGET, each with one page in which each
 * object has a place of its own. Both objects begin in SOURCE. One has a user who
 * reads it, the other one a user who writes it; then they free them. Compaction empties SOURCE into TARGET; page migration replaces the
 * page of either; a worker gives the pages of retired zspages back. TARGET has
 * an object that nobody uses, which keeps it.
 *
 * Each step is one access to what is shared, or a section under a lock that all
 * who access the same take as well. Copying an object, reading and writing it
 * take two steps each, between which anything can happen. Memory ordering is not
 * in this model: handle words are changed by release and read after acquire
 * operations, see models/zspage_lock.pml for what these do.
 */

#define OBJS	2
#define READER	1		/* the user who reads; the other one writes */
#define SOURCE	0
#define TARGET	1
#define ZSPAGES	2
#define PAGES	(ZSPAGES + MIGRATE)
#define NONE	255
#define POISON	255

#ifndef MIGRATE
#define MIGRATE	1
#endif

#define WRITER	(-1)
#define RETIRED	16

/* handles */
bool pinned[OBJS];
bool handle_lives[OBJS];
byte place[OBJS];		/* the page */

/* pages; a header and a content for each object's place */
byte owner[PAGES];		/* the zspage */
typedef objs { byte v[OBJS] };
objs low[PAGES], high[PAGES];	/* the two halves of a content */
objs allocated[PAGES], marked[PAGES];
byte next_page = ZSPAGES;	/* that migration takes */

/* zspages */
byte page_of[ZSPAGES];
short count[ZSPAGES];		/* the zspage lock: models/zspage_lock.pml */
bool wait[ZSPAGES];
bool frozen[ZSPAGES];
byte inuse[ZSPAGES];
byte nr_freed[ZSPAGES];
bool to_free[ZSPAGES];		/* the worker's */
bool freed[ZSPAGES];
bool page_locked[ZSPAGES];

bool class_locked;

/* what the model knows */
byte content[OBJS];		/* what the user wrote last */
byte users_done;
bool one_stopped, reader_stopped;

inline pin(h)
{
	atomic {
		!pinned[h] -> pinned[h] = true;
		assert(handle_lives[h])
	}
}

inline unpin(h)
{
	d_step {
		assert(pinned[h] && handle_lives[h]);
		pinned[h] = false
	}
}

inline class_lock()	{ atomic { !class_locked -> class_locked = true } }
inline class_unlock()	{ class_locked = false }

inline free_handle(h)
{
	d_step {
		assert(handle_lives[h] && !pinned[h]);
		handle_lives[h] = false
	}
}

inline give_to_worker(z)
{
	assert(!to_free[z] && !freed[z]);
	to_free[z] = true
}

/* A zspage without objects: the caller's, or the last reader's */
inline retire(z)
{
#ifdef RETIRE_IN_TWO_STEPS
	if
	:: atomic { count[z] == 0 -> give_to_worker(z) }
	:: atomic { count[z] != 0 -> skip }; count[z] = count[z] + RETIRED
	fi
#else
	atomic {
#ifdef NO_RETIRE
		give_to_worker(z)
#else
		count[z] = count[z] + RETIRED;
		if
		:: count[z] == RETIRED -> give_to_worker(z)
		:: else
		fi
#endif
	}
#endif
}

/* Frees the object at page @p; the caller may change what is allocated there */
inline free_place(p, h)
{
	d_step {
		assert(allocated[p].v[h] && owner[p] != NONE);
		allocated[p].v[h] = false;
		marked[p].v[h] = false;
		low[p].v[h] = POISON;
		high[p].v[h] = POISON;
		inuse[owner[p]] = inuse[owner[p]] - 1
	}
}

/* ---- users --------------------------------------------------------------- */

#define lookup(h)	p = place[h]; z = owner[p]; assert(z != NONE)

#ifdef STOP
/* one reader, at most, sleeps for ever */
#define may_stop(h)	:: !one_stopped -> one_stopped = true; reader_stopped = true; goto stopped
#else
#define may_stop(h)
#endif

inline read_lock(h)
{
	do
	::
#ifdef LOOKUP_WITHOUT_PIN
		p = place[h];
		z = owner[p];
		assert(z != NONE);
#else
		pin(h);
		d_step { lookup(h) }
#endif
		if
		:: atomic { count[z] >= 0 -> count[z] = count[z] + 1 };
#ifndef LOOKUP_WITHOUT_PIN
			unpin(h);
#endif
			break
		:: atomic { count[z] < 0 -> skip };
#ifndef LOOKUP_WITHOUT_PIN
			unpin(h);
#endif
			/* the zspage may be gone, its lock is not */
			atomic { !wait[z] -> wait[z] = true };
			pin(h);
			if
#ifdef STALE_PLACE
			:: d_step { owner[place[h]] == z && count[z] >= 0 ->
				count[z] = count[z] + 1 };
#else
			:: d_step { owner[place[h]] == z && count[z] >= 0 ->
				p = place[h]; count[z] = count[z] + 1 };
#endif
				unpin(h);
				wait[z] = false;
				break
			:: d_step { owner[place[h]] != z -> skip };
				unpin(h);
				wait[z] = false
			fi
		fi
	od
}

inline read(h)
{
	read_lock(h);
	if
	:: true
	may_stop(h)
	fi;
	d_step { assert(owner[p] == z && low[p].v[h] == content[h]) };
	d_step { assert(owner[p] == z && high[p].v[h] == content[h]) };
	atomic {
		count[z] = count[z] - 1;
		assert(count[z] >= 0);
		if
		:: count[z] == RETIRED -> give_to_worker(z)
		:: else
		fi
	}
}

inline write(h)
{
	pin(h);
	d_step {
		lookup(h);
		content[h] = content[h] + 1;
		low[p].v[h] = content[h]
	};
	d_step { assert(owner[p] == z); high[p].v[h] = content[h] };
	unpin(h)
}

inline zs_free(h)
{
	/* the class is the same for all of its life; to read it takes the pin */
	pin(h);
	d_step { lookup(h) };
	unpin(h);
#ifdef FREE_SPINS
	!frozen[owner[place[h]]];
#endif
	class_lock();
	d_step { lookup(h) };
	if
#ifndef FREE_AT_ONCE
	:: frozen[z] ->
#ifndef MARK_WITHOUT_PIN
		pin(h);
#endif
		d_step { lookup(h); assert(frozen[z]) };
		marked[p].v[h] = true;
		nr_freed[z] = nr_freed[z] + 1;
#ifndef MARK_WITHOUT_PIN
		unpin(h);
#endif
		class_unlock()
	:: else ->
#else
	:: true ->
#endif
		free_place(p, h);
		if
		:: inuse[z] == 0 -> class_unlock(); retire(z)
		:: else -> class_unlock()
		fi;
		free_handle(h)
	fi
}

proctype user(byte h)
{
	byte p, z;

	if
	:: h == READER -> read(h)
	:: else -> write(h)
	fi;
	zs_free(h);
	d_step { p = 0; z = 0; users_done++ };
	goto done;
#ifdef STOP
stopped:
	false;
#endif
done:	skip
}

/* ---- compaction ---------------------------------------------------------- */

#ifdef COMPACT
#ifdef STOP
#define preempted	if :: true :: !one_stopped -> one_stopped = true; goto stopped fi
#else
#define preempted	skip
#endif

inline reap(z, p)
{
	h = 0;
	do
	:: h < OBJS ->
		if
		:: marked[p].v[h] ->
#ifndef REAP_WITHOUT_PIN
			pin(h);
			unpin(h);
#endif
			free_place(p, h);
			free_handle(h);
			reaped++
		:: else
		fi;
		h++
	:: else -> break
	od;
	h = 0
}

inline unfreeze(z, p)
{
	reaped = 0;
	class_lock();
	do
	:: nr_freed[z] != reaped ->
		class_unlock();
		reap(z, p);
		preempted;
		class_lock()
#ifdef REAP_ONCE
		; break
#endif
	:: else -> break
	od;
	skip;
	d_step {
		nr_freed[z] = 0;
		frozen[z] = false;
		reaped = 0
	};
	if
	:: inuse[z] == 0 -> class_unlock(); retire(z)
	:: else -> class_unlock()
	fi
}

inline move(h)
{
#ifndef MOVE_WITHOUT_PIN
	pin(h);
#endif
	if
#ifndef MARK_NOT_SEEN
	:: marked[s].v[h] ->
		unpin(h)
#endif
	:: else ->
		d_step {
			assert(owner[s] == SOURCE && owner[t] == TARGET);
			allocated[t].v[h] = true;
			inuse[TARGET] = inuse[TARGET] + 1;
			marked[t].v[h] = marked[s].v[h];
#ifdef SWITCH_FIRST
			place[h] = t;
			pinned[h] = false;
#endif
			low[t].v[h] = low[s].v[h]
		};
		d_step {
			assert(owner[s] == SOURCE && owner[t] == TARGET);
			high[t].v[h] = high[s].v[h]
		};
#ifndef SWITCH_FIRST
		d_step {
			place[h] = t;
			pinned[h] = false
		};
#endif
		inuse[SOURCE] = inuse[SOURCE] - 1
	fi
}

proctype compactor()
{
	byte h, s, t, reaped;

	class_lock();
	if
	:: inuse[SOURCE] == 0 -> class_unlock(); goto done
	:: else
	fi;
	frozen[SOURCE] = true;
	frozen[TARGET] = true;
	class_unlock();
#ifdef READER_WAITS_FOR_READERS
	atomic { count[SOURCE] == 0 -> count[SOURCE] = WRITER };
#endif
	d_step { s = page_of[SOURCE]; t = page_of[TARGET] };
	preempted;
	do
	:: h < OBJS ->
		if
		:: allocated[s].v[h] -> move(h); preempted
		:: else
		fi;
		h++
	:: else -> break
	od;
#ifdef READER_WAITS_FOR_READERS
	count[SOURCE] = 0;
#endif
	unfreeze(TARGET, t);
	preempted;
	unfreeze(SOURCE, s);
	assert(inuse[SOURCE] == 0);
	goto done;
#ifdef STOP
stopped:
	false;
#endif
done:	skip
}
#endif

/* ---- page migration ------------------------------------------------------ */

inline unpin_all()
{
	d_step {
		for (h : 0 .. OBJS - 1) {
			if
			:: mine[h] -> mine[h] = false; pinned[h] = false
			:: else
			fi
		}
		h = 0
	}
}

inline replace_page()
{
	d_step {
		owner[new] = z;
		page_of[z] = new;
		owner[old] = NONE
	}
}

inline switch_handles()
{
	d_step {
		for (h : 0 .. OBJS - 1) {
			if
			:: allocated[old].v[h] -> place[h] = new
			:: else
			fi
		}
		h = 0
	};
	unpin_all()
}

proctype migration()
{
	byte h, z, old, new;
	bool mine[OBJS], failed;

	if
	:: z = SOURCE
	:: z = TARGET
	fi;
	/* who frees the pages needs their locks */
	atomic { !page_locked[z] -> page_locked[z] = true };
	if
	:: freed[z] -> goto unlock_page
	:: else
	fi;
	class_lock();
	if
#ifndef MIGRATE_FROZEN
	:: frozen[z] -> goto unlock_class
#endif
#ifndef MIGRATE_EMPTY
	:: inuse[z] == 0 -> goto unlock_class
#endif
	:: else
	fi;
#ifndef MIGRATE_READ
	if
	:: atomic { !wait[z] -> wait[z] = true }
	:: atomic { wait[z] -> skip }; goto unlock_class
	fi;
	if
	:: atomic { count[z] == 0 -> count[z] = WRITER }
	:: atomic { count[z] != 0 -> skip }; wait[z] = false; goto unlock_class
	fi;
#endif
	old = page_of[z];
#ifndef MIGRATE_UNPINNED
	do
	:: h < OBJS ->
		if
		:: atomic { allocated[old].v[h] && !pinned[h] ->
			pinned[h] = true; mine[h] = true }
		:: atomic { allocated[old].v[h] && pinned[h] -> failed = true }
		:: atomic { !allocated[old].v[h] -> skip }
		fi;
		h++
	:: else -> break
	od;
	h = 0;
#ifndef MIGRATE_SOME_PINNED
	if
	:: failed -> unpin_all(); goto unlock_zspage
	:: else
	fi;
#endif
#endif
	d_step {
		new = next_page;
		next_page++;
		for (h : 0 .. OBJS - 1) {
			allocated[new].v[h] = allocated[old].v[h];
			marked[new].v[h] = marked[old].v[h];
			low[new].v[h] = low[old].v[h]
		}
		h = 0
	};
	d_step {
		for (h : 0 .. OBJS - 1) {
			high[new].v[h] = high[old].v[h]
		}
		h = 0
	};
#ifdef UNPIN_FIRST
	switch_handles();
	replace_page();
#else
	replace_page();
	switch_handles();
#endif
unlock_zspage:
#ifndef MIGRATE_READ
	count[z] = 0;
	wait[z] = false;
#endif
unlock_class:
	class_unlock();
unlock_page:
	page_locked[z] = false
}

/* ---- the worker ---------------------------------------------------------- */

/* Walks the pages of a zspage, then gives them back */
inline give_back(z)
{
	atomic { !page_locked[z] -> page_locked[z] = true };
	atomic {
		assert(inuse[z] == 0 && !frozen[z]);
		assert(count[z] == RETIRED || count[z] == 0);
		assert(owner[p] == z);
		owner[p] = NONE;
		freed[z] = true;
		to_free[z] = false;
		count[z] = 0;
		page_locked[z] = false
	}
}

proctype worker()
{
	byte p;
	do
	:: atomic { to_free[SOURCE] -> p = page_of[SOURCE] }; give_back(SOURCE)
	od
}

/* ---- all of it ----------------------------------------------------------- */

init
{
	byte i;

	atomic {
		for (i : 0 .. PAGES - 1) {
			owner[i] = NONE
		}
		owner[SOURCE] = SOURCE;
		owner[TARGET] = TARGET;
		page_of[SOURCE] = SOURCE;
		page_of[TARGET] = TARGET;
		inuse[SOURCE] = OBJS;
		inuse[TARGET] = 1;
		for (i : 0 .. OBJS - 1) {
			handle_lives[i] = true;
			place[i] = SOURCE;
			allocated[SOURCE].v[i] = true;
			content[i] = 1;
			low[SOURCE].v[i] = 1;
			high[SOURCE].v[i] = 1
		}
		run worker();
		for (i : 0 .. OBJS - 1) {
			run user(i)
		}
#ifdef COMPACT
		run compactor();
#endif
		for (i : 1 .. MIGRATE) {
			run migration()
		}
		i = 0
	}
	/* when nobody can go on any more */
	timeout;
#ifdef STOP
	assert(users_done + reader_stopped == OBJS)
#else
	assert(_nr_pr == 2);	/* the worker, and init */
	assert(freed[SOURCE] && !freed[TARGET] && !to_free[SOURCE]);
	assert(inuse[TARGET] == 1 && nr_freed[TARGET] == 0 && !frozen[TARGET]);
	assert(count[TARGET] == 0 && !wait[SOURCE] && !wait[TARGET]);
	assert(!handle_lives[0] && !handle_lives[1] && !class_locked)
#endif
}
