/* registry.c - see registry.h. */
#include "apiserver/registry.h"

#include "apiserver/convert.h"
#include "apiserver/custom/conversion.h"
#include "apiserver/custom/set.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/map.h"
#include "lib/net/pki.h"

#include <stdio.h>

/* In the order in which upstream's discovery lists them. */
static const struct registry_group groups[] = {
    {"apiregistration.k8s.io", {"v1"}},
    {"apps", {"v1"}},
    {"events.k8s.io", {"v1"}},
    {"authentication.k8s.io", {"v1"}},
    {"authorization.k8s.io", {"v1"}},
    {"autoscaling", {"v2", "v1"}},
    {"batch", {"v1"}},
    {"certificates.k8s.io", {"v1", "v1beta1"}},
    {"networking.k8s.io", {"v1"}},
    {"policy", {"v1"}},
    {"rbac.authorization.k8s.io", {"v1"}},
    {"storage.k8s.io", {"v1"}},
    {"admissionregistration.k8s.io", {"v1"}},
    {"apiextensions.k8s.io", {"v1"}},
    {"scheduling.k8s.io", {"v1"}},
    {"coordination.k8s.io", {"v1"}},
    {"node.k8s.io", {"v1"}},
    {"discovery.k8s.io", {"v1"}},
    {"resource.k8s.io", {"v1"}},
    {"flowcontrol.apiserver.k8s.io", {"v1"}},
    {"metrics.k8s.io", {"v1beta1"}},
};

/* Where upstream's key is not /registry/RESOURCE. */
static const struct {
    const char *group, *resource, *prefix;
} odd_prefixes[] = {
    {"", "replicationcontrollers", "controllers"},
    {"", "endpoints", "services/endpoints"},
    {"", "nodes", "minions"},
    {"", "services", "services/specs"},
    {"networking.k8s.io", "ingresses", "ingress"},
    {"apiextensions.k8s.io", "customresourcedefinitions",
     "apiextensions.k8s.io/customresourcedefinitions"},
    {"apiregistration.k8s.io", "apiservices", "apiregistration.k8s.io/apiservices"},
};

/* Served versions that are stored as another kind. */
static const struct {
    const char *group, *version, *resource;
    const char *to_group, *to_version;
} stored_as[] = {
    {"events.k8s.io", "v1", "events", "", "v1"},
    {"autoscaling", "v1", "horizontalpodautoscalers", "autoscaling", "v2"},
};

/* What --runtime-config leaves of them. */
static struct registry_group served[ARRAY_SIZE(groups)];
static const struct registry_group *built_in = groups;
static size_t built_in_count = ARRAY_SIZE(groups);

static struct resource *table;
static size_t table_count;
static struct map by_gvr;    /* "group/version/resource" */
static struct map by_gr;     /* "group/resource" -> primary */
static struct map by_prefix; /* first segments behind /registry/ -> primary */

static const struct kind_ops no_rules = {.group = "", .version = "", .resource = ""};

const struct registry_group *registry_groups(size_t *ret_count)
{
    const struct registry_group *all = custom_set_groups(ret_count);
    return all != NULL ? all : registry_built_in(ret_count);
}

static bool has_group(const struct registry_group *list, size_t count, struct str group)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(group, list[i].name))
            return true;
    return group.len == 0;
}

bool registry_has_group(struct str group)
{
    return has_group(built_in, built_in_count, group) || custom_set_has_group(group);
}

bool registry_owns_group(struct str group)
{
    return has_group(groups, ARRAY_SIZE(groups), group);
}

bool registry_has_version(struct str group, struct str version)
{
    if (group.len == 0)
        return str_eqc(version, "v1");
    for (size_t i = 0; i < built_in_count; i++)
        if (str_eqc(group, built_in[i].name))
            for (size_t j = 0; built_in[i].versions[j] != NULL; j++)
                if (str_eqc(version, built_in[i].versions[j]))
                    return true;
    return false;
}

const struct registry_group *registry_built_in(size_t *ret_count)
{
    *ret_count = built_in_count;
    return built_in;
}

static const struct kind_ops *find_rules(const struct api_kind *k)
{
    for (size_t i = 0; kind_table[i] != NULL; i++)
        if (strcmp(kind_table[i]->group, k->group) == 0 &&
            strcmp(kind_table[i]->resource, k->resource) == 0)
            return kind_table[i];
    return &no_rules;
}

static const struct api_kind *find_storage(const struct api_kind *k)
{
    for (size_t i = 0; i < ARRAY_SIZE(stored_as); i++)
        if (strcmp(stored_as[i].group, k->group) == 0 &&
            strcmp(stored_as[i].version, k->version) == 0 &&
            strcmp(stored_as[i].resource, k->resource) == 0)
            return api_kind_by_resource(str_of(stored_as[i].to_group),
                                        str_of(stored_as[i].to_version), str_of(k->resource));
    return k;
}

static const char *prefix_of(const struct api_kind *k)
{
    for (size_t i = 0; i < ARRAY_SIZE(odd_prefixes); i++)
        if (strcmp(odd_prefixes[i].group, k->group) == 0 &&
            strcmp(odd_prefixes[i].resource, k->resource) == 0)
            return odd_prefixes[i].prefix;
    return k->resource;
}

static void hash_version(const struct api_kind *k, char ret[16])
{
    char text[256];
    uint8_t sum[32];
    int n = snprintf(text, sizeof(text), "%s/%s/%s", k->group, k->version, k->kind);
    ASSERT(n > 0 && (size_t)n < sizeof(text));
    net_sha256(text, (size_t)n, sum);
    base64_encode_to(BASE64_STD, sum, 8, ret);
    ret[base64_len(BASE64_STD, 8)] = '\0';
}

static bool has_sub(const struct api_kind *k, const char *name)
{
    for (size_t i = 0; i < k->sub_count; i++)
        if (strcmp(k->sub[i].name, name) == 0)
            return true;
    return false;
}

/* See figures/answer.c. */
static bool is_computed(const struct api_kind *k)
{
    return strcmp(k->group, "metrics.k8s.io") == 0;
}

static void add(const struct api_kind *k)
{
    const struct api_kind *storage = find_storage(k);
    struct resource *r = &table[table_count];
    *r = (struct resource){
        .kind = k,
        .storage = storage,
        .ops = find_rules(storage),
        .gr = {str_of(k->group), str_of(k->resource)},
        .prefix = str_of(xasprintf(REGISTRY_ROOT "%s/", prefix_of(storage))),
        .stored = k->list_kind != NULL && strcmp(k->resource, "componentstatuses") != 0 &&
                  !is_computed(k),
        .computed = is_computed(k),
        .status = has_sub(k, "status"),
        .protobuf = true,
        .index = (uint32_t)table_count,
    };
    hash_version(storage, r->version_hash);
    table_count++;
}

static void index_all(void)
{
    char key[256];
    for (size_t i = 0; i < table_count; i++) {
        struct resource *r = &table[i];
        snprintf(key, sizeof(key), "%s/%s/%s", r->kind->group, r->kind->version, r->kind->resource);
        map_set(&by_gvr, str_of(key), r);
        if (r->kind != r->storage)
            continue;
        r->primary = r;
        snprintf(key, sizeof(key), "%s/%s", r->kind->group, r->kind->resource);
        map_set(&by_gr, str_of(key), r);
        if (r->stored)
            map_set(&by_prefix,
                    str_sub(r->prefix, sizeof(REGISTRY_ROOT) - 1,
                            r->prefix.len - sizeof(REGISTRY_ROOT)),
                    r);
    }
    for (size_t i = 0; i < table_count; i++) {
        struct resource *r = &table[i];
        if (r->primary == NULL) {
            snprintf(key, sizeof(key), "%s/%s", r->storage->group, r->storage->resource);
            r->primary = map_get(&by_gr, str_of(key));
            ASSERT(r->primary != NULL);
        }
    }
}

void registry_init(void)
{
    size_t count;
    const struct api_kind *const *kinds = api_kinds(&count);
    ASSERT(table == NULL);
    table = xzalloc(count * sizeof(*table));
    map_init(&by_gvr);
    map_init(&by_gr);
    map_init(&by_prefix);
    for (size_t i = 0; i < count; i++)
        if (kinds[i]->resource != NULL &&
            registry_has_version(str_of(kinds[i]->group), str_of(kinds[i]->version)))
            add(kinds[i]);
    index_all();
}

static bool has_served(const char *group, const char *version)
{
    for (size_t i = 0; i < table_count; i++)
        if (!table[i].disabled && strcmp(table[i].kind->group, group) == 0 &&
            strcmp(table[i].kind->version, version) == 0)
            return true;
    return false;
}

void registry_restrict(bool (*serves)(struct str group, struct str version, struct str resource,
                                      const void *arg),
                       const void *arg)
{
    for (size_t i = 0; i < table_count; i++) {
        const struct api_kind *k = table[i].kind;
        table[i].disabled = !serves(str_of(k->group), str_of(k->version), str_of(k->resource), arg);
    }
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        struct registry_group g = {.name = groups[i].name};
        size_t n = 0;
        for (size_t j = 0; groups[i].versions[j] != NULL; j++)
            if (has_served(g.name, groups[i].versions[j]))
                g.versions[n++] = groups[i].versions[j];
        if (n != 0)
            served[count++] = g;
    }
    built_in = served;
    built_in_count = count;
}

static char *put(char *to, struct str s)
{
    if (s.len != 0)
        memcpy(to, s.data, s.len);
    return to + s.len;
}

static void *find3(const struct map *m, struct str x, struct str y, struct str z)
{
    char key[256];
    if (x.len >= sizeof(key) || y.len >= sizeof(key) || z.len >= sizeof(key) ||
        x.len + y.len + z.len + 2 > sizeof(key))
        return NULL;
    char *end = put(key, x);
    *end++ = '/';
    end = put(end, y);
    if (z.data != NULL) {
        *end++ = '/';
        end = put(end, z);
    }
    return map_get(m, str_n(key, (size_t)(end - key)));
}

const struct resource *registry_find(struct str group, struct str version, struct str resource)
{
    const struct resource *r =
        find3(&by_gvr, group, version, resource.data != NULL ? resource : STR(""));
    if (r != NULL && r->disabled)
        return NULL;
    return r != NULL ? r : custom_set_find(group, version, resource);
}

const struct resource *registry_storage(struct str group, struct str resource)
{
    return find3(&by_gr, group, resource, STR_NULL);
}

const struct resource *registry_by_key(struct str key, struct str *ret_ns, struct str *ret_name)
{
    if (!str_has_prefix(key, STR(REGISTRY_ROOT)))
        return NULL;
    size_t from = sizeof(REGISTRY_ROOT) - 1;
    const struct resource *r = NULL;
    ptrdiff_t end = str_find(key, '/', from);
    for (int segments = 0; end >= 0 && r == NULL && segments < 2; segments++) {
        r = map_get(&by_prefix, str_sub(key, from, (size_t)end - from));
        if (r == NULL)
            end = str_find(key, '/', (size_t)end + 1);
    }
    if (r == NULL)
        r = custom_set_by_key(key);
    if (r == NULL)
        return NULL;
    struct str rest = str_sub(key, r->prefix.len, key.len);
    *ret_ns = STR_NULL;
    *ret_name = rest;
    if (r->kind->namespaced && !str_cut(rest, '/', ret_ns, ret_name))
        return NULL;
    return r;
}

const struct resource *registry_next(struct str group, struct str version, size_t *pos)
{
    for (; *pos < table_count; (*pos)++) {
        const struct resource *r = &table[*pos];
        if (!r->disabled && str_eqc(group, r->kind->group) && str_eqc(version, r->kind->version)) {
            (*pos)++;
            return r;
        }
    }
    for (const struct resource *r; (r = custom_set_at(*pos - table_count)) != NULL;) {
        ++*pos;
        if (str_eqc(group, r->kind->group) && str_eqc(version, r->kind->version))
            return r;
    }
    return NULL;
}

size_t registry_count(void)
{
    return table_count;
}

const struct resource *registry_at(size_t index)
{
    return index < table_count ? &table[index] : NULL;
}

struct str registry_key(struct arena *a, const struct resource *r, struct str ns, struct str name)
{
    char *key = arena_alloc(a, r->prefix.len + ns.len + name.len + 2);
    char *end = put(key, r->prefix);
    if (r->kind->namespaced) {
        end = put(end, ns);
        *end++ = '/';
    }
    end = put(end, name);
    *end = '\0';
    return str_n(key, (size_t)(end - key));
}

void *registry_to_storage(struct arena *a, const struct resource *r, const struct api_kind *storage,
                          void *obj)
{
    if (r->custom != NULL)
        return custom_convert(a, obj, storage->msg);
    return r->kind == storage ? obj : convert_object(a, r->kind, storage, obj);
}

void *registry_from_storage(struct arena *a, const struct resource *r, void *obj)
{
    if (r->custom != NULL)
        return custom_convert(a, obj, r->kind->msg);
    return r->kind == r->storage ? obj : convert_object(a, r->storage, r->kind, obj);
}
