/* flow_debug.c - /debug/api_priority_and_fairness/: tables of levels, queues and
 * requests, with upstream's columns. */
#include "apiserver/flow_control_internal.h"

#include "apiserver/request.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/flags.h"
#include "lib/net/http_server.h"

#include <inttypes.h>

#define DEBUG_PATH "/debug/api_priority_and_fairness/"
#define COLUMNS_MAX 18
#define COLUMN_BYTES_MIN 8
/* Of a level with more queues only those are shown that have requests. */
#define QUEUES_SHOWN_MAX 1024

/* --- a table --------------------------------------------------------------------------------- */
struct dump {
    struct arena *arena;
    struct str *cells;
    size_t count, cap, columns;
    int64_t wall_ns; /* Now, by both clocks. */
    uint64_t mono_ns;
};

static void cell(struct dump *d, struct str s)
{
    d->cells = arena_grow(d->arena, d->cells, d->count, &d->cap, sizeof(*d->cells));
    d->cells[d->count++] = arena_str(d->arena, s);
}

static void cell_number(struct dump *d, int64_t v)
{
    cell(d, arena_printf(d->arena, "%" PRId64, v));
}

static void cell_flag(struct dump *d, bool v)
{
    cell(d, v ? STR("true") : STR("false"));
}

/* Virtual time in seat-seconds. */
static void cell_work(struct dump *d, int64_t v)
{
    const char *sign = v < 0 ? "-" : "";
    v = v < 0 ? -v : v;
    cell(d, arena_printf(d->arena, "%s%" PRId64 ".%08" PRId64 "ss", sign, v / FLOW_R_PER_SECOND,
                         v % FLOW_R_PER_SECOND));
}

/* A moment of the monotonic clock, with as many decimals as it needs; 0: never. */
static void cell_time(struct dump *d, uint64_t mono_ns)
{
    char text[TIME_TEXT_MAX];
    if (mono_ns == 0) {
        cell(d, STR("0001-01-01T00:00:00Z"));
        return;
    }
    int64_t ns = d->wall_ns - (int64_t)(d->mono_ns - mono_ns);
    struct meta_v1_time t = {.seconds = ns / 1000000000};
    struct str whole = str_n(text, time_format(&t, text)), part;
    part = arena_printf(d->arena, "%09" PRId64, ns % 1000000000);
    while (part.len > 0 && part.data[part.len - 1] == '0')
        part.len--;
    whole.len--; /* Z */
    cell(d, arena_printf(d->arena, STR_FMT "%s" STR_FMT "Z", STR_ARG(whole),
                         part.len != 0 ? "." : "", STR_ARG(part)));
}

static void headers(struct dump *d, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cell(d, str_of(names[i]));
    d->columns += count;
}

/* Columns with commas between, padded to their widest cell; the last one is not. */
static void answer(struct req *r, const struct dump *d)
{
    size_t width[COLUMNS_MAX] = {0};
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < d->count; i++) {
        size_t *w = &width[i % d->columns];
        *w = MAX_OF(MAX_OF(*w, d->cells[i].len + 2), (size_t)COLUMN_BYTES_MIN);
    }
    for (size_t i = 0; i < d->count; i++) {
        size_t column = i % d->columns;
        buf_append_str(&b, d->cells[i]);
        if (column + 1 == d->columns) {
            buf_putc(&b, '\n');
            continue;
        }
        buf_putc(&b, ',');
        for (size_t n = d->cells[i].len + 1; n < width[column]; n++)
            buf_putc(&b, ' ');
    }
    req_text(r, 200, "text/plain; charset=utf-8", buf_str(&b));
}

/* --- rows ------------------------------------------------------------------------------------ */
static void level_row(struct dump *d, struct flow_level *l)
{
    const struct flow_set *s = &l->set;
    cell(d, str_of(l->name));
    cell_number(d, (int64_t)s->ready.count);
    cell_flag(d, s->requests_waiting == 0 && s->requests_executing == 0);
    cell_flag(d, atomic_load(&l->quiescing));
    cell_number(d, s->requests_waiting);
    cell_number(d, s->requests_executing);
    cell_number(d, (int64_t)s->totals.dispatched);
    cell_number(d, (int64_t)s->totals.rejected);
    cell_number(d, (int64_t)s->totals.timed_out);
    cell_number(d, (int64_t)s->totals.cancelled);
}

static void queue_row(struct dump *d, const struct flow_level *l, int64_t index,
                      const struct flow_queue *q)
{
    cell(d, str_of(l->name));
    cell_number(d, index);
    cell_number(d, q->waiting_count);
    cell_number(d, q->executing);
    cell_number(d, q->seats_in_use);
    cell_work(d, q->next_r);
    cell_number(d, (int64_t)q->waiting_initial);
    cell_number(d, (int64_t)q->waiting_seats);
    cell_work(d, q->waiting_work);
}

static void queue_rows(struct dump *d, struct flow_level *l)
{
    static const struct flow_queue nothing;
    const struct flow_set *s = &l->set;
    if (s->config.queues <= QUEUES_SHOWN_MAX) {
        for (int32_t i = 0; i < s->config.queues; i++)
            queue_row(d, l, i, s->queues[i] != NULL ? s->queues[i] : &nothing);
        return;
    }
    LIST_FOREACH (it, &s->active) {
        const struct flow_queue *q = LIST_ENTRY(it, struct flow_queue, link);
        queue_row(d, l, q->index, q);
    }
}

static void details(struct dump *d, const struct req *r)
{
    const struct request_info *i = &r->info;
    cell(d, r->user->name);
    cell(d, str_of(i->verb));
    cell(d, i->path);
    cell(d, i->ns);
    cell(d, i->name);
    cell(d, i->group.len != 0 ? arena_printf(d->arena, STR_FMT "/" STR_FMT, STR_ARG(i->group),
                                             STR_ARG(i->version))
                              : i->version);
    cell(d, i->resource);
    cell(d, i->subresource);
}

/* Of another thread's request only what has not changed since it was classified: under the
 * level's lock it cannot end. */
static void request_row(struct dump *d, const struct flow_level *l, const struct flow_ticket *t,
                        int64_t position, bool with_details)
{
    const struct flow_request *fr =
        CONTAINER_OF((struct flow_ticket *)(uintptr_t)t, struct flow_request, ticket);
    AUTO_BUF extra = BUF_INIT;
    duration_print((int64_t)t->work.extra_ns, &extra);
    cell(d, str_of(l->name));
    cell(d, str_of(fr->state->name));
    cell_number(d, t->queue != NULL ? (int64_t)t->queue->index : -1);
    cell_number(d, position);
    cell(d, fr->distinguisher);
    cell_time(d, t->arrival_ns);
    cell_number(d, t->work.seats);
    cell_number(d, t->work.final_seats);
    cell(d, buf_str(&extra));
    cell_time(d, t->start_ns);
    if (with_details)
        details(d, fr->req);
}

static void request_rows(struct dump *d, struct flow_level *l, bool with_details)
{
    LIST_FOREACH (it, &l->set.active) {
        int64_t position = 0;
        LIST_FOREACH (w, &LIST_ENTRY(it, struct flow_queue, link)->waiting)
            request_row(d, l, LIST_ENTRY(w, struct flow_ticket, link), position++, with_details);
    }
    LIST_FOREACH (it, &l->set.executing)
        request_row(d, l, LIST_ENTRY(it, struct flow_ticket, link), -1, with_details);
}

/* --- tables ------------------------------------------------------------------------------------
 */
static void dump_levels(struct dump *d, struct flow_level *l, struct req *r)
{
    UNUSED(r);
    level_row(d, l);
}

static void dump_queues(struct dump *d, struct flow_level *l, struct req *r)
{
    UNUSED(r);
    queue_rows(d, l);
}

static void dump_requests(struct dump *d, struct flow_level *l, struct req *r)
{
    request_rows(d, l, req_query(r, "includeRequestDetails").len != 0);
}

static const char *const level_columns[] = {
    "PriorityLevelName",  "ActiveQueues",     "IsIdle",
    "IsQuiescing",        "WaitingRequests",  "ExecutingRequests",
    "DispatchedRequests", "RejectedRequests", "TimedoutRequests",
    "CancelledRequests"};
static const char *const queue_columns[] = {"PriorityLevelName", "Index",       "PendingRequests",
                                            "ExecutingRequests", "SeatsInUse",  "NextDispatchR",
                                            "InitialSeatsSum",   "MaxSeatsSum", "TotalWorkSum"};
static const char *const request_columns[] = {
    "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher",
    "ArriveTime",        "InitialSeats",   "FinalSeats", "AdditionalLatency",   "StartTime"};
static const char *const detail_columns[] = {"UserName", "Verb",       "APIPath",  "Namespace",
                                             "Name",     "APIVersion", "Resource", "SubResource"};

static const struct {
    const char *name;
    const char *const *columns;
    size_t column_count;
    void (*rows)(struct dump *d, struct flow_level *l, struct req *r);
} tables[] = {
    {"dump_priority_levels", level_columns, ARRAY_SIZE(level_columns), dump_levels},
    {"dump_queues", queue_columns, ARRAY_SIZE(queue_columns), dump_queues},
    {"dump_requests", request_columns, ARRAY_SIZE(request_columns), dump_requests},
};

static void serve(struct req *r, size_t which)
{
    struct flow_control *fc = r->server->flow;
    struct dump d = {
        .arena = r->arena, .wall_ns = env_wall_ns(r->server->env), .mono_ns = uv_hrtime()};
    headers(&d, tables[which].columns, tables[which].column_count);
    if (tables[which].rows == dump_requests && req_query(r, "includeRequestDetails").len != 0)
        headers(&d, detail_columns, ARRAY_SIZE(detail_columns));
    pthread_mutex_lock(&fc->lock);
    struct flow_config *c = flow_config_ref(fc->config);
    pthread_mutex_unlock(&fc->lock);
    for (size_t i = 0; i < c->level_count; i++) {
        struct flow_level *l = c->levels[i];
        pthread_mutex_lock(&l->lock);
        tables[which].rows(&d, l, r);
        pthread_mutex_unlock(&l->lock);
    }
    flow_config_unref(c);
    answer(r, &d);
}

bool flow_debug_serve(struct req *r)
{
    if (r->server->flow == NULL || !str_has_prefix(r->info.path, STR(DEBUG_PATH)))
        return false;
    struct str name = str_sub(r->info.path, sizeof(DEBUG_PATH) - 1, r->info.path.len);
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        if (str_eqc(name, tables[i].name)) {
            serve(r, i);
            return true;
        }
    return false;
}
