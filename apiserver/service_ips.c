/* service_ips.c - see service_ips.h. */
#include "apiserver/service_ips.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/validate.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#define PROBES_MAX 65536u
#define CIDRS_MAX 256u     /* ServiceCIDRs that are looked at. */
#define RANGE_BITS_MAX 62u /* Of an IPv6 range of /64 as many addresses are used. */
#define V6_PREFIX_MIN 64u  /* Upstream's limit of ranges of IPv6. */
#define SERVICE_CIDRS "/registry/servicecidrs/"

static struct str family_of(bool v4)
{
    return v4 ? STR("IPv4") : STR("IPv6");
}

static bool family_is_v4(struct str family)
{
    return str_eqc(family, "IPv4");
}

/* --- ranges ---------------------------------------------------------------------------------- */

static unsigned host_bits(const struct ip_text *range)
{
    return (range->v4 ? 32u : 128u) - range->prefix;
}

static uint64_t range_size(const struct ip_text *range)
{
    return (uint64_t)1 << MIN_OF(host_bits(range), RANGE_BITS_MAX);
}

/* What stands in the bits that a range can have for hosts. */
static uint64_t low_bits(const struct ip_text *ip)
{
    uint64_t n = 0;
    for (unsigned i = ip->v4 ? 0 : 8; i < (ip->v4 ? 4u : 16u); i++)
        n = n << 8 | ip->addr[i];
    return n;
}

static struct ip_text nth(const struct ip_text *range, uint64_t n)
{
    struct ip_text ip = *range;
    uint64_t low = low_bits(range) + n;
    for (unsigned i = ip.v4 ? 4 : 16, last = ip.v4 ? 0 : 8; i-- > last; low >>= 8)
        ip.addr[i] = (uint8_t)low;
    return ip;
}

/* IPv4's last address is for broadcasts; the first one is nobody's in both families. */
static uint64_t range_end(const struct ip_text *range)
{
    return range->v4 ? range_size(range) - 1 : range_size(range);
}

static bool usable_range(const struct ip_text *range)
{
    return range->v4 ? range->prefix >= 8 && range->prefix <= 30
                     : range->prefix >= V6_PREFIX_MIN && range->prefix <= 126;
}

static bool holds(const struct ip_text *range, const struct ip_text *ip)
{
    if (range->v4 != ip->v4)
        return false;
    if (!ip->v4 && memcmp(range->addr, ip->addr, 8) != 0)
        return false;
    uint64_t low = low_bits(ip), base = low_bits(range);
    return low > base && low - base < range_end(range);
}

static bool parse_range(struct str text, struct ip_text *ret)
{
    if (!ip_text_parse_cidr(text, ret) || ret->mapped || ret->zeros || !usable_range(ret))
        return false;
    for (unsigned i = 0, bits = ret->prefix; i < 16; i++) {
        unsigned keep = bits <= 8 * i ? 0 : MIN_OF(bits - 8 * i, 8u);
        ret->addr[i] = (uint8_t)(ret->addr[i] & (0xff00u >> keep));
    }
    return true;
}

int service_ips_parse(struct apiserver *s, struct error *err)
{
    static const char flag[] = "--service-cluster-ip-range";
    struct str rest = str_of(s->config.service_cluster_ip_range), part;
    s->service_range_count = 0;
    for (bool more = true; more;) {
        more = str_cut(rest, ',', &part, &rest);
        part = str_trim(part);
        if (s->service_range_count == ARRAY_SIZE(s->service_ranges))
            return error_set(err, E_INVALID, "%s must not contain more than two entries", flag);
        if (!parse_range(part, &s->service_ranges[s->service_range_count++]))
            return error_set(
                err, E_INVALID,
                "%s: " STR_FMT
                " is neither an IPv4 range of /8 to /30 nor an IPv6 one of /64 to /126",
                flag, STR_ARG(part));
    }
    if (s->service_range_count == 2 && s->service_ranges[0].v4 == s->service_ranges[1].v4)
        return error_set(err, E_INVALID, "%s[0] and %s[1] must be of different IP family", flag,
                         flag);
    return 0;
}

size_t service_ips_ranges(struct arena *a, const struct apiserver *s, struct str ret[2])
{
    for (size_t i = 0; i < s->service_range_count; i++)
        ret[i] = ip_text_write_cidr(a, &s->service_ranges[i]);
    return s->service_range_count;
}

struct str service_ips_default_family(const struct apiserver *s)
{
    return family_of(s->service_ranges[0].v4);
}

struct str service_ips_first(struct arena *a, const struct apiserver *s)
{
    struct ip_text ip = nth(&s->service_ranges[0], 1);
    return ip_text_write(a, &ip);
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static const struct resource *ip_resource(void)
{
    return registry_storage(STR("networking.k8s.io"), STR("ipaddresses"));
}

static struct str ip_key(const struct kind_ctx *ctx, struct str ip)
{
    return registry_key(ctx->arena, ip_resource(), STR_NULL, ip);
}

static bool ip_taken(const struct kind_ctx *ctx, struct str ip)
{
    return store_view_get(ctx->view, ip_key(ctx, ip), 0) != NULL;
}

void service_ips_claim(const struct kind_ctx *ctx, const struct core_v1_service *s, struct str ip,
                       struct txn_build *t)
{
    struct arena *a = ctx->arena;
    AUTO_BUF b = BUF_INIT;
    char uid[37];
    env_uuid(ctx->env, uid);
    struct api_str_entry labels[] = {
        {STR("ipaddress.kubernetes.io/ip-family"), family_of(str_find(ip, ':', 0) < 0)},
        {STR("ipaddress.kubernetes.io/managed-by"), STR("ipallocator.k8s.io")}};
    struct networking_v1_parent_reference parent = {
        .resource = STR("services"), .namespace = s->metadata.namespace, .name = s->metadata.name};
    struct networking_v1_ip_address addr = {
        .metadata = {.name = ip,
                     .uid = str_of(uid),
                     .generation = 1,
                     .creation_timestamp = {.seconds = ctx->now_ns / 1000000000},
                     .labels = labels,
                     .labels_count = ARRAY_SIZE(labels)},
        .spec = {.parent_ref = &parent},
    };
    stored_encode(ip_resource(), &addr, &b);
    struct str key = ip_key(ctx, ip);
    txn_build_expect(t, key, 0);
    txn_build_put(t, key, arena_str(a, buf_str(&b)));
}

/* IPAddresses are named by the canonical form; clusterIPs may have been written in another one. */
static struct str canonical(struct arena *a, struct str ip)
{
    struct ip_text parsed;
    return ip_text_parse(ip, &parsed) ? ip_text_write(a, &parsed) : ip;
}

/* The lower part of the range is left to those who choose addresses. */
static uint64_t static_part(uint64_t size)
{
    if (size <= 16)
        return 1;
    return MAX_OF((uint64_t)16, MIN_OF(size / 16, (uint64_t)256));
}

static bool pick_in(const struct kind_ctx *ctx, const struct ip_text *range, struct str *ret)
{
    uint64_t end = range_end(range), low = static_part(range_size(range));
    if (end <= low)
        low = 1;
    uint64_t at = low + env_random_below(ctx->env, end - low);
    for (uint64_t i = 0; i < MIN_OF(end, (uint64_t)PROBES_MAX); i++) {
        struct ip_text ip = nth(range, at);
        *ret = ip_text_write(ctx->arena, &ip);
        if (at != 0 && !ip_taken(ctx, *ret))
            return true;
        at = at + 1 < end ? at + 1 : 1;
    }
    return false;
}

/* The ranges of one family: the flag's, then those of ServiceCIDRs that are ready. */
struct ranges {
    struct ip_text *items;
    size_t count, cap;
};

static bool cidr_ready(const struct networking_v1_service_cidr *c)
{
    for (size_t i = 0; i < c->status.conditions_count; i++)
        if (str_eqc(c->status.conditions[i].type, "Ready"))
            return c->metadata.deletion_timestamp == NULL &&
                   str_eqc(c->status.conditions[i].status, "True");
    return false;
}

static void add_range(const struct kind_ctx *ctx, struct ranges *r, const struct ip_text *range)
{
    r->items = arena_grow(ctx->arena, r->items, r->count, &r->cap, sizeof(*r->items));
    r->items[r->count++] = *range;
}

static void add_cidr(const struct kind_ctx *ctx, struct ranges *r,
                     const struct networking_v1_service_cidr *c, bool v4)
{
    for (size_t i = 0; i < c->spec.cidrs_count; i++) {
        struct ip_text range;
        bool known = false;
        if (!parse_range(c->spec.cidrs[i], &range) || range.v4 != v4)
            continue;
        for (size_t k = 0; k < r->count; k++)
            known = known || (r->items[k].prefix == range.prefix &&
                              memcmp(r->items[k].addr, range.addr, sizeof(range.addr)) == 0);
        if (!known)
            add_range(ctx, r, &range);
    }
}

static void gather_ranges(const struct kind_ctx *ctx, bool v4, struct ranges *ret)
{
    const struct apiserver *s = ctx->server;
    const struct resource *res = registry_storage(STR("networking.k8s.io"), STR("servicecidrs"));
    struct str from = STR(SERVICE_CIDRS),
               end = arena_printf(ctx->arena, "%.*s0", (int)from.len - 1, from.data);
    struct store_iter it;
    const struct kv *kv;
    *ret = (struct ranges){0};
    for (size_t i = 0; i < s->service_range_count; i++)
        if (s->service_ranges[i].v4 == v4)
            add_range(ctx, ret, &s->service_ranges[i]);
    if (store_iter_init(&it, ctx->view, from, end, 0) != 0)
        return;
    for (unsigned n = 0; n < CIDRS_MAX && (kv = store_iter_next(&it)) != NULL; n++) {
        void *c = NULL;
        if (stored_decode(ctx->arena, res, stored_value(kv), kv->mod_rev, &c, NULL) == 0 &&
            cidr_ready(c))
            add_cidr(ctx, ret, c, v4);
    }
}

/* --- families ------------------------------------------------------------------------------------
 */

static bool headless_spec(const struct core_v1_service_spec *s)
{
    return str_eqc(s->cluster_ip, "None");
}

static bool wants_ip(const struct core_v1_service *s)
{
    return s != NULL && !str_eqc(s->spec.type, "ExternalName") && !headless_spec(&s->spec);
}

static bool configured(const struct apiserver *s, struct str family)
{
    for (size_t i = 0; i < s->service_range_count; i++)
        if (str_eq(family_of(s->service_ranges[i].v4), family))
            return true;
    return false;
}

static void add_family(const struct kind_ctx *ctx, struct core_v1_service_spec *s,
                       struct str family)
{
    struct str *list = ARENA_ARRAY(ctx->arena, struct str, s->ip_families_count + 1);
    for (size_t i = 0; i < s->ip_families_count; i++)
        list[i] = s->ip_families[i];
    list[s->ip_families_count++] = family;
    s->ip_families = list;
}

static void add_other_family(const struct kind_ctx *ctx, struct core_v1_service_spec *s)
{
    add_family(ctx, s, family_of(!family_is_v4(s->ip_families[0])));
}

static bool is_single(const struct core_v1_service_spec *s)
{
    return str_eqc(s->ip_family_policy, "SingleStack");
}

/* What the policy says about the lists. */
static void check_policy(struct field_errors *errs, const struct core_v1_service_spec *s)
{
    static const char why[] = "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s "
                              "are specified";
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "ipFamilyPolicy");
    if (!is_single(s))
        return;
    if (s->cluster_ips_count == 2)
        field_invalid(errs, path, s->ip_family_policy, why, "cluster IPs");
    if (s->ip_families_count == 2)
        field_invalid(errs, path, s->ip_family_policy, why, "IP families");
}

/* Families of the addresses that were given. */
static void infer_families(const struct kind_ctx *ctx, struct field_errors *errs,
                           struct core_v1_service_spec *s)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "clusterIPs");
    for (size_t i = s->ip_families_count; !headless_spec(s) && i < s->cluster_ips_count; i++) {
        struct str family = family_of(str_find(s->cluster_ips[i], ':', 0) < 0);
        if (configured(ctx->server, family))
            add_family(ctx, s, family);
        else
            field_invalid_raw(
                errs, PATH_INDEX(path, i),
                field_strings_render(ctx->arena, s->cluster_ips, s->cluster_ips_count),
                STR_FMT " is not configured on this cluster", STR_ARG(family));
    }
}

/* May the cluster have what is asked for? */
static void check_configured(const struct kind_ctx *ctx, struct field_errors *errs,
                             const struct core_v1_service_spec *s)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (str_eqc(s->ip_family_policy, "RequireDualStack") && ctx->server->service_range_count < 2)
        field_invalid(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy,
                      "this cluster is not configured for dual-stack services");
    for (size_t i = 0; i < s->ip_families_count; i++)
        if (!configured(ctx->server, s->ip_families[i]))
            field_invalid(errs, PATH_INDEX(PATH(spec, "ipFamilies"), i), s->ip_families[i],
                          "not configured on this cluster");
}

/* PreferDualStack is settled when the Service is made, not by later updates that leave the lists
 * alone: a cluster that becomes one of two families changes no Service by itself. */
static bool same_preference(const struct core_v1_service *s, const struct core_v1_service *old)
{
    return old != NULL && str_eqc(s->spec.ip_family_policy, "PreferDualStack") &&
           str_eqc(old->spec.ip_family_policy, "PreferDualStack") &&
           s->spec.cluster_ips_count == old->spec.cluster_ips_count &&
           s->spec.ip_families_count == old->spec.ip_families_count &&
           s->spec.ip_families_count != 0;
}

void service_ips_families(const struct kind_ctx *ctx, struct core_v1_service *service,
                          const struct core_v1_service *old, struct field_errors *errs)
{
    struct core_v1_service_spec *s = &service->spec;
    /* A Service without a selector may name families that the cluster has not. */
    bool free_choice = headless_spec(s) && s->selector_count == 0;
    if (str_eqc(s->type, "ExternalName") || same_preference(service, old))
        return;
    if (!s->has_ip_family_policy) {
        s->has_ip_family_policy = true;
        s->ip_family_policy = free_choice ? STR("RequireDualStack") : STR("SingleStack");
    }
    check_policy(errs, s);
    infer_families(ctx, errs, s);
    if (errs->count == 0 && !free_choice)
        check_configured(ctx, errs, s);
    if (errs->count != 0)
        return;
    if (s->ip_families_count == 0)
        add_family(ctx, s, service_ips_default_family(ctx->server));
    if (!is_single(s) && s->ip_families_count == 1 &&
        (free_choice || ctx->server->service_range_count == 2))
        add_other_family(ctx, s);
}

/* --- allocation ----------------------------------------------------------------------------------
 */

static bool had_ip(const struct core_v1_service *old, struct str ip)
{
    if (!wants_ip(old))
        return false;
    for (size_t i = 0; i < old->spec.cluster_ips_count; i++)
        if (str_eq(old->spec.cluster_ips[i], ip))
            return true;
    return old->spec.cluster_ips_count == 0 && str_eq(old->spec.cluster_ip, ip);
}

static bool has_ip(const struct core_v1_service *s, struct str ip)
{
    return wants_ip(s) && had_ip(s, ip);
}

static void release(const struct kind_ctx *ctx, const struct core_v1_service *s,
                    const struct core_v1_service *old, struct txn_build *t)
{
    if (!wants_ip(old))
        return;
    for (size_t i = 0; i < MAX_OF(old->spec.cluster_ips_count, (size_t)1); i++) {
        struct str ip =
            old->spec.cluster_ips_count == 0 ? old->spec.cluster_ip : old->spec.cluster_ips[i];
        if (ip.len != 0 && !has_ip(s, ip))
            txn_build_delete(t, ip_key(ctx, canonical(ctx->arena, ip)));
    }
}

/* An address that the user chose. */
static bool take_given(const struct kind_ctx *ctx, const struct ranges *r,
                       const struct core_v1_service_spec *s, struct str given,
                       struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "clusterIPs");
    struct ip_text ip;
    const char *why = "the provided network does not match the current range";
    bool good = false;
    for (size_t i = 0; ip_text_parse(given, &ip) && i < r->count && !good; i++)
        good = holds(&r->items[i], &ip);
    if (good && ip_taken(ctx, ip_text_write(ctx->arena, &ip))) {
        good = false;
        why = "provided IP is already allocated";
    }
    if (!good)
        field_invalid_raw(errs, path,
                          field_strings_render(ctx->arena, s->cluster_ips, s->cluster_ips_count),
                          "failed to allocate IP " STR_FMT ": %s", STR_ARG(given), why);
    return good;
}

static bool take_any(const struct kind_ctx *ctx, const struct ranges *r, struct str *ret,
                     struct field_errors *errs)
{
    for (size_t i = 0; i < r->count; i++)
        if (pick_in(ctx, &r->items[i], ret))
            return true;
    field_internal(errs, PATH(PATH(PATH_ROOT, "spec"), "clusterIPs"),
                   "failed to allocate a serviceIP: range is full");
    return false;
}

/* The addresses that s shall have, of each of its families; those that are missing are empty. */
static struct str *wanted_ips(const struct kind_ctx *ctx, const struct core_v1_service_spec *s,
                              size_t *ret_count)
{
    size_t n = MAX_OF(s->ip_families_count, (size_t)1);
    struct str *list = ARENA_ARRAY(ctx->arena, struct str, n);
    for (size_t i = 0; i < n; i++)
        list[i] = i < s->cluster_ips_count ? s->cluster_ips[i] : STR_NULL;
    if (s->cluster_ips_count == 0)
        list[0] = s->cluster_ip;
    *ret_count = n;
    return list;
}

void service_ips_allocate(const struct kind_ctx *ctx, struct core_v1_service *s,
                          const struct core_v1_service *old, struct txn_build *t,
                          struct field_errors *errs)
{
    if (!wants_ip(s)) {
        release(ctx, s, old, t);
        if (s != NULL && str_eqc(s->spec.type, "ExternalName")) {
            s->spec.cluster_ip = STR_NULL;
            s->spec.cluster_ips_count = 0;
        }
        return;
    }
    size_t count;
    struct str *ips = wanted_ips(ctx, &s->spec, &count);
    for (size_t i = 0; i < count; i++) {
        struct ranges r;
        if (!str_empty(ips[i]) && had_ip(old, ips[i]))
            continue;
        gather_ranges(ctx,
                      s->spec.ip_families_count == 0 ? ctx->server->service_ranges[0].v4
                                                     : family_is_v4(s->spec.ip_families[i]),
                      &r);
        if (!(str_empty(ips[i]) ? take_any(ctx, &r, &ips[i], errs)
                                : take_given(ctx, &r, &s->spec, ips[i], errs)))
            return;
        service_ips_claim(ctx, s, canonical(ctx->arena, ips[i]), t);
    }
    s->spec.cluster_ip = ips[0];
    s->spec.cluster_ips = ips;
    s->spec.cluster_ips_count = count;
    release(ctx, s, old, t);
}
