/* load_internal.h - what load.c, load_clients.c and load_watchers.c share. */
#ifndef TEST_KVLOAD_LOAD_INTERNAL_H
#define TEST_KVLOAD_LOAD_INTERNAL_H

#include "lib/net/grpc.h"
#include "test/e2e/kvload/history.h"
#include "test/e2e/kvload/load.h"
#include "test/e2e/kvload/wire.h"

#include <stdio.h>
#include <uv.h>

struct http_client;

#define RETRY_MS 50
#define WATCHES 3 /* Per stream: everything, a group, a key. */
#define ERRORS_MAX 32

enum phase { RUNNING, DRAINING, FINAL, WATCHING, DONE };
enum role { WRITER, READER, LEASER, COMPACTOR, CLOSER };
/* A leaser grants, puts two keys under the lease, renews it a few times, revokes it or
 * lets it end, waits until the keys are gone, and begins again. */
enum lease_step { LEASE_GRANT, LEASE_PUT, LEASE_KEEP, LEASE_REVOKE, LEASE_WAIT };

/* One that sends one operation after another. */
struct client {
    struct load *l;
    enum role role;
    uint32_t number;
    uint32_t endpoint;
    struct http_client *http;
    uv_timer_t timer;
    bool busy, failed, finished;
    uint64_t op;
    struct wire_answer answer;
    bool answered;
    int64_t counters[HISTORY_SLOTS]; /* Last known revisions of the shared keys. */
    /* LEASER */
    enum lease_step step;
    int64_t lease_id, ttl_s, called_us, until_us;
    uint32_t lease, renewals;
};

struct watcher {
    struct load *l;
    uint32_t number, endpoint;
    struct http_client *http;
    struct grpc_call *call;
    uv_timer_t timer;
    struct watch_log *logs[WATCHES];
    uint32_t first[WATCHES], count[WATCHES];
    int64_t heard_us;
    int64_t begun_rev; /* Where the present stream's watch of everything began. */
    uint64_t answers;  /* On the present stream. */
    bool waiting;
};

struct load {
    struct load_config config;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t signals[2];
    struct history *h;
    enum phase phase;
    struct client *clients;
    size_t client_count;
    struct watcher *watchers;
    uint64_t random;
    int64_t start_us, phase_us;
    int64_t last_ack_us, longest_gap_us;
    uint64_t acked, unknown, refused, reads;
    int64_t max_rev, compacted;
    uint32_t keys;
    FILE *record;
    struct {
        int status;
        char text[120];
        uint64_t count;
    } errors[ERRORS_MAX];
    char last_error[160];
};

static inline int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

/* load.c */
uint32_t below(struct load *l, uint32_t n); /* Random. */
void note_error(struct load *l, enum grpc_status status, struct str text);
struct http_client *connect_to(struct load *l, uint32_t endpoint);

/* load_clients.c */
void client_init(struct load *l, enum role role, uint32_t number);
void client_done(struct client *c);

/* load_watchers.c */
void watcher_init(struct load *l, uint32_t number);
void watcher_done(struct watcher *w);
void watcher_ask_progress(struct watcher *w);
/* One that hears nothing while others do moves on to another member. */
void watcher_check_stall(struct watcher *w);

#endif
