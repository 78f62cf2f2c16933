/* rbac_rules.c - see rbac_rules.h. */
#include "apiserver/rbac_rules.h"

#include "api/rbac_v1.h"
#include "apiserver/authz.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define RULE_PARTS_MAX 100000u /* A role of more parts is refused to all but administrators. */

static uint64_t bit_of(struct str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (uint8_t)s.data[i]) * 16777619u;
    return (uint64_t)1 << ((h ^ (h >> 15)) & 63);
}

static uint64_t bits_of(const struct str *list, size_t count)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits |= str_eq(list[i], STR("*")) ? UINT64_MAX : bit_of(list[i]);
    return bits;
}

static bool holds(const struct str *list, size_t count, struct str s)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

static bool holds_or_any(const struct str *list, size_t count, struct str s)
{
    return holds(list, count, s) || holds(list, count, STR("*"));
}

/* --- one rule, one question -------------------------------------------------------------- */
void rbac_rule_compile(const struct rbac_v1_policy_rule *rule, struct rbac_rule *ret)
{
    *ret = (struct rbac_rule){
        .rule = rule,
        .verbs = bits_of(rule->verbs, rule->verbs_count),
        .groups = bits_of(rule->api_groups, rule->api_groups_count),
        .resources = bits_of(rule->resources, rule->resources_count),
    };
}

bool rbac_question_init(struct rbac_question *q, const struct authz_attributes *at)
{
    q->at = at;
    q->verb = str_of(at->verb);
    q->verb_bit = bit_of(q->verb);
    if (!at->resource_request)
        return true;
    q->group_bit = bit_of(at->group);
    if (at->subresource.len == 0) {
        q->resource = at->resource;
        q->resource_bits = bit_of(at->resource);
        return true;
    }
    size_t n = at->resource.len, sub = at->subresource.len;
    if (n + sub + 2 > sizeof(q->text))
        return false;
    /* "pods/log", and in front of it room to read "*" for "pods": any resource's log. */
    memcpy(q->text, at->resource.data, n);
    q->text[n] = '/';
    memcpy(q->text + n + 1, at->subresource.data, sub);
    q->resource = str_n(q->text, n + 1 + sub);
    char any[sizeof(q->text) + 1];
    any[0] = '*';
    memcpy(any + 1, q->text + n, sub + 1);
    q->resource_bits = bit_of(q->resource) | bit_of(str_n(any, sub + 2));
    return true;
}

static bool resource_matches(const struct rbac_v1_policy_rule *r, struct str resource,
                             struct str sub)
{
    for (size_t i = 0; i < r->resources_count; i++) {
        struct str s = r->resources[i];
        if (str_eq(s, resource) || str_eq(s, STR("*")))
            return true;
        if (sub.len != 0 && s.len == sub.len + 2 && s.data[0] == '*' && s.data[1] == '/' &&
            memcmp(s.data + 2, sub.data, sub.len) == 0)
            return true;
    }
    return false;
}

static bool url_matches(const struct rbac_v1_policy_rule *r, struct str path)
{
    for (size_t i = 0; i < r->non_resource_urls_count; i++) {
        struct str s = r->non_resource_urls[i];
        if (str_eq(s, path) || str_eq(s, STR("*")))
            return true;
        size_t n = s.len;
        while (n > 0 && s.data[n - 1] == '*')
            n--;
        if (n < s.len && str_has_prefix(path, str_n(s.data, n)))
            return true;
    }
    return false;
}

bool rbac_rule_allows(const struct rbac_rule *r, const struct rbac_question *q)
{
    const struct authz_attributes *at = q->at;
    const struct rbac_v1_policy_rule *p = r->rule;
    if ((r->verbs & q->verb_bit) == 0)
        return false;
    if (!at->resource_request)
        return p->non_resource_urls_count != 0 && holds_or_any(p->verbs, p->verbs_count, q->verb) &&
               url_matches(p, at->path);
    if ((r->groups & q->group_bit) == 0 || (r->resources & q->resource_bits) == 0)
        return false;
    return holds_or_any(p->verbs, p->verbs_count, q->verb) &&
           holds_or_any(p->api_groups, p->api_groups_count, at->group) &&
           resource_matches(p, q->resource, at->subresource) &&
           (p->resource_names_count == 0 ||
            holds(p->resource_names, p->resource_names_count, at->name));
}

bool rbac_rules_allow(const struct rbac_v1_policy_rule *rules, size_t count,
                      const struct authz_attributes *at)
{
    struct rbac_question q;
    struct rbac_rule r;
    if (!rbac_question_init(&q, at))
        return false;
    for (size_t i = 0; i < count; i++) {
        rbac_rule_compile(&rules[i], &r);
        if (rbac_rule_allows(&r, &q))
            return true;
    }
    return false;
}

/* --- does one set of rules hold another? ------------------------------------------------- */
static struct str *one(struct arena *a, struct str s)
{
    return arena_memdup(a, &s, sizeof(s));
}

/* part: at most one string in each of its lists. */
static bool covers(const struct rbac_v1_policy_rule *h, const struct rbac_v1_policy_rule *part)
{
    if (!holds_or_any(h->verbs, h->verbs_count, part->verbs[0]))
        return false;
    if (part->non_resource_urls_count != 0)
        return url_matches(h, part->non_resource_urls[0]);
    if (!holds_or_any(h->api_groups, h->api_groups_count, part->api_groups[0]))
        return false;
    struct str resource = part->resources[0], head, sub = STR_NULL;
    if (!str_cut(resource, '/', &head, &sub))
        sub = STR_NULL;
    if (!resource_matches(h, resource, sub))
        return false;
    if (part->resource_names_count == 0)
        return h->resource_names_count == 0;
    return h->resource_names_count == 0 ||
           holds(h->resource_names, h->resource_names_count, part->resource_names[0]);
}

struct missing {
    struct arena *arena;
    const struct rbac_v1_policy_rule *held;
    size_t held_count;
    struct rbac_v1_policy_rule *rules;
    size_t count, cap;
    size_t parts;
};

static bool same_target(const struct rbac_v1_policy_rule *x, const struct rbac_v1_policy_rule *y)
{
    if (x->non_resource_urls_count != y->non_resource_urls_count ||
        x->resource_names_count != y->resource_names_count)
        return false;
    if (x->non_resource_urls_count != 0)
        return false; /* Upstream joins the verbs of resources only. */
    return str_eq(x->api_groups[0], y->api_groups[0]) && str_eq(x->resources[0], y->resources[0]) &&
           (x->resource_names_count == 0 || str_eq(x->resource_names[0], y->resource_names[0]));
}

static void add_missing(struct missing *m, const struct rbac_v1_policy_rule *part)
{
    struct arena *a = m->arena;
    for (size_t i = 0; i < m->count; i++) {
        struct rbac_v1_policy_rule *r = &m->rules[i];
        if (!same_target(r, part))
            continue;
        struct str *verbs = ARENA_ARRAY(a, struct str, r->verbs_count + 1);
        memcpy(verbs, r->verbs, r->verbs_count * sizeof(*verbs));
        verbs[r->verbs_count++] = part->verbs[0];
        r->verbs = verbs;
        return;
    }
    m->rules = arena_grow(a, m->rules, m->count, &m->cap, sizeof(*m->rules));
    m->rules[m->count++] = (struct rbac_v1_policy_rule){
        .verbs = one(a, part->verbs[0]),
        .verbs_count = 1,
        .api_groups = part->api_groups_count != 0 ? one(a, part->api_groups[0]) : NULL,
        .api_groups_count = part->api_groups_count,
        .resources = part->resources_count != 0 ? one(a, part->resources[0]) : NULL,
        .resources_count = part->resources_count,
        .resource_names = part->resource_names_count != 0 ? one(a, part->resource_names[0]) : NULL,
        .resource_names_count = part->resource_names_count,
        .non_resource_urls =
            part->non_resource_urls_count != 0 ? one(a, part->non_resource_urls[0]) : NULL,
        .non_resource_urls_count = part->non_resource_urls_count,
    };
}

static void check_part(struct missing *m, const struct rbac_v1_policy_rule *part)
{
    if (m->parts++ >= RULE_PARTS_MAX) {
        if (m->count == 0)
            add_missing(m, part);
        return;
    }
    for (size_t i = 0; i < m->held_count; i++)
        if (covers(&m->held[i], part))
            return;
    add_missing(m, part);
}

static void check_resource_rule(struct missing *m, const struct rbac_v1_policy_rule *w)
{
    for (size_t g = 0; g < w->api_groups_count; g++)
        for (size_t r = 0; r < w->resources_count; r++)
            for (size_t v = 0; v < w->verbs_count; v++) {
                struct rbac_v1_policy_rule part = {.verbs = &w->verbs[v],
                                                   .verbs_count = 1,
                                                   .api_groups = &w->api_groups[g],
                                                   .api_groups_count = 1,
                                                   .resources = &w->resources[r],
                                                   .resources_count = 1};
                if (w->resource_names_count == 0)
                    check_part(m, &part);
                part.resource_names_count = 1;
                for (size_t n = 0; n < w->resource_names_count; n++) {
                    part.resource_names = &w->resource_names[n];
                    check_part(m, &part);
                }
            }
}

size_t rbac_rules_missing(struct arena *a, const struct rbac_v1_policy_rule *held,
                          size_t held_count, const struct rbac_v1_policy_rule *wanted,
                          size_t wanted_count, struct rbac_v1_policy_rule **ret)
{
    struct missing m = {.arena = a, .held = held, .held_count = held_count};
    for (size_t i = 0; i < wanted_count; i++) {
        const struct rbac_v1_policy_rule *w = &wanted[i];
        check_resource_rule(&m, w);
        for (size_t u = 0; u < w->non_resource_urls_count; u++)
            for (size_t v = 0; v < w->verbs_count; v++) {
                struct rbac_v1_policy_rule part = {.verbs = &w->verbs[v],
                                                   .verbs_count = 1,
                                                   .non_resource_urls = &w->non_resource_urls[u],
                                                   .non_resource_urls_count = 1};
                check_part(&m, &part);
            }
    }
    *ret = m.rules;
    return m.count;
}

static void put_list(struct buf *b, const char *name, const struct str *list, size_t count)
{
    if (count == 0)
        return;
    buf_printf(b, "%s%s:[", b->len > 1 ? ", " : "", name);
    for (size_t i = 0; i < count; i++)
        buf_printf(b, "%s\"" STR_FMT "\"", i != 0 ? " " : "", STR_ARG(list[i]));
    buf_putc(b, ']');
}

struct str rbac_rule_text(struct arena *a, const struct rbac_v1_policy_rule *r)
{
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, '{');
    put_list(&b, "APIGroups", r->api_groups, r->api_groups_count);
    put_list(&b, "Resources", r->resources, r->resources_count);
    put_list(&b, "NonResourceURLs", r->non_resource_urls, r->non_resource_urls_count);
    put_list(&b, "ResourceNames", r->resource_names, r->resource_names_count);
    put_list(&b, "Verbs", r->verbs, r->verbs_count);
    buf_putc(&b, '}');
    return arena_str(a, buf_str(&b));
}
