/* edges.c - `trireme edges`: what workloads declare to depend on, what they use of it, and what
 * they were refused, as all nodes have counted it (kubelet/isolation/edges.h). */
#include "cli/objects.h"
#include "cli/verbs.h"

#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500

/* One line: a workload and what it reaches, of all nodes together. */
struct edge {
    struct str namespace_, workload, to, last;
    const char *state;
    bool refused;
    int64_t count;
};

struct edges {
    struct objects objects;
    const char *output;
    struct arena *arena;
    struct str *nodes;
    size_t node_count, node_cap;
    struct edge *items;
    size_t count, cap;
    struct str since; /* The latest of all nodes. */
};

static int add_node(const struct api_object *list, void *item, void *arg)
{
    struct edges *e = arg;
    const struct core_v1_node *n = item;
    UNUSED(list);
    e->nodes = arena_grow(e->arena, e->nodes, e->node_count, &e->node_cap, sizeof(*e->nodes));
    e->nodes[e->node_count++] = arena_str(e->arena, n->metadata.name);
    return 0;
}

static void add(struct edges *e, const struct edge *x)
{
    for (size_t i = 0; i < e->count; i++) {
        struct edge *o = &e->items[i];
        if (o->refused != x->refused || !str_eq(o->namespace_, x->namespace_) ||
            !str_eq(o->workload, x->workload) || !str_eq(o->to, x->to))
            continue;
        o->count += x->count;
        if (str_cmp(x->last, o->last) > 0)
            o->last = x->last;
        return;
    }
    e->items = arena_grow(e->arena, e->items, e->count, &e->cap, sizeof(*e->items));
    e->items[e->count++] = *x;
}

static size_t length(const struct json *list)
{
    return list != NULL && list->type == JSON_ARRAY ? list->array.count : 0;
}

static void add_workload(struct edges *e, const struct json *w)
{
    const struct json *edges = json_getc(w, "edges"), *attempts = json_getc(w, "attempts");
    bool audit = str_eqc(json_get_str(w, "mode"), "audit");
    struct edge x = {.namespace_ = json_get_str(w, "namespace"),
                     .workload = json_get_str(w, "name")};
    if (!e->objects.all_namespaces && !str_eq(x.namespace_, e->objects.namespace_name))
        return;
    for (size_t i = 0; i < length(edges); i++) {
        x.to = json_get_str(edges->array.items[i], "to");
        x.count = json_get_int(edges->array.items[i], "connections", 0);
        add(e, &x);
    }
    x.refused = true;
    x.state = audit ? "undeclared" : "refused";
    for (size_t i = 0; i < length(attempts); i++) {
        x.to = json_get_str(attempts->array.items[i], "to");
        x.count = json_get_int(attempts->array.items[i], "count", 0);
        x.last = json_get_str(attempts->array.items[i], "last");
        add(e, &x);
    }
}

/* A node that does not answer is said and left out. */
static bool read_node(struct edges *e, struct str node)
{
    struct sync_answer answer = {0};
    struct error err = {0};
    struct json *j = NULL;
    struct client_raw raw = {
        .path = arena_printf(e->arena, "/api/v1/nodes/" STR_FMT "/proxy/edges", STR_ARG(node))};
    int rc = sync_raw(e->objects.client, &raw, &answer, &err);
    if (rc == 0)
        rc = json_parse(e->arena, arena_str(e->arena, answer.body), &j, &err);
    sync_answer_done(&answer);
    if (rc != 0) {
        fprintf(stderr, "warning: node " STR_FMT ": %s\n", STR_ARG(node), error_message(&err));
        return false;
    }
    struct str since = json_get_str(j, "since");
    if (str_cmp(since, e->since) > 0)
        e->since = since;
    const struct json *workloads = json_getc(j, "workloads");
    for (size_t i = 0; i < length(workloads); i++)
        add_workload(e, workloads->array.items[i]);
    return true;
}

static int by_text(const void *x, const void *y)
{
    const struct edge *a = x, *b = y;
    int c = str_cmp(a->namespace_, b->namespace_);
    if (c == 0)
        c = str_cmp(a->workload, b->workload);
    if (c == 0)
        c = (int)a->refused - (int)b->refused;
    return c != 0 ? c : str_cmp(a->to, b->to);
}

static const char *state_of(const struct edge *x)
{
    return x->state != NULL ? x->state : x->count > 0 ? "used" : "unused";
}

static void print_table(const struct edges *e)
{
    int ns = 9, workload = 8, to = 2;
    if (e->count == 0) {
        fputs("No workload declares dependencies here.\n", stderr);
        return;
    }
    for (size_t i = 0; i < e->count; i++) {
        ns = MAX_OF(ns, (int)e->items[i].namespace_.len);
        workload = MAX_OF(workload, (int)e->items[i].workload.len);
        to = MAX_OF(to, (int)e->items[i].to.len);
    }
    printf("%-*s   %-*s   %-*s   %-10s   %11s   %s\n", ns, "NAMESPACE", workload, "WORKLOAD", to,
           "TO", "STATE", "CONNECTIONS", "LAST");
    for (size_t i = 0; i < e->count; i++) {
        const struct edge *x = &e->items[i];
        printf("%-*.*s   %-*.*s   %-*.*s   %-10s   %11lld   " STR_FMT "\n", ns,
               STR_ARG(x->namespace_), workload, STR_ARG(x->workload), to, STR_ARG(x->to),
               state_of(x), (long long)x->count, STR_ARG(str_empty(x->last) ? STR("-") : x->last));
    }
    printf("Counted since " STR_FMT ".\n", STR_ARG(e->since));
}

static void print_json(const struct edges *e)
{
    struct arena *a = e->arena;
    struct json *j = json_object(a), *list = json_array(a);
    AUTO_BUF b = BUF_INIT;
    json_setc(a, j, "since", json_string(a, e->since));
    for (size_t i = 0; i < e->count; i++) {
        const struct edge *x = &e->items[i];
        struct json *o = json_object(a);
        json_setc(a, o, "namespace", json_string(a, x->namespace_));
        json_setc(a, o, "workload", json_string(a, x->workload));
        json_setc(a, o, "to", json_string(a, x->to));
        json_setc(a, o, "state", json_string(a, str_of(state_of(x))));
        json_setc(a, o, "connections", json_int(a, x->count));
        if (!str_empty(x->last))
            json_setc(a, o, "last", json_string(a, x->last));
        json_append(a, list, o);
    }
    json_setc(a, j, "edges", list);
    json_write_indent(j, false, 4, &b);
    printf(STR_FMT "\n", STR_ARG(buf_str(&b)));
}

static int run(struct edges *e, struct error *err)
{
    struct client_call call = {.verb = CLIENT_LIST};
    bool json = e->output != NULL && strcmp(e->output, "json") == 0, any = false;
    if (e->output != NULL && !json)
        return error_set(err, E_USAGE, "--output=%s: must be json, or not given", e->output);
    int rc = objects_connect(e->arena, &e->objects, err);
    if (rc == 0)
        rc = objects_kind(STR("nodes"), &call.kind, err);
    if (rc == 0)
        rc = sync_list(e->objects.client, &call, PAGE, add_node, e, err);
    for (size_t i = 0; rc == 0 && i < e->node_count; i++)
        any = read_node(e, e->nodes[i]) || any;
    if (rc == 0 && !any)
        return error_set(err, E_UNAVAILABLE, "no node could be asked");
    if (rc != 0)
        return rc;
    if (e->count > 0)
        qsort(e->items, e->count, sizeof(*e->items), by_text);
    if (json)
        print_json(e);
    else
        print_table(e);
    return 0;
}

int verb_edges(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct edges e = {.arena = a};
    struct flag_set *flags = flag_set_new("trireme edges [flags]");
    objects_register_flags(&e.objects, flags);
    flag_bool(flags, &e.objects.all_namespaces, "all-namespaces,A", "Of all namespaces.");
    flag_string(flags, &e.output, "output,o", "`Form`: json; else a table.");
    int exit_code = 0;
    if (verb_flags_alone(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        exit_code = run(&e, &err) == 0 ? 0 : verb_fail(&err);
    }
    objects_done(&e.objects);
    flag_set_free(flags);
    return exit_code;
}
