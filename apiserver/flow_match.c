/* flow_match.c - see flow_match.h. Pure; runs for every request, so the cheap
 * tests come first. */
#include "apiserver/flow_match.h"

#include "api/flowcontrol_v1.h"
#include "apiserver/request_info.h"
#include "apiserver/user.h"

static bool is_any(struct str s)
{
    return s.len == 1 && s.data[0] == '*';
}

/* '*' stands alone in such lists: validation sees to it. */
static bool listed(struct str s, const struct str *list, size_t count)
{
    if (count == 1 && is_any(list[0]))
        return true;
    for (size_t i = 0; i < count; i++)
        if (str_eq(s, list[i]))
            return true;
    return false;
}

/* --- subjects -------------------------------------------------------------------------------- */
static bool is_account(const struct flowcontrol_v1_service_account_subject *a, struct str user)
{
    struct str rest = user, prefix = STR("system:serviceaccount:");
    if (!str_has_prefix(rest, prefix))
        return false;
    rest = str_sub(rest, prefix.len, rest.len);
    if (!str_has_prefix(rest, a->namespace) || rest.len <= a->namespace.len ||
        rest.data[a->namespace.len] != ':')
        return false;
    return is_any(a->name) || str_eq(str_sub(rest, a->namespace.len + 1, rest.len), a->name);
}

static bool is_subject(const struct flowcontrol_v1_subject *s, const struct user *user)
{
    if (s->group != NULL) {
        if (is_any(s->group->name))
            return true;
        for (size_t i = 0; i < user->group_count; i++)
            if (str_eq(user->groups[i], s->group->name))
                return true;
        return false;
    }
    if (s->user != NULL)
        return is_any(s->user->name) || str_eq(s->user->name, user->name);
    return s->service_account != NULL && is_account(s->service_account, user->name);
}

static bool is_one_of(const struct flowcontrol_v1_policy_rules_with_subjects *rule,
                      const struct user *user)
{
    for (size_t i = 0; i < rule->subjects_count; i++)
        if (is_subject(&rule->subjects[i], user))
            return true;
    return false;
}

/* --- rules -------------------------------------------------------------------------------------
 */
/* "pods", or "pods/status" with a subresource. */
static bool is_resource(struct str item, const struct request_info *r)
{
    if (r->subresource.len == 0)
        return str_eq(item, r->resource);
    return item.len == r->resource.len + 1 + r->subresource.len &&
           str_has_prefix(item, r->resource) && item.data[r->resource.len] == '/' &&
           str_eq(str_sub(item, r->resource.len + 1, item.len), r->subresource);
}

static bool lists_resource(const struct flowcontrol_v1_resource_policy_rule *rule,
                           const struct request_info *r)
{
    if (rule->resources_count == 1 && is_any(rule->resources[0]))
        return true;
    for (size_t i = 0; i < rule->resources_count; i++)
        if (is_resource(rule->resources[i], r))
            return true;
    return false;
}

static bool resource_rule(const struct flowcontrol_v1_resource_policy_rule *rule,
                          const struct request_info *r, struct str verb)
{
    if (!lists_resource(rule, r) || !listed(r->group, rule->api_groups, rule->api_groups_count) ||
        !listed(verb, rule->verbs, rule->verbs_count))
        return false;
    if (r->ns.len == 0)
        return rule->cluster_scope;
    return listed(r->ns, rule->namespaces, rule->namespaces_count);
}

/* A path of a rule also covers what is below it, with or without a '*' at its end. */
static bool covers(struct str rule, struct str path)
{
    if (is_any(rule) || str_eq(rule, path))
        return true;
    if (rule.len != 0 && rule.data[rule.len - 1] == '*')
        rule.len--;
    if (rule.len != 0 && rule.data[rule.len - 1] == '/')
        return str_has_prefix(path, rule);
    return path.len > rule.len && str_has_prefix(path, rule) && path.data[rule.len] == '/';
}

static bool path_rule(const struct flowcontrol_v1_non_resource_policy_rule *rule,
                      const struct request_info *r, struct str verb)
{
    if (!listed(verb, rule->verbs, rule->verbs_count))
        return false;
    for (size_t i = 0; i < rule->non_resource_urls_count; i++)
        if (covers(rule->non_resource_urls[i], r->path))
            return true;
    return false;
}

static bool rule_applies(const struct flowcontrol_v1_policy_rules_with_subjects *rule,
                         const struct request_info *r, struct str verb)
{
    if (!r->is_resource) {
        for (size_t i = 0; i < rule->non_resource_rules_count; i++)
            if (path_rule(&rule->non_resource_rules[i], r, verb))
                return true;
        return false;
    }
    for (size_t i = 0; i < rule->resource_rules_count; i++)
        if (resource_rule(&rule->resource_rules[i], r, verb))
            return true;
    return false;
}

bool flow_match(const struct flowcontrol_v1_flow_schema_spec *spec, const struct user *user,
                const struct request_info *info)
{
    struct str verb = str_of(info->verb);
    for (size_t i = 0; i < spec->rules_count; i++)
        if (rule_applies(&spec->rules[i], info, verb) && is_one_of(&spec->rules[i], user))
            return true;
    return false;
}

struct str flow_distinguisher(const struct flowcontrol_v1_flow_schema_spec *spec,
                              const struct user *user, const struct request_info *info)
{
    if (spec->distinguisher_method == NULL)
        return STR_NULL;
    return str_eqc(spec->distinguisher_method->type, "ByUser") ? user->name : info->ns;
}
