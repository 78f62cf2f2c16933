/* keeper.h - keeps definitions of custom kinds in order: accepts their names,
 * says that they are established, and removes the objects of deleted ones.
 *
 * One runs on the first thread of every server. What it writes follows from
 * the store alone and is compared with it, so several do no harm. */
#ifndef APISERVER_CUSTOM_KEEPER_H
#define APISERVER_CUSTOM_KEEPER_H

#include "lib/base/base.h"

struct custom_keeper;
struct server_thread;

/* The thread's set of kinds follows the newest view; the keeper looks, too,
 * where there is one. */
void custom_keeper_sync(struct server_thread *t);

struct custom_keeper *custom_keeper_new(struct server_thread *t);
/* on_closed runs on the loop once nothing is under way any more. */
void custom_keeper_close(struct custom_keeper *k, void (*on_closed)(void *arg), void *arg);

#endif
