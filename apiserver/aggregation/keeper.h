/* keeper.h - keeps APIServices in order: registers what is served here, and
 * watches over what others serve (the condition Available, and what they say
 * that they have).
 *
 * One runs on the first thread of every server. What it writes follows from the
 * store and from what it sees of the other servers, and is compared with what
 * stands there, so several do no harm. */
#ifndef APISERVER_AGGREGATION_KEEPER_H
#define APISERVER_AGGREGATION_KEEPER_H

#include "lib/base/str.h"

struct aggregated_keeper;
struct server_thread;

/* The thread's set follows the newest view; the keeper looks, too, where there
 * is one. */
void aggregated_sync(struct server_thread *t);
/* [any] May something follow from a change of it? */
bool aggregated_wants(struct str key);
/* A key has changed: does anything here follow from it? Then the above. */
void aggregated_notice(struct server_thread *t, struct str key);

struct aggregated_keeper *aggregated_keeper_new(struct server_thread *t);
/* on_closed runs on the loop once nothing is under way any more. */
void aggregated_keeper_close(struct aggregated_keeper *k, void (*on_closed)(void *arg), void *arg);

#endif
