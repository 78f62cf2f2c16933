/* flow_estimate.c - see flow_estimate.h. Numbers are upstream's; an average size
 * is that of a few objects, since a list here never holds them all at once. */
#include "apiserver/flow_estimate.h"

#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/request.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "raftstore/store.h"

#include <string.h>

#define BYTES_PER_SEAT 100000
#define LIST_BYTES_MAX 1000000 /* At once, however long the list. */
#define OBJECT_BYTES_MAX 1500000
#define LIST_SEATS_MAX 100u
#define WRITE_SEATS_MAX 10u
#define WATCHES_PER_SEAT 10u
#define EVENT_NS UINT64_C(5000000) /* That the watches of one seat are busy with a change. */
#define STATS_MS 1000u
#define SAMPLES 16
#define KEY_BYTES_MAX 1024

/* --- watches --------------------------------------------------------------------------------- */
void flow_watches_init(struct flow_watches *w)
{
    pthread_mutex_init(&w->lock, NULL);
    map_init(&w->counts);
}

void flow_watches_done(struct flow_watches *w)
{
    map_done(&w->counts);
    pthread_mutex_destroy(&w->lock);
}

/* The count is the map's value itself. */
static uintptr_t count_at(const struct flow_watches *w, struct str key)
{
    return (uintptr_t)map_get(&w->counts, key);
}

/* group NUL resource [NUL ns [NUL name]]; empty: too long to be a real one. */
static struct str key_of(char buf[KEY_BYTES_MAX], struct str group, struct str resource,
                         struct str ns, struct str name)
{
    const struct str parts[] = {group, resource, ns, name};
    size_t count = name.len != 0 ? 4 : ns.len != 0 ? 3 : 2, len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len + 1 > KEY_BYTES_MAX - len)
            return STR_NULL;
        if (i > 0)
            buf[len++] = '\0';
        if (parts[i].len != 0)
            memcpy(buf + len, parts[i].data, parts[i].len);
        len += parts[i].len;
    }
    return str_n(buf, len);
}

/* A watch of one node's pods: spec.nodeName=X in its field selector. */
static bool of_one_node(const struct request_info *i)
{
    struct str rest = i->field_selector, part, key, value;
    bool more = rest.len != 0 && str_eqc(i->resource, "pods");
    while (more) {
        more = str_cut(rest, ',', &part, &rest);
        if (!str_cut(part, '=', &key, &value) || !str_eqc(key, "spec.nodeName"))
            continue;
        if (value.len != 0 && value.data[0] == '=')
            value = str_sub(value, 1, value.len);
        return value.len != 0;
    }
    return false;
}

void flow_watches_add(struct flow_watches *w, const struct request_info *info, int delta)
{
    char buf[KEY_BYTES_MAX];
    struct str name = info->name.len != 0 ? info->name : info->selected_name;
    struct str key = key_of(buf, info->group, info->resource, info->ns, name);
    if (key.len == 0 || of_one_node(info))
        return;
    pthread_mutex_lock(&w->lock);
    uintptr_t count = count_at(w, key) + (uintptr_t)(intptr_t)delta;
    if (count == 0)
        map_remove(&w->counts, key);
    else
        map_set(&w->counts, key, (void *)count); // NOLINT(performance-no-int-to-ptr)
    pthread_mutex_unlock(&w->lock);
}

uint32_t flow_watches_count(struct flow_watches *w, const struct request_info *info)
{
    char buf[KEY_BYTES_MAX];
    uintptr_t count = 0;
    const struct str scopes[][2] = {
        {STR_NULL, STR_NULL}, {info->ns, STR_NULL}, {info->ns, info->name}};
    pthread_mutex_lock(&w->lock);
    if (w->counts.count != 0)
        for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
            bool again = i > 0 && scopes[i][i - 1].len == 0;
            struct str key =
                again ? STR_NULL
                      : key_of(buf, info->group, info->resource, scopes[i][0], scopes[i][1]);
            if (key.len != 0)
                count += count_at(w, key);
        }
    pthread_mutex_unlock(&w->lock);
    return (uint32_t)MIN_OF(count, (uintptr_t)UINT32_MAX / 2);
}

/* --- objects -----------------------------------------------------------------------------------
 */
static void look(struct server_thread *t, const struct resource *res, struct flow_stats *ret)
{
    struct store_view *v = store_view(t->server->store);
    AUTO_BUF end = BUF_INIT;
    struct store_iter it;
    int64_t bytes = 0, seen = 0;
    buf_append_str(&end, res->prefix);
    end.data[end.len - 1]++; /* '/' becomes '0'. */
    ret->objects = store_view_count(v, res->prefix, buf_str(&end), 0);
    if (ret->objects > 0 && store_iter_init(&it, v, res->prefix, buf_str(&end), 0) == 0)
        for (const struct kv *kv; seen < SAMPLES && (kv = store_iter_next(&it)) != NULL; seen++)
            bytes += (int64_t)kv_value(kv).len;
    ret->bytes_each = seen > 0 ? MIN_OF(bytes / seen + 1, (int64_t)OBJECT_BYTES_MAX) : 0;
    store_view_unref(v);
}

static const struct flow_stats *stats_of(struct flow_stats_table *s, struct req *r)
{
    const struct resource *res = registry_find(r->info.group, r->info.version, r->info.resource);
    if (res == NULL || !res->primary->stored)
        return NULL;
    res = res->primary;
    if (res->index >= s->cap) {
        size_t cap = MAX_OF((size_t)res->index + 1, s->cap * 2);
        s->items = xrealloc(s->items, cap * sizeof(*s->items));
        memset(s->items + s->cap, 0, (cap - s->cap) * sizeof(*s->items));
        s->cap = cap;
    }
    struct flow_stats *item = &s->items[res->index];
    uint64_t now_ms = r->start_ns / 1000000 + 1;
    if (item->at_ms == 0 || now_ms - item->at_ms >= STATS_MS) {
        look(r->thread, res, item);
        item->at_ms = now_ms;
    }
    return item;
}

/* --- rules -------------------------------------------------------------------------------------
 */
uint32_t flow_list_seats(int64_t objects, int64_t bytes_each, uint32_t seats_max)
{
    int64_t most = seats_max == 0 ? LIST_SEATS_MAX : MIN_OF(seats_max, LIST_SEATS_MAX);
    int64_t bytes = objects >= LIST_BYTES_MAX
                        ? LIST_BYTES_MAX
                        : MIN_OF(objects * bytes_each, (int64_t)LIST_BYTES_MAX);
    int64_t seats = (bytes + BYTES_PER_SEAT - 1) / BYTES_PER_SEAT;
    return (uint32_t)MAX_OF(MIN_OF(seats, most), (int64_t)1);
}

struct flow_work flow_write_work(uint32_t watches, uint32_t seats_max)
{
    uint32_t most = seats_max == 0 ? WRITE_SEATS_MAX : MIN_OF(seats_max, WRITE_SEATS_MAX);
    struct flow_work w = {.seats = 1};
    if (watches < WATCHES_PER_SEAT)
        return w;
    uint64_t seats = (watches + WATCHES_PER_SEAT - 1) / WATCHES_PER_SEAT;
    w.final_seats = (uint32_t)MIN_OF(seats, (uint64_t)most);
    w.extra_ns = seats * EVENT_NS / w.final_seats; /* Narrower and longer. */
    return w;
}

static uint32_t list_seats(struct flow_stats_table *stats, struct req *r, uint32_t seats_max)
{
    const struct flow_stats *s = stats_of(stats, r);
    if (s == NULL)
        return 1;
    if (r->info.name.len != 0 || r->info.selected_name.len != 0)
        return flow_list_seats(1, s->bytes_each, seats_max);
    int64_t objects = s->objects, limit = 0;
    if (str_to_i64(req_query(r, "limit"), &limit) && limit > 0)
        objects = MIN_OF(objects, limit);
    return flow_list_seats(objects, s->bytes_each, seats_max);
}

/* Does the watch begin with the present state? */
static bool begins_with_list(struct req *r)
{
    struct str rv = req_query(r, "resourceVersion");
    return rv.len == 0 || str_eqc(rv, "0") || req_query_bool(r, "sendInitialEvents");
}

struct flow_work flow_estimate(struct flow_stats_table *stats, struct flow_watches *watches,
                               struct req *r, uint32_t seats_max, int64_t *ret_watches)
{
    static const char *const writes[] = {"create", "update", "patch", "delete"};
    struct flow_work one = {.seats = 1};
    const char *verb = r->info.verb;
    *ret_watches = -1;
    if (!r->info.is_resource)
        return one;
    if (strcmp(verb, "list") == 0 || (strcmp(verb, "watch") == 0 && begins_with_list(r)))
        return (struct flow_work){.seats = list_seats(stats, r, seats_max)};
    for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
        if (strcmp(verb, writes[i]) == 0) {
            if (str_eqc(r->info.subresource, "token"))
                return one; /* Nothing changes. */
            *ret_watches = flow_watches_count(watches, &r->info);
            return flow_write_work((uint32_t)*ret_watches, seats_max);
        }
    return one;
}
