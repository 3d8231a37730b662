/* SPDX-License-Identifier: GPL-2.0 */
/* User-space substitute: lists that are rings, and lists without a lock */
#ifndef SHIM_LIST_H
#define SHIM_LIST_H

#include <shim/base.h>

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name)		struct list_head name = { &(name), &(name) }

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return READ_ONCE(head->next) == head;
}

static inline void shim_list_join(struct list_head *a, struct list_head *b)
{
	a->next = b;
	b->prev = a;
}

static inline void list_add(struct list_head *node, struct list_head *head)
{
	shim_list_join(node, head->next);
	shim_list_join(head, node);
}

static inline void list_add_tail(struct list_head *node, struct list_head *head)
{
	list_add(node, head->prev);
}

static inline void list_del(struct list_head *node)
{
	shim_list_join(node->prev, node->next);
}

static inline void list_del_init(struct list_head *node)
{
	list_del(node);
	INIT_LIST_HEAD(node);
}

static inline void list_splice_init(struct list_head *from, struct list_head *to)
{
	if (list_empty(from))
		return;
	shim_list_join(from->prev, to->next);
	shim_list_join(to, from->next);
	INIT_LIST_HEAD(from);
}

#define list_entry(node, type, member)	container_of(node, type, member)
#define list_first_entry(head, type, member) \
	list_entry((head)->next, type, member)
#define list_next_entry(pos, member) \
	list_entry((pos)->member.next, __typeof__(*(pos)), member)
#define list_first_entry_or_null(head, type, member) ({			\
	struct list_head *first_ = READ_ONCE((head)->next);		\
	first_ != (head) ? list_entry(first_, type, member) : NULL;	\
})
#define list_for_each_entry_safe(pos, n, head, member)			\
	for (pos = list_first_entry(head, __typeof__(*pos), member),	\
	     n = list_next_entry(pos, member);				\
	     &pos->member != (head);					\
	     pos = n, n = list_next_entry(n, member))

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

static inline void init_llist_head(struct llist_head *list)
{
	list->first = NULL;
}

/* returns whether the list was empty */
static inline bool llist_add(struct llist_node *node, struct llist_head *list)
{
	struct llist_node *first = READ_ONCE(list->first);

	do {
		node->next = first;
	} while (!__atomic_compare_exchange_n(&list->first, &first, node, false,
					      __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	return !first;
}

static inline struct llist_node *llist_del_all(struct llist_head *list)
{
	return __atomic_exchange_n(&list->first, NULL, __ATOMIC_SEQ_CST);
}

#define SHIM_LLIST_ENTRY(node, type, member) ({				\
	struct llist_node *node_ = (node);				\
	node_ ? container_of(node_, type, member) : NULL;		\
})
#define llist_for_each_entry_safe(pos, n, node, member)			\
	for (pos = SHIM_LLIST_ENTRY(node, __typeof__(*pos), member);	\
	     pos && (n = SHIM_LLIST_ENTRY(pos->member.next,		\
					  __typeof__(*pos), member), true); \
	     pos = n)

#endif
