/* deadline.h - when a request's time is over.
 *
 * Every request but watches and streams has --request-timeout, or what its own
 * `timeout` says if that is less; a write has 34 s once it is being handled, as
 * upstream. Then the client gets a 504 and the request's seats are free; what is
 * under way goes on to an answer that nobody reads, and begins no further
 * transaction.
 *
 * Loop-confined: one for each server thread. */
#ifndef APISERVER_DEADLINE_H
#define APISERVER_DEADLINE_H

#include <stdbool.h>

struct deadlines;
struct meta_v1_status;
struct req;
struct request_info;
struct uv_loop_s;

struct deadlines *deadlines_new(struct uv_loop_s *loop);
void deadlines_close(struct deadlines *d); /* Frees it later, from the loop. NULL is a no-op. */

/* Watches, streams and proxies have none. */
bool deadline_long_running(const struct request_info *i);
/* Sets the request's time; refuses a `timeout` that is no duration. */
struct meta_v1_status *deadline_begin(struct req *r);
/* A write begins to be handled. */
void deadline_handle_write(struct req *r);
/* The request is answered, or has become a stream. Idempotent. */
void deadline_end(struct req *r);

#endif
