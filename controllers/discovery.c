/* discovery.c - see discovery.h. */
#include "controllers/discovery.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/client.h"

#include <string.h>

#define ACCEPT                                                                                     \
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

void discovery_free(struct discovery *d)
{
    if (d == NULL)
        return;
    arena_free(d->arena);
    free(d);
}

const struct served_resource *discovery_find(const struct discovery *d, struct str api_version,
                                             struct str kind)
{
    struct str group, version;
    const struct served_resource *any = NULL;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = group;
        group = STR_NULL;
    }
    for (size_t i = 0; i < d->count; i++) {
        const struct served_resource *r = &d->items[i];
        if (!str_eqc(group, r->group) || !str_eqc(kind, r->kind))
            continue;
        if (str_eqc(version, r->version))
            return r;
        if (any == NULL)
            any = r;
    }
    return any;
}

static bool has_verb(const struct json *resource, const char *verb)
{
    const struct json *verbs = json_getc(resource, "verbs");
    for (size_t i = 0; verbs != NULL && verbs->type == JSON_ARRAY && i < verbs->array.count; i++)
        if (verbs->array.items[i]->type == JSON_STRING &&
            str_eqc(verbs->array.items[i]->string, verb))
            return true;
    return false;
}

static bool has_scale(const struct json *resource)
{
    const struct json *list = json_getc(resource, "subresources");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *kind = json_getc(list->array.items[i], "responseKind");
        if (str_eqc(json_get_str(list->array.items[i], "subresource"), "scale") &&
            str_eqc(json_get_str(kind, "kind"), "Scale"))
            return true;
    }
    return false;
}

static bool is_known(const struct discovery *d, struct str group, struct str resource)
{
    for (size_t i = 0; i < d->count; i++)
        if (str_eqc(group, d->items[i].group) && str_eqc(resource, d->items[i].resource))
            return true;
    return false;
}

struct adding {
    struct discovery *d;
    size_t cap;
    struct str group;
    struct str version;
};

static void add_resource(struct adding *x, const struct json *j)
{
    struct discovery *d = x->d;
    struct arena *a = d->arena;
    struct str name = json_get_str(j, "resource");
    if (str_empty(name))
        return;
    bool preferred = !is_known(d, x->group, name);
    d->items = arena_grow(a, d->items, d->count, &x->cap, sizeof(*d->items));
    d->items[d->count++] = (struct served_resource){
        .group = arena_strdup(a, str_c(arena_str(a, x->group))),
        .version = arena_str(a, x->version).data,
        .resource = arena_str(a, name).data,
        .kind = str_c(arena_str(a, json_get_str(json_getc(j, "responseKind"), "kind"))),
        .namespaced = str_eqc(json_get_str(j, "scope"), "Namespaced"),
        .preferred = preferred,
        .can_delete = has_verb(j, "delete"),
        .can_delete_collection = has_verb(j, "deletecollection"),
        .can_list = has_verb(j, "list"),
        .can_watch = has_verb(j, "watch"),
        .scales = has_scale(j),
    };
}

static void add_stale(struct discovery *d, struct str group, struct str version)
{
    d->stale = arena_grow(d->arena, d->stale, d->stale_count, &d->stale_cap, sizeof(*d->stale));
    size_t at = d->stale_count++;
    struct str text = arena_printf(d->arena, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version));
    for (; at > 0 && str_cmp(d->stale[at - 1], text) > 0; at--)
        d->stale[at] = d->stale[at - 1];
    d->stale[at] = text;
}

bool discovery_is_stale(const struct discovery *d, const char *group, const char *version)
{
    for (size_t i = 0; i < d->stale_count; i++) {
        struct str g, v;
        if (str_cut(d->stale[i], '/', &g, &v) && str_eqc(g, group) && str_eqc(v, version))
            return true;
    }
    return false;
}

struct str discovery_error(const struct discovery *d)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "unable to retrieve the complete list of server APIs: ");
    for (size_t i = 0; i < d->stale_count; i++)
        buf_printf(&b, "%s" STR_FMT ": stale GroupVersion discovery: " STR_FMT, i == 0 ? "" : ", ",
                   STR_ARG(d->stale[i]), STR_ARG(d->stale[i]));
    return arena_str(d->arena, buf_str(&b));
}

static size_t array_count(const struct json *j)
{
    return j != NULL && j->type == JSON_ARRAY ? j->array.count : 0;
}

int discovery_parse(struct discovery *d, struct str text, struct error *err)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct json *root;
    int rc = json_parse(scratch, text, &root, err);
    if (rc != 0)
        return rc;
    if (!str_eqc(json_get_str(root, "kind"), "APIGroupDiscoveryList"))
        return error_set(err, E_INVALID, "the server does not offer aggregated discovery");
    struct adding x = {.d = d, .cap = d->count};
    const struct json *groups = json_getc(root, "items");
    for (size_t g = 0; g < array_count(groups); g++) {
        const struct json *group = groups->array.items[g];
        const struct json *versions = json_getc(group, "versions");
        x.group = json_get_str(json_getc(group, "metadata"), "name");
        for (size_t v = 0; v < array_count(versions); v++) {
            const struct json *resources = json_getc(versions->array.items[v], "resources");
            x.version = json_get_str(versions->array.items[v], "version");
            /* An aggregated API that does not answer: what it has is unknown. */
            if (str_eqc(json_get_str(versions->array.items[v], "freshness"), "Stale")) {
                add_stale(d, x.group, x.version);
                continue;
            }
            for (size_t i = 0; i < array_count(resources); i++)
                add_resource(&x, resources->array.items[i]);
        }
    }
    return 0;
}

/* --- asking ----------------------------------------------------------------------------- */

struct discoverer {
    struct client *client;
    struct client_request *request; /* NULL: none under way. */
    struct discovery *result;
    bool second; /* /apis, after /api. */
    void (*on_done)(struct discovery *d, const char *err, void *arg);
    void *arg;
};

static void ask(struct discoverer *d);

static void fail(struct discoverer *d, const char *why)
{
    discovery_free(take(d->result));
    d->on_done(NULL, why, d->arg);
}

static void on_answer(struct client_request *r, const struct client_result *result, void *arg)
{
    struct discoverer *d = arg;
    struct error err = {0};
    UNUSED(r);
    d->request = NULL;
    if (result->code != 0) {
        fail(d, result->message);
    } else if (discovery_parse(d->result, result->body, &err) != 0) {
        fail(d, error_message(&err));
    } else if (!d->second) {
        d->second = true;
        ask(d);
    } else {
        struct discovery *whole = take(d->result);
        d->on_done(whole, whole->stale_count != 0 ? discovery_error(whole).data : NULL, d->arg);
    }
}

static void ask(struct discoverer *d)
{
    struct client_raw raw = {
        .path = d->second ? STR("/apis") : STR("/api"),
        .accept = ACCEPT,
        .done = on_answer,
        .arg = d,
    };
    struct error err = {0};
    if (client_raw_start(d->client, &raw, &d->request, &err) != 0)
        fail(d, error_message(&err));
}

struct discoverer *discoverer_new(struct client *c,
                                  void (*on_done)(struct discovery *d, const char *err, void *arg),
                                  void *arg)
{
    struct discoverer *d = xzalloc(sizeof(*d));
    d->client = c;
    d->on_done = on_done;
    d->arg = arg;
    return d;
}

void discoverer_start(struct discoverer *d)
{
    if (d->request != NULL)
        return;
    d->result = xzalloc(sizeof(*d->result));
    d->result->arena = arena_new(16 * 1024);
    d->result->started_ms = env_now_ms(client_env(d->client));
    d->second = false;
    ask(d);
}

void discoverer_free(struct discoverer *d)
{
    if (d == NULL)
        return;
    if (d->request != NULL)
        client_cancel(d->request);
    discovery_free(d->result);
    free(d);
}
