/* store_history.h - changes from before the event log, out of a view's version chains:
 * a window of revisions at a time, in slices.
 *
 * A walk over all that changed after a revision keeps the oldest changes that it finds,
 * a bounded number; the next window begins where this one ends. So a watch from any
 * revision that is not compacted costs bounded memory and never holds a loop.
 *
 *   new(after) -> step()* -> next()* -> rev(): after of the next window, or, once it is
 *   recent enough, of store_cursor_new_recent() */
#ifndef RAFTSTORE_STORE_HISTORY_H
#define RAFTSTORE_STORE_HISTORY_H

#include "raftstore/store.h"

struct store_history;

/* Holds a reference to v until it is built. E_EXPIRED: changes after after_rev were
 * compacted. events_max is exceeded only by a revision that alone has more. */
int store_history_new(struct store_view *v, int64_t after_rev, size_t events_max,
                      struct store_history **ret);
/* Only of the keys in [key, range_end), both borrowed until it is built. */
int store_history_new_range(struct store_view *v, struct str key, struct str range_end,
                            int64_t after_rev, size_t events_max, struct store_history **ret);
void store_history_free(struct store_history *h); /* NULL is a no-op. */
/* Visits about so many keys. True: call again. */
bool store_history_step(struct store_history *h, size_t keys);
/* Once it is built: the next batch, borrowed until the next call; NULL at the end. */
const struct event_batch *store_history_next(struct store_history *h);
/* Once it is built: no change up to this revision is missing. Above after_rev unless the
 * view has nothing newer. */
int64_t store_history_rev(const struct store_history *h);

/* As store_cursor_new(), but E_EXPIRED where the event log alone does not reach back, at
 * no cost. */
int store_cursor_new_recent(struct store *s, int64_t after_rev, struct mailbox *mb,
                            void (*on_ready)(void *arg), void *arg, struct store_cursor **ret);

#endif
