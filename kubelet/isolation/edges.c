/* edges.c - see edges.h. */
#include "kubelet/isolation/edges.h"

#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/metrics.h"

#include "api/meta_v1.h"

const char *const edges_commands[] = {"list counters table inet " ISOLATION_TABLE,
                                      "list set inet " ISOLATION_TABLE " refused4",
                                      "list set inet " ISOLATION_TABLE " refused6", NULL};

struct attempt {
    struct str from, to, protocol;
    int64_t port, count, expires_s;
};

struct counted {
    struct arena *a;
    struct map packets; /* counter -> json integer */
    struct attempt *attempts;
    size_t count, cap;
};

static void note_attempt(struct counted *c, const struct json *item)
{
    const struct json *e = json_getc(item, "elem");
    const struct json *key = json_path(e, "val.concat");
    const struct json *n = json_getc(e, "counter");
    if (key == NULL || key->type != JSON_ARRAY || key->array.count != 4 || n == NULL)
        return;
    struct json *const *k = key->array.items;
    if (k[0]->type != JSON_STRING || k[1]->type != JSON_STRING)
        return;
    struct str protocol = k[2]->type == JSON_STRING ? k[2]->string : STR("?");
    c->attempts = arena_grow(c->a, c->attempts, c->count, &c->cap, sizeof(*c->attempts));
    c->attempts[c->count++] =
        (struct attempt){.from = k[0]->string,
                         .to = k[1]->string,
                         .protocol = protocol,
                         .port = k[3]->type == JSON_INT ? k[3]->integer : 0,
                         .count = json_get_int(n, "packets", 0),
                         .expires_s = json_get_int(e, "expires", ISOLATION_REFUSED_S)};
}

static void note(struct counted *c, const struct json *object)
{
    const struct json *counter = json_getc(object, "counter"), *set = json_getc(object, "set");
    const struct json *list = json_getc(set, "elem");
    if (counter != NULL)
        map_set(&c->packets, json_get_str(counter, "name"), json_getc(counter, "packets"));
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++)
        note_attempt(c, list->array.items[i]);
}

static int read_listed(struct counted *c, struct str listed, struct error *err)
{
    struct str line, rest = listed;
    for (bool more = true; more;) {
        struct json *j;
        more = str_cut(rest, '\n', &line, &rest);
        if (str_empty(str_trim(line)))
            continue;
        int rc = json_parse(c->a, line, &j, err);
        if (rc != 0)
            return error_prefix(err, "what nft lists");
        const struct json *all = json_getc(j, "nftables");
        for (size_t i = 0; all != NULL && all->type == JSON_ARRAY && i < all->array.count; i++)
            note(c, all->array.items[i]);
    }
    return 0;
}

/* --- telling --------------------------------------------------------------------------- */

static struct json *time_json(struct arena *a, int64_t s)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_time t = {.seconds = s};
    time_format(&t, text);
    return json_string(a, str_of(text));
}

static struct json *packets(struct counted *c, struct str counter)
{
    const struct json *n = map_get(&c->packets, counter);
    return json_int(c->a, n != NULL && n->type == JSON_INT ? n->integer : 0);
}

static struct str name_attempt(const struct edges_inputs *in, struct arena *a,
                               const struct attempt *x)
{
    struct str name =
        in->name_of != NULL ? in->name_of(in->arg, a, x->to, x->protocol, (int)x->port) : STR_NULL;
    bool v6 = str_find(x->to, ':', 0) >= 0;
    if (str_empty(name))
        return arena_printf(a, "%s" STR_FMT "%s:%d/" STR_FMT, v6 ? "[" : "", STR_ARG(x->to),
                            v6 ? "]" : "", (int)x->port, STR_ARG(x->protocol));
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(name), STR_ARG(x->protocol));
}

static bool is_from(const struct isolation_workload *w, struct str ip)
{
    for (size_t i = 0; i < w->ip_count; i++)
        if (str_eq(w->ips[i], ip))
            return true;
    return false;
}

/* Attempts of all pods of the workload at one destination are one. */
static struct json *attempts_json(const struct edges_inputs *in, struct counted *c,
                                  const struct isolation_workload *w)
{
    struct json *list = json_array(c->a);
    for (size_t i = 0; i < c->count; i++) {
        const struct attempt *x = &c->attempts[i];
        if (!is_from(w, x->from))
            continue;
        struct str to = name_attempt(in, c->a, x);
        struct json *item = NULL;
        for (size_t k = 0; k < list->array.count && item == NULL; k++)
            if (str_eq(json_get_str(list->array.items[k], "to"), to))
                item = list->array.items[k];
        struct json *last = time_json(c->a, in->now_s - (ISOLATION_REFUSED_S - x->expires_s));
        if (item == NULL) {
            item = json_object(c->a);
            json_setc(c->a, item, "to", json_string(c->a, to));
            json_append(c->a, list, item);
        }
        json_setc(c->a, item, "count", json_int(c->a, json_get_int(item, "count", 0) + x->count));
        /* Text of one form: the later is the greater. */
        if (str_cmp(last->string, json_get_str(item, "last")) > 0)
            json_setc(c->a, item, "last", last);
    }
    return list;
}

static struct json *workload_json(const struct edges_inputs *in, struct counted *c,
                                  const struct isolation_workload *w)
{
    struct arena *a = c->a;
    struct json *j = json_object(a), *edges = json_array(a);
    json_setc(a, j, "namespace", json_string(a, w->namespace_));
    json_setc(a, j, "name", json_string(a, w->name));
    json_setc(a, j, "mode", json_string(a, w->enforced ? STR("declared") : STR("audit")));
    json_setc(a, j, "pods", json_int(a, (int64_t)w->pod_count));
    for (size_t i = 0; i < w->edge_count; i++) {
        struct json *e = json_object(a);
        json_setc(a, e, "to", json_string(a, w->edges[i].to));
        json_setc(a, e, "connections", packets(c, w->edges[i].counter));
        json_append(a, edges, e);
    }
    json_setc(a, j, "edges", edges);
    json_setc(a, j, "refused", packets(c, w->refused));
    json_setc(a, j, "attempts", attempts_json(in, c, w));
    return j;
}

static void write_metrics(const struct edges_inputs *in, struct counted *c, struct buf *out)
{
    struct metrics *m = metrics_new();
    struct metric_family *used = metric_counter(
        m, "trireme_isolation_connections_total",
        "Connections of a workload's pods on this node over an edge that it declares",
        METRIC_LABELS("namespace", "workload", "to"));
    struct metric_family *refused =
        metric_counter(m, "trireme_isolation_undeclared_total",
                       "Packets that began something undeclared: refused, or let go in an audit",
                       METRIC_LABELS("namespace", "workload", "mode"));
    for (size_t i = 0; in->plan != NULL && i < in->plan->count; i++) {
        const struct isolation_workload *w = &in->plan->workloads[i];
        for (size_t k = 0; k < w->edge_count; k++)
            metric_add(METRIC_OF(used, w->namespace_, w->name, w->edges[k].to),
                       (double)packets(c, w->edges[k].counter)->integer);
        metric_add(METRIC_OF(refused, w->namespace_, w->name,
                             w->enforced ? STR("declared") : STR("audit")),
                   (double)packets(c, w->refused)->integer);
    }
    metrics_render(m, out);
    metrics_free(m);
}

int edges_write(const struct edges_inputs *in, struct buf *out, struct buf *ret_metrics,
                struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct counted c = {.a = a};
    map_init(&c.packets);
    int rc = read_listed(&c, in->listed, err);
    struct json *j = json_object(a), *list = json_array(a);
    json_setc(a, j, "node", json_string(a, str_of(in->node)));
    json_setc(a, j, "since", time_json(a, in->since_s));
    for (size_t i = 0; rc == 0 && in->plan != NULL && i < in->plan->count; i++)
        json_append(a, list, workload_json(in, &c, &in->plan->workloads[i]));
    json_setc(a, j, "workloads", list);
    if (rc == 0) {
        json_write(j, false, out);
        buf_putc(out, '\n');
        write_metrics(in, &c, ret_metrics);
    }
    map_done(&c.packets);
    return rc;
}
