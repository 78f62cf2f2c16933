/* read.c - `trireme get`, `describe` and `logs`.
 *
 * Objects come as protobuf. The columns of `get` are the server's Table, which
 * the API defines in JSON only. */
#include "cli/objects.h"
#include "cli/verbs.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 64
#define TABLE_ACCEPT "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

struct get {
    struct objects objects;
    const char *output;
    const char *selector;
    const char *field_selector;
    bool no_headers;
    bool label_kind; /* Several kinds: names as kind/name. */
};

/* --- tables ----------------------------------------------------------------------- */

static void cell_text(const struct json *cell, struct buf *b)
{
    if (cell->type == JSON_STRING)
        buf_append_str(b, cell->string);
    else if (cell->type == JSON_NULL)
        buf_puts(b, "<none>");
    else
        json_write(cell, true, b);
}

static void print_columns(struct str **rows, size_t row_count, size_t columns)
{
    size_t width[COLUMNS_MAX] = {0};
    for (size_t r = 0; r < row_count; r++)
        for (size_t c = 0; c < columns; c++)
            width[c] = MAX_OF(width[c], rows[r][c].len);
    for (size_t r = 0; r < row_count; r++) {
        for (size_t c = 0; c < columns; c++)
            printf("%-*.*s", c + 1 < columns ? (int)width[c] + 3 : 0, STR_ARG(rows[r][c]));
        putchar('\n');
    }
}

static struct str upper(struct arena *a, struct str s)
{
    char *p = arena_memdup(a, s.data, s.len);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)toupper((unsigned char)p[i]);
    return str_n(p, s.len);
}

/* Which columns of the table are shown; returns their number. */
static size_t choose_columns(const struct json *definitions, bool wide, size_t *ret)
{
    size_t n = 0;
    for (size_t i = 0; i < definitions->array.count && n < COLUMNS_MAX - 1; i++)
        if (wide || json_get_int(definitions->array.items[i], "priority", 0) == 0)
            ret[n++] = i;
    return n;
}

static int print_table(struct arena *a, const struct get *g, const struct api_kind *k,
                       const struct json *table, struct error *err)
{
    const struct json *definitions = json_getc(table, "columnDefinitions"),
                      *rows = json_getc(table, "rows");
    if (definitions == NULL || definitions->type != JSON_ARRAY)
        return error_set(err, E_INTERNAL, "the server answered no table");
    if (rows == NULL || rows->type != JSON_ARRAY || rows->array.count == 0) {
        if (k->namespaced && !g->objects.all_namespaces)
            fprintf(stderr, "No resources found in " STR_FMT " namespace.\n",
                    STR_ARG(g->objects.namespace_name));
        else
            fprintf(stderr, "No resources found\n");
        return 0;
    }
    size_t chosen[COLUMNS_MAX];
    size_t columns = choose_columns(definitions, g->output != NULL, chosen);
    bool with_namespace = g->objects.all_namespaces && k->namespaced;
    size_t lead = with_namespace, count = 0;
    struct str **out = ARENA_ARRAY(a, struct str *, rows->array.count + 1);
    if (!g->no_headers) {
        out[count] = ARENA_ARRAY(a, struct str, columns + lead);
        if (with_namespace)
            out[count][0] = STR("NAMESPACE");
        for (size_t c = 0; c < columns; c++)
            out[count][lead + c] =
                upper(a, json_get_str(definitions->array.items[chosen[c]], "name"));
        count++;
    }
    for (size_t r = 0; r < rows->array.count; r++) {
        const struct json *row = rows->array.items[r], *cells = json_getc(row, "cells");
        out[count] = ARENA_ARRAY(a, struct str, columns + lead);
        if (with_namespace)
            out[count][0] = json_get_str(json_path(row, "object.metadata"), "namespace");
        for (size_t c = 0; c < columns && cells != NULL && cells->type == JSON_ARRAY; c++) {
            AUTO_BUF b = BUF_INIT;
            if (c == 0 && g->label_kind)
                buf_append_str(&b, objects_label(a, k, STR_NULL));
            if (chosen[c] < cells->array.count)
                cell_text(cells->array.items[chosen[c]], &b);
            out[count][lead + c] = arena_str(a, buf_str(&b));
        }
        count++;
    }
    print_columns(out, count, columns + lead);
    return 0;
}

static void query_escape(struct buf *b, const char *s)
{
    for (; *s != '\0'; s++) {
        if (isalnum((unsigned char)*s) || strchr("-_.~", *s) != NULL)
            buf_putc(b, *s);
        else
            buf_printf(b, "%%%02X", (unsigned char)*s);
    }
}

static int get_table(struct arena *a, struct get *g, const struct api_kind *k, struct str name,
                     struct error *err)
{
    struct str ns = g->objects.all_namespaces ? STR_NULL : g->objects.namespace_name;
    AUTO_BUF path = BUF_INIT;
    buf_append_str(&path, objects_path(a, k, ns, name));
    buf_puts(&path, "?includeObject=Metadata");
    if (g->selector != NULL) {
        buf_puts(&path, "&labelSelector=");
        query_escape(&path, g->selector);
    }
    if (g->field_selector != NULL) {
        buf_puts(&path, "&fieldSelector=");
        query_escape(&path, g->field_selector);
    }
    struct sync_answer answer = {0};
    struct json *table = NULL;
    int rc =
        sync_raw(g->objects.client,
                 &(struct client_raw){.path = arena_str(a, buf_str(&path)), .accept = TABLE_ACCEPT},
                 &answer, err);
    if (rc == 0)
        rc = json_parse(a, arena_str(a, answer.body), &table, err);
    sync_answer_done(&answer);
    if (rc == 0)
        rc = print_table(a, g, k, table, err);
    return rc;
}

/* --- whole objects ------------------------------------------------------------------ */

static int print_object(struct arena *a, const struct get *g, const struct api_object *o,
                        struct error *err)
{
    if (strcmp(g->output, "name") == 0) {
        printf(STR_FMT "\n", STR_ARG(objects_label(a, o->kind, api_object_meta(o)->name)));
        return 0;
    }
    AUTO_BUF b = BUF_INIT;
    int rc = objects_print(a, o, g->output, &b, err);
    if (rc == 0)
        fwrite(b.data, 1, b.len, stdout);
    return rc;
}

static int get_objects(struct arena *a, struct get *g, const struct api_kind *k, struct str name,
                       struct error *err)
{
    struct str ns =
        g->objects.all_namespaces || !k->namespaced ? STR_NULL : g->objects.namespace_name;
    struct api_object *o = NULL;
    if (!str_empty(name)) {
        int rc = sync_get(g->objects.client, k, ns, name, &o, err);
        if (rc == 0)
            rc = print_object(a, g, o, err);
        api_object_unref(o);
        return rc;
    }
    struct sync_answer answer = {0};
    struct client_call call = {.verb = CLIENT_LIST, .kind = k, .namespace_name = ns};
    call.list.label_selector = str_of(g->selector);
    call.list.field_selector = str_of(g->field_selector);
    int rc = sync_call(g->objects.client, &call, &answer, err);
    if (rc != 0)
        return rc;
    if (strcmp(g->output, "name") == 0) {
        for (size_t i = 0; i < client_list_count(answer.object); i++) {
            struct meta_v1_object_meta *meta = api_meta_of(k, client_list_item(answer.object, i));
            printf(STR_FMT "\n", STR_ARG(objects_label(a, k, meta->name)));
        }
    } else {
        AUTO_BUF b = BUF_INIT;
        rc = objects_print(a, answer.object, g->output, &b, err);
        fwrite(b.data, 1, b.len, stdout);
    }
    sync_answer_done(&answer);
    return rc;
}

static int get_one(struct arena *a, struct get *g, const struct api_kind *k, struct str name,
                   struct error *err)
{
    if (g->output == NULL || strcmp(g->output, "wide") == 0)
        return get_table(a, g, k, name, err);
    return get_objects(a, g, k, name, err);
}

static int get_run(struct arena *a, struct get *g, const char *const *args, size_t count,
                   struct error *err)
{
    if (count == 0)
        return error_set(err, E_USAGE, "You must specify the type of resource to get.");
    struct str kinds, rest = str_of(args[0]), name;
    const struct api_kind *k = NULL;
    int rc = 0;
    if (str_cut(rest, '/', &kinds, &name)) {
        rc = objects_kind(kinds, &k, err);
        return rc == 0 ? get_one(a, g, k, name, err) : rc;
    }
    g->label_kind = str_find(rest, ',', 0) >= 0;
    while (rc == 0 && !str_empty(rest)) {
        str_cut(rest, ',', &kinds, &rest);
        rc = objects_kind(kinds, &k, err);
        if (rc == 0 && count == 1)
            rc = get_one(a, g, k, STR_NULL, err);
        for (size_t i = 1; rc == 0 && i < count; i++)
            rc = get_one(a, g, k, str_of(args[i]), err);
    }
    return rc;
}

int verb_get(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct get g = {0};
    struct flag_set *flags = flag_set_new("trireme get KIND[,KIND...] [NAME...] [flags]");
    objects_register_flags(&g.objects, flags);
    flag_bool(flags, &g.objects.all_namespaces, "all-namespaces,A", "In all namespaces.");
    flag_string(flags, &g.output, "output,o", "`Form`: json, yaml, name, wide.");
    flag_string(flags, &g.selector, "selector,l", "Label `selector`.");
    flag_string(flags, &g.field_selector, "field-selector", "Field `selector`.");
    flag_bool(flags, &g.no_headers, "no-headers", "Without the line of column names.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = objects_connect(a, &g.objects, &err);
        if (rc == 0)
            rc = get_run(a, &g, args, count, &err);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    objects_done(&g.objects);
    flag_set_free(flags);
    return exit_code;
}

/* --- describe ------------------------------------------------------------------------ */

static void describe_events(struct arena *a, struct objects *o, const struct api_kind *k,
                            const struct meta_v1_object_meta *meta)
{
    struct sync_answer answer = {0};
    struct client_call call = {.verb = CLIENT_LIST,
                               .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Event")),
                               .namespace_name = meta->namespace};
    call.list.field_selector = arena_printf(
        a, "involvedObject.kind=%s,involvedObject.name=" STR_FMT, k->kind, STR_ARG(meta->name));
    if (sync_call(o->client, &call, &answer, NULL) != 0)
        return;
    size_t count = client_list_count(answer.object);
    printf("Events:%s\n", count == 0 ? "  <none>" : "");
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_event *e = client_list_item(answer.object, i);
        printf("  " STR_FMT "  " STR_FMT "  " STR_FMT "  " STR_FMT "\n", STR_ARG(e->type),
               STR_ARG(e->reason), STR_ARG(e->source.component), STR_ARG(e->message));
    }
    sync_answer_done(&answer);
}

static int describe_one(struct arena *a, struct objects *o, const struct api_kind *k,
                        struct str name, struct error *err)
{
    struct api_object *object = NULL;
    int rc =
        sync_get(o->client, k, k->namespaced ? o->namespace_name : STR_NULL, name, &object, err);
    if (rc != 0)
        return rc;
    AUTO_BUF b = BUF_INIT;
    rc = objects_print(a, object, "yaml", &b, err);
    fwrite(b.data, 1, b.len, stdout);
    if (rc == 0)
        describe_events(a, o, k, api_object_meta(object));
    api_object_unref(object);
    return rc;
}

int verb_describe(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct objects o = {0};
    struct flag_set *flags = flag_set_new("trireme describe KIND NAME [flags]");
    objects_register_flags(&o, flags);
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        const struct api_kind *k = NULL;
        struct str kind = count > 0 ? str_of(args[0]) : STR_NULL,
                   name = count > 1 ? str_of(args[1]) : STR_NULL;
        if (count == 1)
            str_cut(kind, '/', &kind, &name);
        int rc = str_empty(name) ? error_set(&err, E_USAGE, "want KIND NAME; see --help") : 0;
        if (rc == 0)
            rc = objects_kind(kind, &k, &err);
        if (rc == 0)
            rc = objects_connect(a, &o, &err);
        if (rc == 0)
            rc = describe_one(a, &o, k, name, &err);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    objects_done(&o);
    flag_set_free(flags);
    return exit_code;
}

/* --- logs ----------------------------------------------------------------------------- */

static void on_log(struct client_request *r, struct str piece, void *arg)
{
    UNUSED(r);
    UNUSED(arg);
    fwrite(piece.data, 1, piece.len, stdout);
    fflush(stdout);
}

struct logs {
    const char *container;
    bool follow, previous, timestamps;
    int64_t tail, since_s;
};

static struct str logs_path(struct arena *a, const struct logs *l, struct str ns, struct str pod)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b,
               "/api/v1/namespaces/" STR_FMT "/pods/" STR_FMT
               "/log?follow=%s&previous=%s&timestamps=%s",
               STR_ARG(ns), STR_ARG(pod), l->follow ? "true" : "false",
               l->previous ? "true" : "false", l->timestamps ? "true" : "false");
    if (l->container != NULL) {
        buf_puts(&b, "&container=");
        query_escape(&b, l->container);
    }
    if (l->tail >= 0)
        buf_printf(&b, "&tailLines=%lld", (long long)l->tail);
    if (l->since_s > 0)
        buf_printf(&b, "&sinceSeconds=%lld", (long long)l->since_s);
    return arena_str(a, buf_str(&b));
}

int verb_logs(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct objects o = {0};
    struct logs l = {.tail = -1};
    int64_t since_ns = 0;
    struct flag_set *flags = flag_set_new("trireme logs POD [flags]");
    objects_register_flags(&o, flags);
    flag_string(flags, &l.container, "container,c", "`Name` of the container.");
    flag_bool(flags, &l.follow, "follow,f", "Go on as the container writes.");
    flag_bool(flags, &l.previous, "previous,p", "Of the instance before the last restart.");
    flag_bool(flags, &l.timestamps, "timestamps", "With the time of each line.");
    flag_int(flags, &l.tail, "tail", "Only the last `lines`; -1 for all.");
    flag_duration(flags, &since_ns, "since", "Only what is newer than this.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = count == 1 ? objects_connect(a, &o, &err)
                            : error_set(&err, E_USAGE, "want one POD; see --help");
        if (rc == 0) {
            struct str pod = str_of(args[0]), kind;
            if (str_has_prefix(pod, STR("pod/")) || str_has_prefix(pod, STR("pods/")))
                str_cut(str_of(args[0]), '/', &kind, &pod);
            l.since_s = since_ns / 1000000000;
            rc = sync_raw(o.client,
                          &(struct client_raw){.path = logs_path(a, &l, o.namespace_name, pod),
                                               .accept = "*/*",
                                               .timeout_ms = l.follow ? UINT32_MAX : 0,
                                               .on_data = on_log},
                          NULL, &err);
        }
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    objects_done(&o);
    flag_set_free(flags);
    return exit_code;
}
