/* bootstrap_objects.c - see bootstrap_objects.h. Names, numbers and forms are
 * those that upstream's API server makes. */
#include "apiserver/bootstrap_objects.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/flow_objects.h"
#include "apiserver/service_ips.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#define CA_BYTES_MAX (1u << 20)

void builtin_meta(const struct kind_ctx *ctx, struct meta_v1_object_meta *m, struct str ns,
                  struct str name)
{
    char uid[37];
    env_uuid(ctx->env, uid);
    m->name = name;
    m->namespace = ns;
    m->uid = arena_strc(ctx->arena, uid);
    m->creation_timestamp.seconds = ctx->now_ns / 1000000000;
}

static void fill_meta(const struct kind_ctx *ctx, struct meta_v1_object_meta *m, const char *ns,
                      const char *name)
{
    builtin_meta(ctx, m, str_of(ns), str_of(name));
}

static struct str *strs1(struct arena *a, struct str s)
{
    return arena_memdup(a, &s, sizeof(s));
}

static void label(struct arena *a, struct meta_v1_object_meta *m, const char *key, struct str value)
{
    struct api_str_entry e = {str_of(key), value};
    m->labels = arena_memdup(a, &e, sizeof(e));
    m->labels_count = 1;
}

void builtin_namespace(const struct kind_ctx *ctx, struct str name, struct builtin *ret)
{
    struct core_v1_namespace *n = ARENA_NEW(ctx->arena, struct core_v1_namespace);
    builtin_meta(ctx, &n->metadata, STR(""), name);
    label(ctx->arena, &n->metadata, "kubernetes.io/metadata.name", n->metadata.name);
    n->spec.finalizers = strs1(ctx->arena, STR("kubernetes"));
    n->spec.finalizers_count = 1;
    n->status.phase = STR("Active");
    *ret = (struct builtin){registry_storage(STR(""), STR("namespaces")), STR_NULL,
                            n->metadata.name, n, STR_NULL};
}

static void make_priority_class(const struct kind_ctx *ctx, const char *name, int32_t value,
                                const char *text, struct builtin *ret)
{
    struct scheduling_v1_priority_class *c =
        ARENA_NEW(ctx->arena, struct scheduling_v1_priority_class);
    fill_meta(ctx, &c->metadata, "", name);
    c->metadata.generation = 1;
    c->value = value;
    c->description = str_of(text);
    c->has_preemption_policy = true;
    c->preemption_policy = STR("PreemptLowerPriority");
    *ret = (struct builtin){registry_storage(STR("scheduling.k8s.io"), STR("priorityclasses")),
                            STR_NULL, c->metadata.name, c, STR_NULL};
}

static void make_service_cidr(const struct kind_ctx *ctx, struct builtin *ret)
{
    struct networking_v1_service_cidr *c = ARENA_NEW(ctx->arena, struct networking_v1_service_cidr);
    fill_meta(ctx, &c->metadata, "", "kubernetes");
    c->metadata.finalizers = strs1(ctx->arena, STR("networking.k8s.io/service-cidr-finalizer"));
    c->metadata.finalizers_count = 1;
    c->spec.cidrs = ARENA_ARRAY(ctx->arena, struct str, 2);
    c->spec.cidrs_count = service_ips_ranges(ctx->arena, ctx->server, c->spec.cidrs);
    c->status.conditions = ARENA_NEW(ctx->arena, struct meta_v1_condition);
    c->status.conditions_count = 1;
    c->status.conditions->type = STR("Ready");
    c->status.conditions->status = STR("True");
    c->status.conditions->message = STR("Kubernetes default Service CIDR is ready");
    c->status.conditions->last_transition_time.seconds = ctx->now_ns / 1000000000;
    *ret = (struct builtin){registry_storage(STR("networking.k8s.io"), STR("servicecidrs")),
                            STR_NULL, c->metadata.name, c, STR_NULL};
}

static void make_service(const struct kind_ctx *ctx, struct builtin *ret)
{
    struct arena *a = ctx->arena;
    struct core_v1_service *s = ARENA_NEW(a, struct core_v1_service);
    static const struct api_str_entry labels[] = {{{"component", 9}, {"apiserver", 9}},
                                                  {{"provider", 8}, {"kubernetes", 10}}};
    fill_meta(ctx, &s->metadata, "default", "kubernetes");
    s->metadata.labels = arena_memdup(a, labels, sizeof(labels));
    s->metadata.labels_count = ARRAY_SIZE(labels);
    s->spec.type = STR("ClusterIP");
    s->spec.cluster_ip = service_ips_first(a, ctx->server);
    s->spec.cluster_ips = strs1(a, s->spec.cluster_ip);
    s->spec.cluster_ips_count = 1;
    s->spec.ip_families = strs1(a, service_ips_default_family(ctx->server));
    s->spec.ip_families_count = 1;
    s->spec.has_ip_family_policy = true;
    s->spec.ip_family_policy = STR("SingleStack");
    s->spec.has_internal_traffic_policy = true;
    s->spec.internal_traffic_policy = STR("Cluster");
    s->spec.session_affinity = STR("None");
    s->spec.ports = ARENA_NEW(a, struct core_v1_service_port);
    s->spec.ports_count = 1;
    s->spec.ports->name = STR("https");
    s->spec.ports->protocol = STR("TCP");
    s->spec.ports->port = 443;
    s->spec.ports->target_port.int_val = ctx->server->port;
    *ret = (struct builtin){registry_storage(STR(""), STR("services")), s->metadata.namespace,
                            s->metadata.name, s, s->spec.cluster_ip};
}

static void add_data(struct arena *a, struct core_v1_config_map *c, const char *key,
                     struct str value)
{
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, c->data_count + 1);
    if (c->data_count != 0)
        memcpy(e, c->data, c->data_count * sizeof(*e));
    e[c->data_count++] = (struct api_str_entry){str_of(key), value};
    c->data = e;
}

static struct str file_text(struct arena *a, const char *path)
{
    AUTO_BUF b = BUF_INIT;
    if (path == NULL || file_read(path, CA_BYTES_MAX, &b, NULL) != 0)
        return STR_NULL;
    return arena_str(a, buf_str(&b));
}

static struct str json_list(struct arena *a, const char *commas)
{
    AUTO_BUF b = BUF_INIT;
    struct str rest = str_of(commas), part;
    bool more = rest.len != 0;
    buf_putc(&b, '[');
    while (more) {
        more = str_cut(rest, ',', &part, &rest);
        buf_printf(&b, "%s\"" STR_FMT "\"", b.len == 1 ? "" : ",", STR_ARG(part));
    }
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

/* How extension API servers and node agents tell our clients apart. */
static void make_authentication(const struct kind_ctx *ctx, struct builtin *ret)
{
    struct arena *a = ctx->arena;
    const struct apiserver_config *f = &ctx->server->config;
    struct core_v1_config_map *c = ARENA_NEW(a, struct core_v1_config_map);
    fill_meta(ctx, &c->metadata, "kube-system", "extension-apiserver-authentication");
    struct str ca = file_text(a, f->client_ca_file),
               proxy_ca = file_text(a, f->requestheader_client_ca_file);
    if (ca.len != 0)
        add_data(a, c, "client-ca-file", ca);
    if (proxy_ca.len != 0) {
        add_data(a, c, "requestheader-allowed-names", json_list(a, f->requestheader_allowed_names));
        add_data(a, c, "requestheader-client-ca-file", proxy_ca);
        add_data(a, c, "requestheader-extra-headers-prefix",
                 json_list(a, f->requestheader_extra_headers_prefix));
        add_data(a, c, "requestheader-group-headers", json_list(a, f->requestheader_group_headers));
        if (f->requestheader_uid_headers[0] != '\0')
            add_data(a, c, "requestheader-uid-headers", json_list(a, f->requestheader_uid_headers));
        add_data(a, c, "requestheader-username-headers",
                 json_list(a, f->requestheader_username_headers));
    }
    *ret = (struct builtin){registry_storage(STR(""), STR("configmaps")), c->metadata.namespace,
                            c->metadata.name, c, STR_NULL};
}

/* Since when the use of tokens in secrets is noted: the cleaner of such tokens counts from it. */
static void make_token_tracking(const struct kind_ctx *ctx, struct builtin *ret)
{
    struct core_v1_config_map *c = ARENA_NEW(ctx->arena, struct core_v1_config_map);
    char text[TIME_TEXT_MAX];
    fill_meta(ctx, &c->metadata, "kube-system",
              "kube-apiserver-legacy-service-account-token-tracking");
    time_format(&c->metadata.creation_timestamp, text);
    add_data(ctx->arena, c, "since", arena_str(ctx->arena, str_n(text, sizeof("2006-01-02") - 1)));
    *ret = (struct builtin){registry_storage(STR(""), STR("configmaps")), c->metadata.namespace,
                            c->metadata.name, c, STR_NULL};
}

static const struct str *find_data(const struct core_v1_config_map *c, const char *key)
{
    return api_str_map_get(c->data, c->data_count, str_of(key));
}

static bool list_holds(const struct json *list, struct str text)
{
    for (size_t i = 0; i < list->array.count; i++)
        if (list->array.items[i]->type == JSON_STRING && str_eq(list->array.items[i]->string, text))
            return true;
    return false;
}

/* Both lists' strings, those that are there first; what is there when it is no list. */
static struct str merge_lists(struct arena *a, struct str there, struct str ours)
{
    struct json *x, *y;
    AUTO_BUF b = BUF_INIT;
    if (json_parse(a, there, &x, NULL) != 0 || x->type != JSON_ARRAY ||
        json_parse(a, ours, &y, NULL) != 0)
        return ours;
    bool more = false;
    for (size_t i = 0; i < y->array.count; i++)
        if (!list_holds(x, y->array.items[i]->string)) {
            json_append(a, x, y->array.items[i]);
            more = true;
        }
    if (!more)
        return there;
    json_write(x, false, &b);
    return arena_str(a, buf_str(&b));
}

static struct str merge_bundles(struct arena *a, struct str there, struct str ours)
{
    if (str_find_str(there, str_trim(ours)) >= 0)
        return there;
    bool line = there.len != 0 && there.data[there.len - 1] != '\n';
    return arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(there), line ? "\n" : "", STR_ARG(ours));
}

bool builtin_authentication(const struct kind_ctx *ctx, struct txn_build *t)
{
    struct arena *a = ctx->arena;
    struct builtin wanted;
    void *msg;
    AUTO_BUF value = BUF_INIT;
    make_authentication(ctx, &wanted);
    const struct core_v1_config_map *ours = wanted.obj;
    struct str key = registry_key(a, wanted.res, wanted.ns, wanted.name);
    const struct kv *kv = store_view_get(ctx->view, key, 0);
    if (kv == NULL || stored_decode(a, wanted.res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
        return false;
    const struct core_v1_config_map *old = msg;
    struct core_v1_config_map *c = api_msg_clone(a, &core_v1_config_map_msg, old);
    bool changed = false;
    for (size_t i = 0; i < ours->data_count; i++) {
        const struct str *there = find_data(c, str_c(ours->data[i].key));
        struct str mine = ours->data[i].value, now;
        if (there == NULL) {
            add_data(a, c, str_c(ours->data[i].key), mine);
            changed = true;
            continue;
        }
        bool list = mine.len != 0 && mine.data[0] == '[';
        now = list ? merge_lists(a, *there, mine) : merge_bundles(a, *there, mine);
        changed |= !str_eq(now, *there);
        *(struct str *)(uintptr_t)there = now;
    }
    if (!changed)
        return false;
    c->metadata.resource_version = STR_NULL;
    field_manager_system(ctx, wanted.res, old, c);
    stored_encode(wanted.res, c, &value);
    txn_build_expect(t, key, kv->mod_rev);
    txn_build_put(t, key, arena_str(a, buf_str(&value)));
    return true;
}

bool builtin_service_cidr(const struct kind_ctx *ctx, struct txn_build *t)
{
    struct arena *a = ctx->arena;
    struct builtin wanted;
    void *msg;
    AUTO_BUF value = BUF_INIT;
    make_service_cidr(ctx, &wanted);
    const struct networking_v1_service_cidr *ours = wanted.obj;
    struct str key = registry_key(a, wanted.res, wanted.ns, wanted.name);
    const struct kv *kv = store_view_get(ctx->view, key, 0);
    if (kv == NULL || stored_decode(a, wanted.res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
        return false;
    const struct networking_v1_service_cidr *old = msg;
    bool same = old->spec.cidrs_count == ours->spec.cidrs_count;
    bool first = old->spec.cidrs_count != 0 && str_eq(old->spec.cidrs[0], ours->spec.cidrs[0]);
    for (size_t i = 0; same && i < ours->spec.cidrs_count; i++)
        same = str_eq(old->spec.cidrs[i], ours->spec.cidrs[i]);
    if (same)
        return false;
    if (old->metadata.deletion_timestamp != NULL || !first || old->spec.cidrs_count != 1) {
        log_warning("ServiceCIDR kubernetes does not match --service-cluster-ip-range=%s: a second "
                    "range may be added, nothing else changes",
                    ctx->server->config.service_cluster_ip_range);
        return false;
    }
    struct networking_v1_service_cidr *c = api_msg_clone(a, &networking_v1_service_cidr_msg, old);
    c->spec.cidrs = ours->spec.cidrs;
    c->spec.cidrs_count = ours->spec.cidrs_count;
    c->metadata.generation++;
    c->metadata.resource_version = STR_NULL;
    field_manager_system(ctx, wanted.res, old, c);
    stored_encode(wanted.res, c, &value);
    txn_build_expect(t, key, kv->mod_rev);
    txn_build_put(t, key, arena_str(a, buf_str(&value)));
    return true;
}

bool builtin_make(const struct kind_ctx *ctx, size_t index, struct builtin *ret)
{
    static const char *const namespaces[] = {"kube-system", "kube-public", "kube-node-lease",
                                             "default"};
    if (index < ARRAY_SIZE(namespaces)) {
        builtin_namespace(ctx, str_of(namespaces[index]), ret);
        return true;
    }
    switch (index - ARRAY_SIZE(namespaces)) {
    case 0:
        make_priority_class(
            ctx, "system-node-critical", 2000001000,
            "Used for system critical pods that must not be moved from their current node.", ret);
        return true;
    case 1:
        make_priority_class(ctx, "system-cluster-critical", 2000000000,
                            "Used for system critical pods that must run in the cluster, but can "
                            "be moved to another "
                            "node if necessary.",
                            ret);
        return true;
    case 2:
        make_service_cidr(ctx, ret);
        return true;
    case 3:
        make_service(ctx, ret);
        return true;
    case 4:
        make_authentication(ctx, ret);
        return true;
    case 5:
        make_token_tracking(ctx, ret);
        return true;
    default:
        return flow_builtin_make(ctx, index - ARRAY_SIZE(namespaces) - 6, ret);
    }
}

/* --- endpoints of default/kubernetes ------------------------------------------------------------
 */
static void fill_subset(struct arena *a, const struct apiserver *s, const struct str *ips,
                        size_t count, struct core_v1_endpoints *e)
{
    if (count == 0)
        return;
    struct core_v1_endpoint_subset *sub = ARENA_NEW(a, struct core_v1_endpoint_subset);
    sub->addresses = ARENA_ARRAY(a, struct core_v1_endpoint_address, count);
    sub->addresses_count = count;
    for (size_t i = 0; i < count; i++)
        sub->addresses[i].ip = ips[i];
    sub->ports = ARENA_NEW(a, struct core_v1_endpoint_port);
    sub->ports_count = 1;
    sub->ports->name = STR("https");
    sub->ports->protocol = STR("TCP");
    sub->ports->port = s->port;
    e->subsets = sub;
    e->subsets_count = 1;
}

void builtin_master_lease(struct arena *a, const struct apiserver *s, struct buf *out)
{
    struct core_v1_endpoints e = {0};
    struct str ip = str_of(s->address);
    fill_subset(a, s, &ip, 1, &e);
    api_envelope_encode(&core_v1_endpoints_msg, &e, STR("v1"), STR("Endpoints"), out);
}

/* A slice is of one family: that of the built-in Service. */
static size_t of_family(const struct apiserver *s, struct str *ips, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if ((str_find(ips[i], ':', 0) < 0) == s->service_ranges[0].v4)
            ips[n++] = ips[i];
    return n;
}

static void fill_slice(struct arena *a, const struct apiserver *s, const struct str *ips,
                       size_t count, struct discovery_v1_endpoint_slice *l)
{
    l->address_type = service_ips_default_family(s);
    l->endpoints = ARENA_ARRAY(a, struct discovery_v1_endpoint, count + 1);
    l->endpoints_count = count;
    for (size_t i = 0; i < count; i++) {
        l->endpoints[i].addresses = strs1(a, ips[i]);
        l->endpoints[i].addresses_count = 1;
        l->endpoints[i].conditions.has_ready = true;
        l->endpoints[i].conditions.ready = true;
    }
    l->ports = ARENA_NEW(a, struct discovery_v1_endpoint_port);
    l->ports_count = 1;
    l->ports->has_name = l->ports->has_protocol = l->ports->has_port = true;
    l->ports->name = STR("https");
    l->ports->protocol = STR("TCP");
    l->ports->port = s->port;
}

/* Puts obj unless the stored object has the same content beside metadata. */
static void put_if_changed(const struct kind_ctx *ctx, const struct resource *res, void *obj,
                           struct txn_build *t)
{
    struct arena *a = ctx->arena;
    struct meta_v1_object_meta *m = api_meta_of(res->storage, obj);
    struct str key = registry_key(a, res, m->namespace, m->name);
    const struct kv *kv = store_view_get(ctx->view, key, 0);
    void *old;
    AUTO_BUF b = BUF_INIT;
    if (kv != NULL && stored_decode(a, res, stored_value(kv), 0, &old, NULL) == 0)
        *m = *api_meta_of(res->storage, old);
    m->resource_version = STR_NULL;
    stored_encode(res, obj, &b);
    if (kv != NULL && str_eq(buf_str(&b), stored_value(kv)))
        return;
    txn_build_expect(t, key, kv != NULL ? kv->mod_rev : 0);
    txn_build_put(t, key, arena_str(a, buf_str(&b)));
}

static size_t live_addresses(const struct kind_ctx *ctx, const char *prefix, struct str **ret)
{
    struct arena *a = ctx->arena;
    struct str from = str_of(prefix), end = arena_printf(a, "%.*s0", (int)from.len - 1, from.data);
    struct store_iter it;
    size_t n = 0, cap = 0;
    *ret = NULL;
    if (store_iter_init(&it, ctx->view, from, end, 0) != 0)
        return 0;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        *ret = arena_grow(a, *ret, n, &cap, sizeof(**ret));
        (*ret)[n++] = str_sub(kv_key(kv), from.len, kv_key(kv).len);
    }
    return n;
}

void builtin_endpoints(const struct kind_ctx *ctx, const char *prefix, bool leaving,
                       struct txn_build *t)
{
    struct arena *a = ctx->arena;
    struct str own = str_of(ctx->server->address), *ips = &own;
    size_t count = leaving ? 0 : 1;
    if (prefix != NULL)
        count = live_addresses(ctx, prefix, &ips);
    count = of_family(ctx->server, ips, count);
    struct core_v1_endpoints *e = ARENA_NEW(a, struct core_v1_endpoints);
    fill_meta(ctx, &e->metadata, "default", "kubernetes");
    label(a, &e->metadata, "endpointslice.kubernetes.io/skip-mirror", STR("true"));
    fill_subset(a, ctx->server, ips, count, e);
    put_if_changed(ctx, registry_storage(STR(""), STR("endpoints")), e, t);
    struct discovery_v1_endpoint_slice *l = ARENA_NEW(a, struct discovery_v1_endpoint_slice);
    fill_meta(ctx, &l->metadata, "default", "kubernetes");
    l->metadata.generation = 1;
    label(a, &l->metadata, "kubernetes.io/service-name", STR("kubernetes"));
    fill_slice(a, ctx->server, ips, count, l);
    put_if_changed(ctx, registry_storage(STR("discovery.k8s.io"), STR("endpointslices")), l, t);
}
