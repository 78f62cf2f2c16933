/* load.c - see load.h.
 *
 *   RUNNING --SIGTERM or time--> DRAINING --all idle--> FINAL --each endpoint
 *   has given its whole state--> WATCHING --watchers have it all--> check */
#include "test/e2e/kvload/load.h"

#include "test/e2e/kvload/load_internal.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define TICK_MS 250
#define FINAL_US 60000000 /* For the end to be reached. */
#define LEASERS 4

static uint64_t next_random(struct load *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return (l->random * UINT64_C(0x2545f4914f6cdd1d)) >> 11;
}

uint32_t below(struct load *l, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)(next_random(l) % n);
}

/* Without what differs from endpoint to endpoint. */
static struct str error_kind(struct str text)
{
    for (size_t i = text.len; i >= 2; i--)
        if (text.data[i - 2] == ':' && text.data[i - 1] == ' ' && memchr(text.data, '/', text.len))
            return str_n(text.data + i, text.len - i);
    return text;
}

void note_error(struct load *l, enum grpc_status status, struct str text)
{
    snprintf(l->last_error, sizeof(l->last_error), "%s: " STR_FMT, grpc_status_text(status),
             (int)MIN_OF(text.len, (size_t)120), text.data != NULL ? text.data : "");
    text = error_kind(text);
    size_t i = 0;
    while (i < ERRORS_MAX - 1 && l->errors[i].count > 0 &&
           !(l->errors[i].status == (int)status &&
             strncmp(l->errors[i].text, text.data != NULL ? text.data : "",
                     MIN_OF(text.len, sizeof(l->errors[i].text) - 1)) == 0))
        i++;
    l->errors[i].status = (int)status;
    l->errors[i].count++;
    snprintf(l->errors[i].text, sizeof(l->errors[i].text), STR_FMT,
             (int)MIN_OF(text.len, (size_t)119), text.data != NULL ? text.data : "");
}

struct http_client *connect_to(struct load *l, uint32_t endpoint)
{
    struct http_client_config config = {
        .endpoints = &l->config.endpoints[endpoint],
        .endpoint_count = 1,
        .protocol = HTTP_CLIENT_H2,
        .connect_timeout_ms = 1000,
        .ping_interval_ms = 2000,
        .ping_timeout_ms = 1000,
    };
    struct http_client *c = NULL;
    struct error err = {0};
    if (http_client_new(&l->loop, &config, &c, &err) < 0)
        PANIC("%s: %s", l->config.endpoints[endpoint], error_message(&err));
    return c;
}

/* --- the course of it ---------------------------------------------------------------------- */

static void set_phase(struct load *l, enum phase phase)
{
    l->phase = phase;
    l->phase_us = now_us();
}

static bool clients_idle(const struct load *l)
{
    for (size_t i = 0; i < l->client_count; i++)
        if (l->clients[i].busy)
            return false;
    return true;
}

static bool closers_finished(struct load *l, bool say)
{
    bool all = true;
    for (size_t i = 0; i < l->client_count; i++) {
        const struct client *c = &l->clients[i];
        if (c->role != CLOSER || c->finished)
            continue;
        all = false;
        if (say)
            history_violation(l->h, "%s does not give its state at the end: %s",
                              l->config.endpoints[c->endpoint], l->last_error);
    }
    return all;
}

static bool watchers_finished(struct load *l, bool say)
{
    bool all = true;
    for (uint32_t i = 0; i < l->config.watchers; i++) {
        struct watcher *w = &l->watchers[i];
        for (int k = 0; k < WATCHES; k++) {
            if (watch_log_next(w->logs[k]) > l->max_rev)
                continue;
            all = false;
            if (say && k == 0)
                history_violation(
                    l->h, "watcher %u stands at revision %" PRId64 " of %" PRId64 " at the end", i,
                    watch_log_next(w->logs[k]) - 1, l->max_rev);
            if (say)
                watch_log_end(w->logs[k]);
        }
        if (!say)
            watcher_ask_progress(w);
    }
    return all;
}

static void finish(struct load *l)
{
    set_phase(l, DONE);
    for (size_t i = 0; i < l->client_count; i++)
        client_done(&l->clients[i]);
    for (uint32_t i = 0; i < l->config.watchers; i++)
        watcher_done(&l->watchers[i]);
    uv_close((uv_handle_t *)&l->tick, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(l->signals); i++)
        uv_close((uv_handle_t *)&l->signals[i], NULL);
}

static void write_status(struct load *l)
{
    static const char *const phases[] = {"running", "draining", "final", "watching", "done"};
    if (l->record != NULL)
        fflush(l->record);
    if (l->config.status_file == NULL)
        return;
    AUTO_FREE char *tmp = xasprintf("%s.tmp", l->config.status_file);
    FILE *f = fopen(tmp, "w");
    if (f == NULL)
        return;
    int64_t behind = 0;
    for (uint32_t i = 0; i < l->config.watchers; i++)
        behind = MAX_OF(behind, history_rev(l->h) + 1 - watch_log_next(l->watchers[i].logs[0]));
    for (char *p = l->last_error; *p != '\0'; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = ' ';
    fprintf(
        f,
        "{\"phase\":\"%s\",\"acked\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"refused\":%" PRIu64
        ",\"reads\":%" PRIu64 ",\"rev\":%" PRId64 ",\"watched_rev\":%" PRId64 ",\"behind\":%" PRId64
        ",\"silent_ms\":%" PRId64 ",\"violations\":%" PRIu64 ",\"last_error\":\"%s\"}\n",
        phases[l->phase], l->acked, l->unknown, l->refused, l->reads, l->max_rev, history_rev(l->h),
        behind, l->last_ack_us != 0 ? (now_us() - l->last_ack_us) / 1000 : -1,
        history_violations(l->h), l->last_error);
    if (fclose(f) == 0)
        rename(tmp, l->config.status_file);
}

static void on_tick(uv_timer_t *t)
{
    struct load *l = CONTAINER_OF(t, struct load, tick);
    bool late = now_us() - l->phase_us > FINAL_US;
    for (uint32_t i = 0; i < l->config.watchers; i++)
        watcher_check_stall(&l->watchers[i]);
    if (l->phase == RUNNING && l->config.seconds > 0 &&
        now_us() - l->start_us > (int64_t)l->config.seconds * 1000000)
        set_phase(l, DRAINING);
    if (l->phase == DRAINING && clients_idle(l))
        set_phase(l, FINAL);
    else if (l->phase == FINAL && (closers_finished(l, false) || late)) {
        closers_finished(l, true);
        set_phase(l, WATCHING);
    } else if (l->phase == WATCHING && (watchers_finished(l, false) || late)) {
        watchers_finished(l, true);
        finish(l);
    }
    write_status(l);
}

static void on_signal(uv_signal_t *s, int number)
{
    UNUSED(number);
    struct load *l = s->data;
    if (l->phase == RUNNING)
        set_phase(l, DRAINING);
}

/* The revision before anything is done; waits for an endpoint that answers. */
static int64_t first_revision(const struct load_config *config, struct error *err)
{
    for (uint32_t tries = 0; tries < 300; tries++) {
        struct http_client_config http = {
            .endpoints = config->endpoints,
            .endpoint_count = config->endpoint_count,
            .protocol = HTTP_CLIENT_H2,
            .connect_timeout_ms = 1000,
        };
        struct http_sync *s = NULL;
        if (http_sync_new(&http, &s, err) < 0)
            return -1;
        struct net_bytes *request = wire_range(0, 1, false, 0), *reply = NULL;
        struct grpc_call_config call = {
            .method = "/etcdserverpb.KV/Range", .request = request, .timeout_ms = 2000};
        AUTO_ARENA *a = arena_new(0);
        struct wire_answer answer = {0};
        error_clear(err);
        int rc = grpc_sync_call(s, &call, &reply, NULL, err);
        if (rc == 0)
            rc = wire_range_answer(a, net_bytes_str(reply), &answer);
        net_bytes_unref(request);
        net_bytes_unref(reply);
        http_sync_free(s);
        if (rc == 0 && answer.kv_count > 0) {
            error_set(err, E_EXISTS, "the store holds keys of an earlier run");
            return -1;
        }
        if (rc == 0 && answer.rev > 0)
            return answer.rev;
        uv_sleep(100);
    }
    return -1;
}

static void report(struct load *l)
{
    struct history_counts n;
    history_counts(l->h, &n);
    printf("%" PRIu64 " writes acknowledged, %" PRIu64 " unknown (%" PRIu64 " happened), %" PRIu64
           " refused, %" PRIu64 " reads, %" PRIu64
           " revisions and events watched, longest pause %.2f s\n",
           n.done, n.unknown, n.unknown_found, n.refused, n.reads, n.watched,
           (double)l->longest_gap_us / 1e6);
    for (size_t i = 0; i < ERRORS_MAX && l->errors[i].count > 0; i++)
        printf("  %" PRIu64 " times %s: %s\n", l->errors[i].count,
               grpc_status_text((enum grpc_status)l->errors[i].status), l->errors[i].text);
    printf("%" PRIu64 " violations\n", history_violations(l->h));
}

int load_run(const struct load_config *config, struct error *err)
{
    int64_t base = first_revision(config, err);
    if (base < 0)
        return err->code;
    struct load *l = xzalloc(sizeof(*l));
    l->config = *config;
    l->random = config->seed * 2 + 1;
    l->keys = history_keys(config->writers);
    l->h = history_new(config->writers, base);
    l->max_rev = l->compacted = base;
    l->record = config->record_file != NULL ? fopen(config->record_file, "w") : NULL;
    uv_loop_init(&l->loop);
    set_phase(l, RUNNING);
    l->start_us = now_us();
    uint32_t endpoints = (uint32_t)config->endpoint_count;
    l->clients = xzalloc((config->writers + config->readers + LEASERS + 1 + endpoints) *
                         sizeof(*l->clients));
    l->watchers = xzalloc((config->watchers + 1) * sizeof(*l->watchers));
    for (uint32_t i = 0; i < config->writers; i++)
        client_init(l, WRITER, i);
    for (uint32_t i = 0; i < config->readers; i++)
        client_init(l, READER, i);
    for (uint32_t i = 0; i < LEASERS; i++)
        client_init(l, LEASER, i);
    client_init(l, COMPACTOR, 0);
    for (uint32_t i = 0; i < endpoints; i++)
        client_init(l, CLOSER, i);
    for (uint32_t i = 0; i < config->watchers; i++)
        watcher_init(l, i);
    uv_timer_init(&l->loop, &l->tick);
    uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_SIZE(l->signals); i++) {
        uv_signal_init(&l->loop, &l->signals[i]);
        l->signals[i].data = l;
        uv_signal_start(&l->signals[i], on_signal, numbers[i]);
    }
    uv_run(&l->loop, UV_RUN_DEFAULT);
    uv_loop_close(&l->loop);
    history_check(l->h);
    report(l);
    int rc = history_violations(l->h) > 0;
    if (l->record != NULL)
        fclose(l->record);
    history_free(l->h);
    free(l->clients);
    free(l->watchers);
    free(l);
    return rc;
}
