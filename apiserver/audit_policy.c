/* audit_policy.c - see audit_policy.h. */
#include "apiserver/audit_policy.h"

#include "apiserver/authz.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

struct strings {
    struct str *items;
    size_t count;
};

struct resources {
    struct str group;
    struct strings resources, names;
};

struct rule {
    struct audit_decision decision;
    struct strings users, groups, verbs, namespaces, urls;
    struct resources *resources;
    size_t resource_count;
};

struct audit_policy {
    struct arena *arena;
    struct rule *rules;
    size_t count;
};

static const char *const levels[] = {"None", "Metadata", "Request", "RequestResponse"};
static const char *const stages[] = {"RequestReceived", "ResponseStarted", "ResponseComplete",
                                     "Panic"};

const char *audit_level_name(enum audit_level level)
{
    return levels[level];
}

const char *audit_stage_name(enum audit_stage stage)
{
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(stages) && (1u << i) != (unsigned)stage)
        i++;
    return stages[i];
}

/* --- parsing ---------------------------------------------------------------------------------- */
static int read_strings(struct arena *a, const struct json *object, const char *key,
                        struct strings *ret, struct error *err)
{
    const struct json *j = json_getc(object, key);
    if (j == NULL || j->type == JSON_NULL)
        return 0;
    if (j->type != JSON_ARRAY)
        return error_set(err, E_INVALID, "%s: want a list of strings", key);
    ret->items = ARENA_ARRAY(a, struct str, j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++) {
        if (j->array.items[i]->type != JSON_STRING)
            return error_set(err, E_INVALID, "%s: want a list of strings", key);
        ret->items[ret->count++] = j->array.items[i]->string;
    }
    return 0;
}

static int read_stages(struct arena *a, const struct json *object, unsigned *ret, struct error *err)
{
    struct strings list = {0};
    int code = read_strings(a, object, "omitStages", &list, err);
    for (size_t i = 0; code == 0 && i < list.count; i++) {
        size_t s = 0;
        while (s < ARRAY_SIZE(stages) && !str_eqc(list.items[i], stages[s]))
            s++;
        if (s == ARRAY_SIZE(stages))
            return error_set(err, E_INVALID, "omitStages: \"" STR_FMT "\" is not a stage",
                             STR_ARG(list.items[i]));
        *ret |= 1u << s;
    }
    return code;
}

static int read_level(const struct json *rule, enum audit_level *ret, struct error *err)
{
    struct str text = json_get_str(rule, "level");
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        if (str_eqc(text, levels[i])) {
            *ret = (enum audit_level)i;
            return 0;
        }
    return error_set(err, E_INVALID,
                     "level: \"" STR_FMT
                     "\" is not one of None, Metadata, Request, RequestResponse",
                     STR_ARG(text));
}

static int read_resources(struct arena *a, const struct json *rule, struct rule *r,
                          struct error *err)
{
    const struct json *list = json_getc(rule, "resources");
    int code = 0;
    if (list == NULL || list->type != JSON_ARRAY)
        return list == NULL || list->type == JSON_NULL
                   ? 0
                   : error_set(err, E_INVALID, "resources: want a list");
    r->resources = ARENA_ARRAY(a, struct resources, list->array.count + 1);
    for (size_t i = 0; i < list->array.count && code == 0; i++) {
        const struct json *j = list->array.items[i];
        struct resources *to = &r->resources[r->resource_count++];
        to->group = json_get_str(j, "group");
        if (str_find(to->group, '/', 0) >= 0)
            return error_set(err, E_INVALID,
                             "resources[%zu].group: \"" STR_FMT
                             "\": want a group without its version",
                             i, STR_ARG(to->group));
        code = read_strings(a, j, "resources", &to->resources, err);
        if (code == 0)
            code = read_strings(a, j, "resourceNames", &to->names, err);
        if (code == 0 && to->names.count != 0 && to->resources.count == 0)
            code = error_set(err, E_INVALID, "resourceNames: need resources beside them");
    }
    return code;
}

static int check_url(struct str url, struct error *err)
{
    ptrdiff_t star = str_find(url, '*', 0);
    if (str_eqc(url, "*"))
        return 0;
    if (url.len == 0 || url.data[0] != '/')
        return error_set(err, E_INVALID,
                         "nonResourceURLs: \"" STR_FMT
                         "\": non-resource URL rules must begin with a '/' character",
                         STR_ARG(url));
    if (star >= 0 && (size_t)star + 1 != url.len)
        return error_set(err, E_INVALID,
                         "nonResourceURLs: \"" STR_FMT
                         "\": non-resource URL wildcards '*' must be the final character of the "
                         "rule",
                         STR_ARG(url));
    return 0;
}

static int read_rule(struct arena *a, const struct json *j, struct rule *r, struct error *err)
{
    const struct {
        const char *key;
        struct strings *list;
    } lists[] = {{"users", &r->users},
                 {"userGroups", &r->groups},
                 {"verbs", &r->verbs},
                 {"namespaces", &r->namespaces},
                 {"nonResourceURLs", &r->urls}};
    r->decision.omit_managed_fields =
        json_get_bool(j, "omitManagedFields", r->decision.omit_managed_fields);
    int code = read_level(j, &r->decision.level, err);
    if (code == 0)
        code = read_stages(a, j, &r->decision.omit_stages, err);
    for (size_t i = 0; i < ARRAY_SIZE(lists) && code == 0; i++)
        code = read_strings(a, j, lists[i].key, lists[i].list, err);
    if (code == 0)
        code = read_resources(a, j, r, err);
    for (size_t i = 0; i < r->urls.count && code == 0; i++)
        code = check_url(r->urls.items[i], err);
    if (code == 0 && r->urls.count != 0 && (r->resource_count != 0 || r->namespaces.count != 0))
        code = error_set(err, E_INVALID,
                         "nonResourceURLs: rules cannot apply to both regular resources and "
                         "non-resource URLs");
    return code;
}

static int read_policy(struct audit_policy *p, struct str text, struct error *err)
{
    struct json *j;
    struct rule common = {0};
    size_t consumed;
    int code = api_yaml_parse(p->arena, arena_str(p->arena, text), &consumed, &j, err);
    if (code != 0)
        return code;
    if (!str_eqc(json_get_str(j, "kind"), "Policy") ||
        !str_eqc(json_get_str(j, "apiVersion"), "audit.k8s.io/v1"))
        return error_set(err, E_INVALID, "want kind Policy of audit.k8s.io/v1");
    const struct json *rules = json_getc(j, "rules");
    if (rules == NULL || rules->type != JSON_ARRAY || rules->array.count == 0)
        return error_set(err, E_INVALID, "rules: want at least one");
    common.decision.omit_managed_fields = json_get_bool(j, "omitManagedFields", false);
    code = read_stages(p->arena, j, &common.decision.omit_stages, err);
    p->rules = ARENA_ARRAY(p->arena, struct rule, rules->array.count);
    for (; p->count < rules->array.count && code == 0; p->count++) {
        p->rules[p->count] = common;
        code = read_rule(p->arena, rules->array.items[p->count], &p->rules[p->count], err);
        if (code != 0)
            return error_prefix(err, "rules[%zu]", p->count);
    }
    return code;
}

int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err)
{
    struct audit_policy *p = xzalloc(sizeof(*p));
    p->arena = arena_new(0);
    int code = read_policy(p, text, err);
    if (code != 0) {
        audit_policy_free(p);
        return code;
    }
    *ret = p;
    return 0;
}

void audit_policy_free(struct audit_policy *p)
{
    if (p == NULL)
        return;
    arena_free(p->arena);
    free(p);
}

/* --- deciding ------------------------------------------------------------------------------------
 */
static bool holds(const struct strings *l, struct str s)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i], s))
            return true;
    return false;
}

static bool in_group(const struct strings *l, const struct user *u)
{
    for (size_t i = 0; i < u->group_count; i++)
        if (holds(l, u->groups[i]))
            return true;
    return false;
}

static bool url_matches(struct str spec, struct str path)
{
    size_t n = spec.len;
    while (n > 0 && spec.data[n - 1] == '*')
        n--;
    return str_eq(spec, path) || (n < spec.len && str_has_prefix(path, str_n(spec.data, n)));
}

/* "pods", "pods/log", "*", "*" with a subresource, "pods" with any. */
static bool resource_matches(struct str spec, const struct authz_attributes *at)
{
    struct str head, sub;
    if (str_eqc(spec, "*"))
        return true;
    if (!str_cut(spec, '/', &head, &sub))
        return at->subresource.len == 0 && str_eq(spec, at->resource);
    if (str_eqc(sub, "*") && str_eq(head, at->resource))
        return true;
    return at->subresource.len != 0 && str_eq(sub, at->subresource) &&
           (str_eqc(head, "*") || str_eq(head, at->resource));
}

static bool resources_match(const struct resources *r, const struct authz_attributes *at)
{
    if (!str_eqc(r->group, "*") && !str_eq(r->group, at->group))
        return false;
    if (r->resources.count == 0)
        return true;
    if (r->names.count != 0 && !holds(&r->names, at->name))
        return false;
    for (size_t i = 0; i < r->resources.count; i++)
        if (resource_matches(r->resources.items[i], at))
            return true;
    return false;
}

static bool rule_matches(const struct rule *r, const struct authz_attributes *at)
{
    if (r->users.count != 0 && !holds(&r->users, at->user->name))
        return false;
    if (r->groups.count != 0 && !in_group(&r->groups, at->user))
        return false;
    if (r->verbs.count != 0 && !holds(&r->verbs, str_of(at->verb)))
        return false;
    if (r->namespaces.count != 0 || r->resource_count != 0) {
        bool match = r->resource_count == 0;
        if (!at->resource_request || (r->namespaces.count != 0 && !holds(&r->namespaces, at->ns)))
            return false;
        for (size_t i = 0; i < r->resource_count && !match; i++)
            match = resources_match(&r->resources[i], at);
        return match;
    }
    if (r->urls.count == 0)
        return true;
    for (size_t i = 0; !at->resource_request && i < r->urls.count; i++)
        if (url_matches(r->urls.items[i], at->path))
            return true;
    return false;
}

struct audit_decision audit_policy_decide(const struct audit_policy *p,
                                          const struct authz_attributes *at)
{
    for (size_t i = 0; i < p->count; i++)
        if (rule_matches(&p->rules[i], at))
            return p->rules[i].decision;
    return (struct audit_decision){.level = AUDIT_NONE};
}
