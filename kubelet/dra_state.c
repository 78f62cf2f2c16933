/* dra_state.c - see dra_state.h. The file is JSON of our own form. */
#include "kubelet/dra_state.h"

#include "api/resource_v1.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>

#define KEY_MAX 512
#define VERSION 1

static char *copy(struct str s)
{
    return xstrndup(s.data != NULL ? s.data : "", s.len);
}

void dra_state_init(struct dra_state *s)
{
    map_init(&s->claims);
}

static void list_free(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

void dra_list_add(char ***list, size_t *count, struct str s)
{
    *list = xrealloc(*list, (*count + 1) * sizeof(char *));
    (*list)[(*count)++] = copy(s);
}

void dra_driver_clear(struct dra_driver *d)
{
    for (size_t i = 0; i < d->device_count; i++) {
        struct dra_device *x = &d->devices[i];
        free(x->pool);
        free(x->device);
        free(x->share);
        list_free(x->requests, x->request_count);
        list_free(x->cdi, x->cdi_count);
    }
    free(d->devices);
    d->devices = NULL;
    d->device_count = 0;
}

static void claim_free(struct dra_claim *c)
{
    for (size_t i = 0; i < c->driver_count; i++) {
        dra_driver_clear(&c->drivers[i]);
        free(c->drivers[i].name);
    }
    free(c->drivers);
    list_free(c->pods, c->pod_count);
    free(c->namespace_name);
    free(c->name);
    free(c->uid);
    free(c);
}

void dra_state_done(struct dra_state *s)
{
    size_t pos = 0;
    void *c;
    while (map_next(&s->claims, &pos, NULL, &c))
        claim_free(c);
    map_done(&s->claims);
}

static struct str key_into(char *buffer, struct str ns, struct str name)
{
    int n = snprintf(buffer, KEY_MAX, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, KEY_MAX - 1));
}

struct dra_claim *dra_state_find(const struct dra_state *s, struct str ns, struct str name)
{
    char buffer[KEY_MAX];
    return map_get(&s->claims, key_into(buffer, ns, name));
}

static struct dra_claim *add(struct dra_state *s, struct str ns, struct str name, struct str uid)
{
    char buffer[KEY_MAX];
    struct dra_claim *c = xzalloc(sizeof(*c));
    c->namespace_name = copy(ns);
    c->name = copy(name);
    c->uid = copy(uid);
    struct dra_claim *old = map_set(&s->claims, key_into(buffer, ns, name), c);
    if (old != NULL)
        claim_free(old);
    return c;
}

struct dra_driver *dra_claim_driver(const struct dra_claim *c, const char *name)
{
    for (size_t i = 0; i < c->driver_count; i++)
        if (strcmp(c->drivers[i].name, name) == 0)
            return &c->drivers[i];
    return NULL;
}

static struct dra_driver *add_driver(struct dra_claim *c, struct str name)
{
    c->drivers = xrealloc(c->drivers, (c->driver_count + 1) * sizeof(*c->drivers));
    struct dra_driver *d = &c->drivers[c->driver_count++];
    *d = (struct dra_driver){.name = copy(name)};
    return d;
}

struct dra_claim *dra_state_add(struct dra_state *s, const struct resource_v1_resource_claim *from)
{
    struct dra_claim *c = add(s, from->metadata.namespace, from->metadata.name, from->metadata.uid);
    const struct resource_v1_allocation_result *a = from->status.allocation;
    for (size_t i = 0; a != NULL && i < a->devices.results_count; i++)
        if (dra_claim_driver(c, str_c(a->devices.results[i].driver)) == NULL)
            add_driver(c, a->devices.results[i].driver);
    return c;
}

void dra_state_remove(struct dra_state *s, struct dra_claim *c)
{
    char buffer[KEY_MAX];
    map_remove(&s->claims, key_into(buffer, str_of(c->namespace_name), str_of(c->name)));
    claim_free(c);
}

bool dra_claim_has_pod(const struct dra_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->pod_count; i++)
        if (str_eqc(uid, c->pods[i]))
            return true;
    return false;
}

void dra_claim_add_pod(struct dra_claim *c, struct str uid)
{
    if (!dra_claim_has_pod(c, uid))
        dra_list_add(&c->pods, &c->pod_count, uid);
}

void dra_claim_drop_pod(struct dra_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->pod_count; i++) {
        if (!str_eqc(uid, c->pods[i]))
            continue;
        free(c->pods[i]);
        c->pods[i] = c->pods[--c->pod_count];
        return;
    }
}

struct dra_device *dra_driver_add(struct dra_driver *d)
{
    d->devices = xrealloc(d->devices, (d->device_count + 1) * sizeof(*d->devices));
    d->devices[d->device_count] = (struct dra_device){0};
    return &d->devices[d->device_count++];
}

bool dra_device_goes_with(const struct dra_device *d, struct str request)
{
    for (size_t i = 0; i < d->request_count; i++) {
        struct str whole, alternative;
        /* Alternatives are "request/alternative": the container names the request. */
        str_cut(str_of(d->requests[i]), '/', &whole, &alternative);
        if (str_eq(whole, request) || str_eqc(request, d->requests[i]))
            return true;
    }
    return str_empty(request) || d->request_count == 0;
}

void dra_claim_cdi(const struct dra_claim *c, struct arena *a, struct str request,
                   const char ***list, size_t *count, size_t *cap)
{
    for (size_t i = 0; i < c->driver_count; i++)
        for (size_t k = 0; k < c->drivers[i].device_count; k++) {
            const struct dra_device *d = &c->drivers[i].devices[k];
            for (size_t n = 0; dra_device_goes_with(d, request) && n < d->cdi_count; n++) {
                bool known = false;
                for (size_t m = 0; m < *count && !known; m++)
                    known = strcmp((*list)[m], d->cdi[n]) == 0;
                if (known)
                    continue;
                *list = arena_grow(a, *list, *count, cap, sizeof(char *));
                (*list)[(*count)++] = arena_strdup(a, d->cdi[n]);
            }
        }
}

/* --- the file ----------------------------------------------------------------------------------
 */

static void put_member(struct buf *b, const char *before, const char *value)
{
    buf_puts(b, before);
    json_write_string(str_of(value), b);
}

static void put_list(struct buf *b, const char *before, char *const *list, size_t count)
{
    buf_puts(b, before);
    for (size_t i = 0; i < count; i++)
        put_member(b, i != 0 ? "," : "", list[i]);
    buf_putc(b, ']');
}

void dra_state_write(const struct dra_state *s, struct buf *b)
{
    size_t pos = 0;
    void *v;
    const char *comma = "";
    buf_printf(b, "{\"version\":%d,\"claims\":[", VERSION);
    while (map_next(&s->claims, &pos, NULL, &v)) {
        const struct dra_claim *c = v;
        buf_puts(b, comma);
        put_member(b, "{\"namespace\":", c->namespace_name);
        put_member(b, ",\"name\":", c->name);
        put_member(b, ",\"uid\":", c->uid);
        buf_printf(b, ",\"prepared\":%s", c->prepared ? "true" : "false");
        put_list(b, ",\"pods\":[", c->pods, c->pod_count);
        buf_puts(b, ",\"drivers\":[");
        for (size_t i = 0; i < c->driver_count; i++) {
            put_member(b, i != 0 ? ",{\"name\":" : "{\"name\":", c->drivers[i].name);
            buf_puts(b, ",\"devices\":[");
            for (size_t k = 0; k < c->drivers[i].device_count; k++) {
                const struct dra_device *d = &c->drivers[i].devices[k];
                put_member(b, k != 0 ? ",{\"pool\":" : "{\"pool\":", d->pool);
                put_member(b, ",\"device\":", d->device);
                if (d->share != NULL)
                    put_member(b, ",\"share\":", d->share);
                put_list(b, ",\"requests\":[", d->requests, d->request_count);
                put_list(b, ",\"cdi\":[", d->cdi, d->cdi_count);
                buf_putc(b, '}');
            }
            buf_puts(b, "]}");
        }
        buf_puts(b, "]}");
        comma = ",";
    }
    buf_puts(b, "]}\n");
}

static size_t items_of(const struct json *j, const char *name, struct json *const **ret)
{
    const struct json *list = json_getc(j, name);
    bool is_list = list != NULL && list->type == JSON_ARRAY;
    *ret = is_list ? list->array.items : NULL;
    return is_list ? list->array.count : 0;
}

static void read_list(const struct json *j, const char *name, char ***list, size_t *count)
{
    struct json *const *items;
    size_t n = items_of(j, name, &items);
    for (size_t i = 0; i < n; i++)
        if (items[i]->type == JSON_STRING)
            dra_list_add(list, count, items[i]->string);
}

static void read_driver(struct dra_claim *c, const struct json *j)
{
    struct json *const *items;
    size_t n = items_of(j, "devices", &items);
    struct dra_driver *d = add_driver(c, json_get_str(j, "name"));
    for (size_t i = 0; i < n; i++) {
        struct dra_device *x = dra_driver_add(d);
        struct str pool = json_get_str(items[i], "pool"), device = json_get_str(items[i], "device");
        x->pool = copy(pool);
        x->device = copy(device);
        if (json_getc(items[i], "share") != NULL)
            x->share = copy(json_get_str(items[i], "share"));
        read_list(items[i], "requests", &x->requests, &x->request_count);
        read_list(items[i], "cdi", &x->cdi, &x->cdi_count);
    }
}

int dra_state_read(struct dra_state *s, struct str text, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    int rc = json_parse(a, text, &j, err);
    if (rc != 0)
        return rc;
    if (j->type != JSON_OBJECT || json_get_int(j, "version", 0) != VERSION)
        return error_set(err, E_INVALID, "it is of an unknown version");
    struct json *const *items, *const *drivers;
    size_t n = items_of(j, "claims", &items);
    for (size_t i = 0; i < n; i++) {
        struct dra_claim *c = add(s, json_get_str(items[i], "namespace"),
                                  json_get_str(items[i], "name"), json_get_str(items[i], "uid"));
        c->prepared = json_get_bool(items[i], "prepared", false);
        read_list(items[i], "pods", &c->pods, &c->pod_count);
        size_t count = items_of(items[i], "drivers", &drivers);
        for (size_t k = 0; k < count; k++)
            read_driver(c, drivers[k]);
    }
    return 0;
}
