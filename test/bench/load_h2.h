/* load_h2.h - the load generator's gRPC client: HTTP/2 frames by hand on epoll.
 *
 * Thin on purpose, so that what is measured is the server: no timers, no TLS,
 * no retries, one read and one write per connection and turn. Confined to the
 * thread that calls load_loop_run(). A broken connection ends the program: a
 * benchmark whose server went away has no result. */
#ifndef BENCH_LOAD_H2_H
#define BENCH_LOAD_H2_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct load_call;
struct load_conn;
struct load_loop;

/* One request and its answer. The caller owns it, zeroed but for the callbacks;
 * it may be used again once on_end has come. */
struct load_call {
    /* A whole message; borrowed. May be NULL. */
    void (*on_message)(struct load_call *c, const uint8_t *data, size_t len);
    /* Instead of on_message: pieces of messages as they come, prefixes included. */
    void (*on_piece)(struct load_call *c, const uint8_t *data, size_t len);
    /* Once, and the last. status is gRPC's; text its message ("" if none). */
    void (*on_end)(struct load_call *c, int status, const char *text);
    void *user;

    /* Private from here on. */
    struct load_conn *conn;
    uint32_t id;
    struct buf partial;
    size_t unacked; /* Bytes of window to give back. */
    int status;
    char text[160];
};

struct load_loop *load_loop_new(void);
void load_loop_free(struct load_loop *l);
/* Handles events until *stop is set. on_turn runs before each wait and returns
 * when it wants to run again at the latest, on load_now_ns()'s clock (0: no
 * matter); NULL: none. */
void load_loop_run(struct load_loop *l, const bool *stop, uint64_t (*on_turn)(void *arg),
                   void *arg);

/* endpoint is "127.0.0.1:2379". */
struct load_conn *load_conn_new(struct load_loop *l, const char *endpoint);
void load_conn_free(struct load_conn *c);
/* path is a string that lives on and is always the same pointer for one method.
 * end: no further message follows. */
void load_call_start(struct load_conn *c, struct load_call *call, const char *path,
                     const void *message, size_t len, bool end);
void load_call_send(struct load_call *call, const void *message, size_t len);
/* Resets the stream; on_end does not come. */
void load_call_cancel(struct load_call *call);

uint64_t load_now_ns(void);
/* True when something accepts connections there. */
bool load_can_connect(const char *endpoint);

#endif
