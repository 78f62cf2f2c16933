/* flow_control.h - API priority and fairness: who may run now, who waits, who
 * gets 429. As kube-apiserver's, see docs/flow-control.md.
 *
 *   request -> FlowSchema -> priority level -> seat -> next(r)
 *                                          \-> queue -> (mail) -> next(r)
 *                                          \-> 429
 *
 * Levels are shared by all server threads, each with a lock of its own that is
 * held for well under a microsecond. A request that waits costs its arena and no thread;
 * whoever frees a seat mails it to its thread. Configuration is an immutable
 * object that threads notice by its number. */
#ifndef APISERVER_FLOW_CONTROL_H
#define APISERVER_FLOW_CONTROL_H

#include "lib/base/base.h"

struct apiserver;
struct buf;
struct error;
struct flow_control;
struct flow_request;
struct flow_thread;
struct mailbox;
struct req;
struct server_thread;
struct store_view;
struct uv_loop_s;

/* With only the mandatory objects, until flow_control_load(). */
struct flow_control *flow_control_new(struct apiserver *s);
/* After the server threads. NULL is a no-op. */
void flow_control_free(struct flow_control *fc);

/* --- one thread, the main one: follows the store ---------------------------- */
/* Makes the view's FlowSchemas and levels the ones in use. */
void flow_control_load(struct flow_control *fc, const struct store_view *v);
/* Every FLOW_ADJUST_MS: moves seats to the levels that want them, and forgets
 * levels that are gone and empty. True: load again. */
bool flow_control_adjust(struct flow_control *fc);

/* --- a server thread ----------------------------------------------------------- */
struct flow_thread *flow_thread_new(struct server_thread *t);
/* When no requests are left; closes its timer on the loop. NULL is a no-op. */
void flow_thread_close(struct flow_thread *ft);

/* Calls next, now or later on this thread, once the request may run; else answers it with 429. */
void flow_control_then(struct req *r, void (*next)(struct req *r));
/* The seats are free for others: the answer is given, or the watch has begun. Idempotent. */
void flow_request_finish(struct req *r);
/* The same, also for one that may still be waiting for its seats. */
void flow_request_give_back(struct req *r);
/* The request ends. Idempotent. */
void flow_request_end(struct req *r);

/* --- for people -------------------------------------------------------------------- */
/* Below /debug/api_priority_and_fairness/; false: another path. */
bool flow_debug_serve(struct req *r);

#endif
