/* SPDX-License-Identifier: GPL-2.0 */
/* User-space substitute: modules, CPU hotplug, work items, shrinkers, tracing */
#ifndef SHIM_MISC_H
#define SHIM_MISC_H

#include <shim/base.h>
#include <shim/list.h>

#define EXPORT_SYMBOL_GPL(name)	_Static_assert(1, "")
#define MODULE_LICENSE(text)	_Static_assert(1, "")
#define MODULE_DESCRIPTION(text) _Static_assert(1, "")
#define MODULE_AUTHOR(text)	_Static_assert(1, "")
#define module_init(fn)		int (*const shim_module_init)(void) = fn
#define module_exit(fn)		void (*const shim_module_exit)(void) = fn

extern int (*const shim_module_init)(void);

/* CPU hotplug: each thread is a CPU that comes up */
enum {
	CPUHP_MM_ZS_PREPARE,
};

int cpuhp_setup_state(int state, const char *name, int (*up)(unsigned int cpu),
		      int (*down)(unsigned int cpu));
#define cpuhp_remove_state(state) ((void)0)

/* Work items wait for shim_run_work() or flush_work(), in whichever thread */
struct work_struct {
	struct llist_node node;
	unsigned long pending;
	void (*fn)(struct work_struct *work);
};

#define INIT_WORK(work, function) do {	\
	(work)->pending = 0;		\
	(work)->fn = (function);	\
} while (0)

void schedule_work(struct work_struct *work);
void flush_work(struct work_struct *work);

/* Wait queues: memory is always there, and nobody waits for any */
typedef struct {
	char nothing;
} wait_queue_head_t;

#define TASK_UNINTERRUPTIBLE	2
#define init_waitqueue_head(queue) ((void)(queue))
/* Nobody waits, so there is nothing to order with the test */
static inline int waitqueue_active(wait_queue_head_t *queue)
{
	(void)queue;
	return 0;
}

#define wake_up_all(queue)	((void)(queue))
#define DEFINE_WAIT(name)	wait_queue_head_t name
#define prepare_to_wait(queue, wait, state) ((void)(queue), (void)(wait))
#define finish_wait(queue, wait) ((void)(queue), (void)(wait))
#define schedule()		__builtin_trap()
#define gfpflags_allow_blocking(gfp) ((void)(gfp), 1)

/* Shrinkers: nobody calls them */
struct shrink_control {
	int nid;
};

struct shrinker {
	unsigned long (*count_objects)(struct shrinker *shrinker,
				       struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *shrinker,
				      struct shrink_control *sc);
	long batch;
	int seeks;
	void *private_data;
};

#define SHRINK_STOP		(~0UL)
#define DEFAULT_SEEKS		2
#define register_shrinker(shrinker, fmt, arg) ((void)(shrinker), (void)(arg), 0)
#define unregister_shrinker(shrinker) ((void)(shrinker))
#define shrinker_alloc(flags, fmt, arg) \
	((void)(arg), (struct shrinker *)rt_alloc(sizeof(struct shrinker)))
#define shrinker_register(shrinker) ((void)(shrinker))
#define shrinker_free(shrinker)	rt_free(shrinker)

/* Tracepoints: functions that do nothing, which inlining removes */
#define TP_PROTO(...)		__VA_ARGS__
#define TP_ARGS(...)
#define TP_STRUCT__entry(...)
#define TP_fast_assign(...)
#define TP_printk(...)
#define TRACE_DEFINE_ENUM(value)
#define TRACE_EVENT(name, proto, args, entry, assign, print)		\
	static inline __maybe_unused void trace_##name(proto) { }

#endif
