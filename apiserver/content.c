/* content.c - see content.h. */
#include "apiserver/content.h"

#include "lib/base/arena.h"

#include <strings.h>

#define CLAUSES_MAX 32u

struct clause {
    struct str type; /* "application/json", or with wildcards. */
    struct str params;
    unsigned quality; /* Thousandths. */
};

const char *media_type(enum media m)
{
    static const char *const types[] = {TYPE_JSON, TYPE_YAML, TYPE_PROTOBUF};
    return types[m];
}

static bool same(struct str s, const char *c)
{
    return s.len == strlen(c) && strncasecmp(s.data != NULL ? s.data : "", c, s.len) == 0;
}

static unsigned parse_quality(struct str v)
{
    unsigned whole = v.len > 0 && v.data[0] == '1' ? 1000 : 0, scale = 100;
    for (size_t i = 2; i < v.len && i < 5 && v.data[i] >= '0' && v.data[i] <= '9'; i++, scale /= 10)
        whole += (unsigned)(v.data[i] - '0') * scale;
    return MIN_OF(whole, 1000u);
}

static size_t parse_accept(struct str accept, struct clause *ret)
{
    size_t n = 0;
    bool more = accept.len != 0;
    while (more && n < CLAUSES_MAX) {
        struct str part, rest, param;
        more = str_cut(accept, ',', &part, &accept);
        struct clause c = {.quality = 1000};
        bool params = str_cut(part, ';', &c.type, &c.params);
        c.type = str_trim(c.type);
        rest = c.params;
        while (params) {
            struct str key, value;
            params = str_cut(rest, ';', &param, &rest);
            if (str_cut(str_trim(param), '=', &key, &value) && same(key, "q"))
                c.quality = parse_quality(value);
        }
        if (c.type.len == 0)
            continue;
        size_t at = n++;
        for (; at > 0 && ret[at - 1].quality < c.quality; at--)
            ret[at] = ret[at - 1];
        ret[at] = c;
    }
    return n;
}

static bool media_of(struct str type, enum media *ret)
{
    if (same(type, TYPE_JSON) || same(type, "*/*") || same(type, "application/*"))
        *ret = MEDIA_JSON;
    else if (same(type, TYPE_YAML))
        *ret = MEDIA_YAML;
    else if (same(type, TYPE_PROTOBUF))
        *ret = MEDIA_PROTOBUF;
    else
        return false;
    return true;
}

/* as=, g= and v= of a clause; false when they name nothing we can make. */
static bool transform_of(struct str params, struct accepted *a)
{
    struct str as = STR_NULL, group = STR_NULL, version = STR_NULL, param;
    bool more = params.len != 0;
    while (more) {
        struct str key, value;
        more = str_cut(params, ';', &param, &params);
        if (!str_cut(str_trim(param), '=', &key, &value))
            continue;
        if (same(key, "as"))
            as = value;
        else if (same(key, "g"))
            group = value;
        else if (same(key, "v"))
            version = value;
        else if (same(key, "stream"))
            a->stream = str_eqc(value, "watch");
        else if (same(key, "pretty"))
            a->pretty = str_eqc(value, "1");
    }
    a->transform = AS_OBJECT;
    if (as.len == 0)
        return true;
    if (!str_eqc(group, "meta.k8s.io"))
        return false;
    if (str_eqc(version, "v1"))
        a->version = "v1";
    else if (str_eqc(version, "v1beta1"))
        a->version = "v1beta1";
    else
        return false;
    if (str_eqc(as, "Table"))
        a->transform = AS_TABLE;
    else if (str_eqc(as, "PartialObjectMetadata"))
        a->transform = AS_PARTIAL;
    else if (str_eqc(as, "PartialObjectMetadataList"))
        a->transform = AS_PARTIAL_LIST;
    else
        return false;
    return true;
}

bool accept_negotiate(struct str accept, unsigned limits, struct accepted *ret,
                      bool *ret_bad_transform)
{
    struct clause clauses[CLAUSES_MAX];
    size_t n = parse_accept(accept, clauses);
    *ret_bad_transform = false;
    *ret = (struct accepted){.version = "v1"};
    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        struct accepted out = {.version = "v1"};
        if (!media_of(clauses[i].type, &out.media))
            continue;
        if (!transform_of(clauses[i].params, &out) ||
            (out.transform == AS_TABLE && (limits & ACCEPT_NO_TABLE) != 0)) {
            *ret_bad_transform = true;
            continue;
        }
        if (out.transform == AS_TABLE && out.media == MEDIA_PROTOBUF)
            continue; /* A Table's cells have no protobuf form. */
        if ((limits & ACCEPT_NO_PROTOBUF) != 0 && out.transform == AS_OBJECT &&
            out.media == MEDIA_PROTOBUF)
            continue;
        *ret = out;
        return true;
    }
    return false;
}

bool accept_aggregated(struct str accept, const char **ret_type, bool *ret_v2beta1)
{
    struct clause clauses[CLAUSES_MAX];
    size_t n = parse_accept(accept, clauses);
    for (size_t i = 0; i < n; i++) {
        enum media m;
        if (!media_of(clauses[i].type, &m) || m == MEDIA_YAML)
            continue;
        bool as = str_find_str(clauses[i].params, STR("as=APIGroupDiscoveryList")) >= 0;
        bool group = str_find_str(clauses[i].params, STR("g=apidiscovery.k8s.io")) >= 0;
        if (!as || !group) {
            if (str_find_str(clauses[i].params, STR("as=")) >= 0)
                continue;
            return false;
        }
        *ret_v2beta1 = str_find_str(clauses[i].params, STR("v=v2beta1")) >= 0;
        *ret_type = *ret_v2beta1 ? TYPE_JSON
                        ";g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
                                 : TYPE_JSON ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        if (m == MEDIA_JSON)
            return true;
    }
    return false;
}

/* A star behind the slash takes every type that begins so. */
static bool clause_takes(struct str clause, const char *type)
{
    size_t n = clause.len;
    if (n >= 2 && clause.data[n - 1] == '*' && clause.data[n - 2] == '/')
        return n == 3 || strncasecmp(clause.data, type, n - 1) == 0;
    return same(clause, type);
}

int accept_choose(struct str accept, const char *const *types, size_t count)
{
    struct clause clauses[CLAUSES_MAX];
    size_t n = parse_accept(accept, clauses);
    if (n == 0)
        return accept.len == 0 && count > 0 ? 0 : -1;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < count; j++)
            if (clauses[i].quality > 0 && clause_takes(clauses[i].type, types[j]))
                return (int)j;
    return -1;
}

enum body_type body_type_of(struct str content_type)
{
    static const struct {
        const char *type;
        enum body_type body;
    } types[] = {
        {TYPE_JSON, BODY_JSON},
        {TYPE_YAML, BODY_YAML},
        {TYPE_PROTOBUF, BODY_PROTOBUF},
        {"application/json-patch+json", BODY_JSON_PATCH},
        {"application/merge-patch+json", BODY_MERGE_PATCH},
        {"application/strategic-merge-patch+json", BODY_STRATEGIC_PATCH},
        {"application/apply-patch+yaml", BODY_APPLY_PATCH},
    };
    struct str type, rest;
    str_cut(content_type, ';', &type, &rest);
    type = str_trim(type);
    if (type.len == 0)
        return BODY_JSON;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (same(type, types[i].type))
            return types[i].body;
    return BODY_UNKNOWN;
}
