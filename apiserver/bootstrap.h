/* bootstrap.h - the objects every cluster begins with, and the service
 * "kubernetes" with the addresses of the live API servers behind it.
 *
 * Runs on a loop of its own choosing (the main one). What exists is left as it
 * is; several servers may start at once. */
#ifndef APISERVER_BOOTSTRAP_H
#define APISERVER_BOOTSTRAP_H

struct apiserver;
struct bootstrap;
struct mailbox;
struct uv_loop_s;

/* Sets server->ready when everything is there. */
struct bootstrap *bootstrap_start(struct apiserver *s, struct uv_loop_s *loop, struct mailbox *mb);
/* Schemas or levels have changed: their conditions are looked at now. */
void bootstrap_flow_changed(struct bootstrap *b);
/* Takes this server's address out of the service, then calls on_stopped. */
void bootstrap_stop(struct bootstrap *b, void (*on_stopped)(void *arg), void *arg);

#endif
