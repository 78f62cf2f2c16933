/* discovery.c - see discovery.h. The order and members are upstream's. */
#include "apiserver/cluster.h"
#include "apiserver/discovery.h"

#include "apiserver/aggregation/catalog.h"
#include "apiserver/aggregation/documents.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/issuer.h"
#include "apiserver/monitor.h"
#include "apiserver/custom/set.h"
#include "apiserver/encode.h"
#include "apiserver/flow_control.h"
#include "apiserver/request.h"
#include "lib/api/json.h"
#include "lib/api/zpages.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/map.h"
#include "lib/base/metrics.h"
#include "lib/base/version.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/pki.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define VERSION_MAJOR "1"
#define VERSION_MINOR "36"

struct document {
    struct str json;
    char etag[65];
};

/* Path -> struct document; aggregated ones as "PATH v2". Of one state of what
 * is served; immutable and counted. */
struct documents {
    atomic_uint refs;
    uint64_t custom, services, remote; /* The numbers of that state. */
    struct map map;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct documents *newest; /* Under the lock. */
static const char *address;      /* Of the server. */
static struct str version_json;

static struct documents *make_documents(void);

static void documents_unref(void *arg)
{
    struct documents *d = arg;
    size_t pos = 0;
    void *value;
    if (d == NULL || atomic_fetch_sub(&d->refs, 1) != 1)
        return;
    while (map_next(&d->map, &pos, NULL, &value)) {
        struct document *doc = value;
        free((void *)(uintptr_t)doc->json.data);
        free(doc);
    }
    map_done(&d->map);
    free(d);
}

/* A thread whose sets are older than others' takes what is newer. */
static bool is_current(const struct documents *d)
{
    return d != NULL && d->custom >= custom_set_serial() &&
           d->services >= aggregated_set_serial() && d->remote >= aggregated_documents_serial();
}

/* Those of what this thread serves; held by the arena. */
static const struct documents *documents_now(struct arena *a)
{
    pthread_mutex_lock(&lock);
    if (!is_current(newest)) {
        documents_unref(newest);
        newest = make_documents();
    }
    struct documents *d = newest;
    atomic_fetch_add(&d->refs, 1);
    pthread_mutex_unlock(&lock);
    arena_hold(a, d, documents_unref);
    return d;
}

static void put_document(struct documents *to, const char *path, struct buf *json)
{
    struct document *d = xzalloc(sizeof(*d));
    uint8_t sum[32];
    size_t len;
    char *text = buf_steal(json, &len);
    d->json = str_n(text, len);
    net_sha256(text, len, sum);
    hex_encode_to(sum, sizeof(sum), d->etag);
    d->etag[64] = '\0';
    map_set(&to->map, str_of(path), d);
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* A comma list as a JSON array; verbs are sorted and without "connect". */
static void put_list(struct buf *b, const char *list, bool sorted)
{
    struct str items[32], rest = str_of(list), part;
    size_t n = 0;
    bool more = rest.len != 0;
    while (more && n < ARRAY_SIZE(items)) {
        more = str_cut(rest, ',', &part, &rest);
        if (!str_eqc(part, "connect"))
            items[n++] = part;
    }
    if (sorted)
        qsort(items, n, sizeof(items[0]), by_text);
    buf_putc(b, '[');
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s\"" STR_FMT "\"", i == 0 ? "" : ",", STR_ARG(items[i]));
    buf_putc(b, ']');
}

static int by_resource(const void *x, const void *y)
{
    const struct resource *const *a = x, *const *b = y;
    return strcmp((*a)->kind->resource, (*b)->kind->resource);
}

static size_t resources_of(struct str group, struct str version, const struct resource **ret,
                           size_t max)
{
    size_t n = 0, pos = 0;
    const struct resource *r;
    while (n < max && (r = registry_next(group, version, &pos)) != NULL)
        ret[n++] = r;
    qsort(ret, n, sizeof(struct resource *), by_resource);
    return n;
}

static bool own_kind(const struct api_kind *k, const struct api_subresource *s)
{
    return strcmp(k->group, s->group) == 0 && strcmp(k->version, s->version) == 0;
}

/* --- APIResourceList --------------------------------------------------------------------- */
static void put_resource(struct buf *b, const struct resource *r)
{
    const struct api_kind *k = r->kind;
    buf_printf(
        b, "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",\"verbs\":",
        k->resource, k->singular, k->namespaced ? "true" : "false", k->kind);
    put_list(b, k->verbs, r->custom == NULL);
    if (k->short_names != NULL) {
        buf_puts(b, ",\"shortNames\":");
        put_list(b, k->short_names, false);
    }
    if (k->categories != NULL) {
        buf_puts(b, ",\"categories\":");
        put_list(b, k->categories, false);
    }
    if (r->stored)
        buf_printf(b, ",\"storageVersionHash\":\"%s\"", r->version_hash);
    buf_putc(b, '}');
    for (size_t i = 0; i < k->sub_count; i++) {
        const struct api_subresource *s = &k->sub[i];
        buf_printf(b, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s", k->resource,
                   s->name, k->namespaced ? "true" : "false");
        if (!own_kind(k, s))
            buf_printf(b, ",\"group\":\"%s\",\"version\":\"%s\"", s->group, s->version);
        buf_printf(b, ",\"kind\":\"%s\",\"verbs\":", s->kind);
        put_list(b, s->verbs, true);
        buf_putc(b, '}');
    }
}

static void make_resource_list(struct documents *to, const char *path, struct str group,
                               struct str version)
{
    const struct resource *list[512];
    size_t n = resources_of(group, version, list, ARRAY_SIZE(list));
    struct buf b = BUF_INIT;
    buf_printf(&b,
               "{\"kind\":\"APIResourceList\",%s\"groupVersion\":\"" STR_FMT "%s" STR_FMT
               "\",\"resources\":[",
               group.len != 0 ? "\"apiVersion\":\"v1\"," : "", STR_ARG(group),
               group.len != 0 ? "/" : "", STR_ARG(version));
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            buf_putc(&b, ',');
        put_resource(&b, list[i]);
    }
    buf_puts(&b, "]}");
    put_document(to, path, &b);
}

/* --- APIGroup ------------------------------------------------------------------------------ */
static void put_group(struct buf *b, const struct catalog_group *g, bool type)
{
    buf_printf(b, "{%s\"name\":\"%s\",\"versions\":[",
               type ? "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," : "", g->name);
    for (size_t i = 0; i < g->count; i++)
        buf_printf(b, "%s{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}", i == 0 ? "" : ",",
                   g->name, g->versions[i].version, g->versions[i].version);
    buf_printf(b, "],\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}",
               g->name, g->versions[0].version, g->versions[0].version);
}

/* --- aggregated ------------------------------------------------------------------------------ */
static void put_aggregated_resource(struct buf *b, const struct resource *r)
{
    const struct api_kind *k = r->kind;
    buf_printf(b,
               "{\"resource\":\"%s\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"%"
               "s\"},\"scope\":\"%s\","
               "\"singularResource\":\"%s\",\"verbs\":",
               k->resource, k->kind, k->namespaced ? "Namespaced" : "Cluster", k->singular);
    put_list(b, k->verbs, r->custom == NULL);
    if (k->short_names != NULL) {
        buf_puts(b, ",\"shortNames\":");
        put_list(b, k->short_names, false);
    }
    if (k->categories != NULL) {
        buf_puts(b, ",\"categories\":");
        put_list(b, k->categories, false);
    }
    for (size_t i = 0; i < k->sub_count; i++) {
        const struct api_subresource *s = &k->sub[i];
        bool own = own_kind(k, s);
        buf_printf(b,
                   "%s{\"subresource\":\"%s\",\"responseKind\":{\"group\":\"%s\",\"version\":\"%"
                   "s\",\"kind\":\"%s\"},\"verbs\":",
                   i == 0 ? ",\"subresources\":[" : ",", s->name, own ? "" : s->group,
                   own ? "" : s->version, s->kind);
        put_list(b, s->verbs, true);
        buf_putc(b, '}');
    }
    buf_puts(b, k->sub_count != 0 ? "]}" : "}");
}

static void put_aggregated_version(struct buf *b, struct str group, const char *version)
{
    const struct resource *list[512];
    size_t n = resources_of(group, str_of(version), list, ARRAY_SIZE(list));
    buf_printf(b, "{\"version\":\"%s\",\"resources\":[", version);
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            buf_putc(b, ',');
        put_aggregated_resource(b, list[i]);
    }
    buf_puts(b, "],\"freshness\":\"Current\"}");
}

/* As its server lists it, or as much as that one is known to have. */
static void put_remote_version(struct buf *b, const struct catalog_version *v)
{
    AUTO_ARENA *a = arena_new(0);
    struct aggregated_documents d = {.stale = true};
    (void)aggregated_documents_get(a, v->remote->name, &d);
    buf_printf(b, "{\"version\":\"%s\"", v->version);
    if (d.resources.len != 0)
        buf_printf(b, ",\"resources\":" STR_FMT, STR_ARG(d.resources));
    buf_printf(b, ",\"freshness\":\"%s\"}", d.stale ? "Stale" : "Current");
}

static void make_aggregated(struct documents *to, const char *api_version)
{
    AUTO_ARENA *a = arena_new(0);
    char path[32];
    size_t n;
    const struct catalog_group *g = catalog_make(a, true, &n);
    struct buf b = BUF_INIT;
    buf_printf(&b,
               "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/"
               "%s\",\"metadata\":{},\"items\":[{\"metadata\":{},\"versions\":[",
               api_version);
    put_aggregated_version(&b, STR(""), "v1");
    buf_puts(&b, "]}]}");
    snprintf(path, sizeof(path), "/api %s", api_version);
    put_document(to, path, &b);
    buf_printf(&b,
               "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/"
               "%s\",\"metadata\":{},\"items\":[",
               api_version);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&b, "%s{\"metadata\":{\"name\":\"%s\"},\"versions\":[", i == 0 ? "" : ",",
                   g[i].name);
        for (size_t j = 0; j < g[i].count; j++) {
            if (j != 0)
                buf_putc(&b, ',');
            if (g[i].versions[j].remote != NULL)
                put_remote_version(&b, &g[i].versions[j]);
            else
                put_aggregated_version(&b, str_of(g[i].name), g[i].versions[j].version);
        }
        buf_puts(&b, "]}");
    }
    buf_puts(&b, "]}");
    snprintf(path, sizeof(path), "/apis %s", api_version);
    put_document(to, path, &b);
}

static void make_groups(struct documents *to)
{
    AUTO_ARENA *a = arena_new(0);
    size_t n;
    char path[384];
    const struct catalog_group *g = catalog_make(a, false, &n);
    struct buf all = BUF_INIT;
    buf_puts(&all, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < n; i++) {
        struct buf one = BUF_INIT;
        if (i != 0)
            buf_putc(&all, ',');
        put_group(&all, &g[i], false);
        put_group(&one, &g[i], true);
        snprintf(path, sizeof(path), "/apis/%s", g[i].name);
        put_document(to, path, &one);
        for (size_t j = 0; j < g[i].count; j++) {
            if (g[i].versions[j].remote != NULL)
                continue; /* Asked for there. */
            snprintf(path, sizeof(path), "/apis/%s/%s", g[i].name, g[i].versions[j].version);
            make_resource_list(to, path, str_of(g[i].name), str_of(g[i].versions[j].version));
        }
    }
    buf_puts(&all, "]}");
    put_document(to, "/apis", &all);
}

static void make_version(void)
{
    struct buf b = BUF_INIT;
    size_t len;
    buf_printf(&b,
               "{\"major\":\"" VERSION_MAJOR "\",\"minor\":\"" VERSION_MINOR
               "\",\"emulationMajor\":\"" VERSION_MAJOR "\",\"emulationMinor\":\"" VERSION_MINOR
               "\",\"minCompatibilityMajor\":\"" VERSION_MAJOR
               "\",\"minCompatibilityMinor\":\"35\",\"gitVersion\":\"" KUBERNETES_VERSION "+trireme"
               "\",\"gitCommit\":\"\",\"gitTreeState\":\"\",\"buildDate\":\"1970-01-01T00:00:"
               "00Z\",\"goVersion\":\"\","
               "\"compiler\":\"gcc\",\"platform\":\"linux/amd64\"}");
    char *text = buf_steal(&b, &len);
    version_json = str_n(text, len);
}

static void make_all(struct documents *to)
{
    struct buf b = BUF_INIT;
    map_init(&to->map);
    buf_printf(&b,
               "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{"
               "\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":\"%s\"}]}",
               address);
    put_document(to, "/api", &b);
    make_resource_list(to, "/api/v1", STR(""), STR("v1"));
    make_groups(to);
    make_aggregated(to, "v2");
    make_aggregated(to, "v2beta1");
}

static struct documents *make_documents(void)
{
    struct documents *d = xzalloc(sizeof(*d));
    atomic_init(&d->refs, 1);
    d->custom = custom_set_serial();
    d->services = aggregated_set_serial();
    d->remote = aggregated_documents_serial();
    make_all(d);
    return d;
}

void discovery_init(const char *server_address)
{
    address = xstrdup(server_address);
    make_version();
    openapi_init();
}

/* --- serving -----------------------------------------------------------------------------------
 */
void discovery_answer(struct req *r, const char *content_type, struct str json)
{
    struct buf out = BUF_INIT;
    if ((r->accept.media == MEDIA_YAML || r->accept.pretty) &&
        encode_reformat(r->arena, &r->accept, json, &out, NULL) == 0) {
        if (r->accept.media == MEDIA_YAML)
            content_type = TYPE_YAML;
    } else {
        buf_clear(&out);
        buf_append_str(&out, json);
    }
    /* Upstream writes the version alone without an encoder, which ends lines. */
    if (r->accept.media != MEDIA_YAML && json.data != version_json.data)
        buf_putc(&out, '\n');
    req_bytes(r, 200, content_type, net_bytes_steal(&out));
}

bool discovery_serve(struct req *r)
{
    struct str path = r->info.path;
    const char *type = NULL;
    bool v2beta1;
    if (path.len > 1 && path.data[path.len - 1] == '/')
        path = str_sub(path, 0, path.len - 1);
    const struct documents *all = documents_now(r->arena);
    const struct document *d = map_get(&all->map, path);
    if (d == NULL || str_find(path, ' ', 0) >= 0)
        return false;
    if (r->accept.media == MEDIA_PROTOBUF)
        r->accept.media = MEDIA_JSON;
    if ((str_eqc(path, "/api") || str_eqc(path, "/apis")) &&
        accept_aggregated(http_request_header(r->http, "accept"), &type, &v2beta1)) {
        d = map_get(&all->map, arena_printf(r->arena, STR_FMT " %s", STR_ARG(path),
                                            v2beta1 ? "v2beta1" : "v2"));
        ASSERT(d != NULL);
        struct str etag = arena_printf(r->arena, "\"%s\"", d->etag);
        http_response_header_str(r->http, STR("ETag"), etag);
        http_response_header(r->http, "Vary", "Accept");
        if (str_eq(http_request_header(r->http, "if-none-match"), etag)) {
            req_headers(r, NULL);
            req_done(r, 304);
            http_respond(r->http, 304, STR_NULL);
            return true;
        }
        r->accept.media = MEDIA_JSON;
    }
    discovery_answer(r, type != NULL ? type : TYPE_JSON, d->json);
    return true;
}

static void serve_root(struct req *r)
{
    static const char *const others[] = {
        "/flagz",      "/healthz",        "/livez",  "/metrics", "/metrics/slis", "/openapi/v2",
        "/openapi/v3", "/openid/v1/jwks", "/readyz", "/statusz", "/version"};
    const struct documents *all = documents_now(r->arena);
    struct str *paths = ARENA_ARRAY(r->arena, struct str, all->map.count + ARRAY_SIZE(others)), key;
    size_t n = 0, pos = 0;
    while (map_next(&all->map, &pos, &key, NULL))
        if (str_find(key, ' ', 0) < 0)
            paths[n++] = key;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        paths[n++] = str_of(others[i]);
    qsort(paths, n, sizeof(paths[0]), by_text);
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"paths\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", i == 0 ? "" : ",", STR_ARG(paths[i]));
    buf_puts(&b, "]}");
    discovery_answer(r, TYPE_JSON, buf_str(&b));
}

static void serve_metrics(struct req *r, bool slis)
{
    struct buf b = BUF_INIT;
    if (slis)
        monitor_write_slis(&b);
    else
        metrics_render(metrics_default(), &b);
    req_bytes(r, 200, METRICS_CONTENT_TYPE, net_bytes_steal(&b));
}

static void serve_zpage(struct req *r)
{
    AUTO_BUF b = BUF_INIT;
    const char *type;
    int status = zpages_answer(r->server->zpages, r->info.path,
                               http_request_header(r->http, "accept"), r->now_ns, &b, &type);
    req_text(r, status, type, buf_str(&b));
}

void discovery_handle(struct req *r)
{
    struct str path = r->info.path;
    bool get = str_eqc(r->http->method, "GET") || str_eqc(r->http->method, "HEAD");
    if (cluster_serve(r))
        return;
    if (!get)
        req_status(r, r->info.has_group_version ? status_method(r->arena)
                                                : status_path_not_found(r->arena));
    else if (str_eqc(path, "/"))
        serve_root(r);
    else if (str_eqc(path, "/version") || str_eqc(path, "/version/")) {
        r->accept.pretty = true;
        r->accept.media = MEDIA_JSON;
        discovery_answer(r, TYPE_JSON, version_json);
    } else if (str_eqc(path, "/metrics") || str_eqc(path, "/metrics/slis"))
        serve_metrics(r, !str_eqc(path, "/metrics"));
    else if (r->server->zpages != NULL && zpages_has(path))
        serve_zpage(r);
    else if (!discovery_serve(r) && !health_serve(r) && !openapi_serve(r) && !issuer_serve(r) &&
             !flow_debug_serve(r))
        req_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
}
