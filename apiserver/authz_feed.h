/* authz_feed.h - keeps the authorizers' index as the store is: roles, bindings,
 * and what nodes have to do with.
 *
 *   store events -> (the loop's thread) -> authz_lock() -> index
 *
 * A refusal waits until the index includes what the store held when it was
 * asked: who grants a right may use it at once. */
#ifndef APISERVER_AUTHZ_FEED_H
#define APISERVER_AUTHZ_FEED_H

#include "lib/base/base.h"

struct apiserver;
struct arena;
struct authz_feed;
struct error;
struct mailbox;

/* On the thread of mb's loop: reads what is there, then follows. */
int authz_feed_start(struct apiserver *s, struct mailbox *mb, struct authz_feed **ret,
                     struct error *err);
/* Same thread, before mb closes: lets those go who wait. */
void authz_feed_stop(struct authz_feed *f);
/* Stopped, or never started; nobody asks any more. NULL is a no-op. */
void authz_feed_free(struct authz_feed *f);

/* Any thread, under authz_lock(): the index includes everything up to this revision. */
int64_t authz_feed_rev(const struct authz_feed *f);

/* Any thread. True: done(arg) runs later on the loop of mb, once the index is
 * as new as the store is now. False: it is already. */
bool authz_feed_wait(struct authz_feed *f, struct arena *a, struct mailbox *mb,
                     void (*done)(void *arg), void *arg);

#endif
