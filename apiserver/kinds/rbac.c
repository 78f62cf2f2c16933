/* rbac.c - see rbac.h. Pure. */
#include "apiserver/kinds/rbac.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "lib/api/codec.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* --- rules ------------------------------------------------------------------------------- */

void validate_rbac_rules(struct field_errors *errs, const struct rbac_v1_policy_rule *rules,
                         size_t count, bool namespaced)
{
    for (size_t i = 0; i < count; i++) {
        const struct rbac_v1_policy_rule *r = &rules[i];
        const struct field_path *at = PATH_INDEX(PATH(PATH_ROOT, "rules"), i),
                                *urls = PATH(at, "nonResourceURLs");
        if (r->verbs_count == 0)
            field_required(errs, PATH(at, "verbs"), "verbs must contain at least one value");
        if (r->non_resource_urls_count != 0) {
            if (namespaced)
                field_invalid_raw(errs, urls,
                                  field_strings_render(errs->arena, r->non_resource_urls,
                                                       r->non_resource_urls_count),
                                  "namespaced rules cannot apply to non-resource URLs");
            if (r->api_groups_count + r->resources_count + r->resource_names_count != 0)
                field_invalid_raw(
                    errs, urls,
                    field_strings_render(errs->arena, r->non_resource_urls,
                                         r->non_resource_urls_count),
                    "rules cannot apply to both regular resources and non-resource URLs");
            continue;
        }
        if (r->api_groups_count == 0)
            field_required(errs, PATH(at, "apiGroups"),
                           "resource rules must supply at least one api group");
        if (r->resources_count == 0)
            field_required(errs, PATH(at, "resources"),
                           "resource rules must supply at least one resource");
    }
}

/* --- bindings ------------------------------------------------------------------------------ */

static bool is_account(const struct rbac_v1_subject *s)
{
    return str_eqc(s->kind, "ServiceAccount");
}

static bool is_person(const struct rbac_v1_subject *s)
{
    return str_eqc(s->kind, "User") || str_eqc(s->kind, "Group");
}

void default_rbac_binding(struct rbac_v1_role_ref *ref, struct rbac_v1_subject *subjects,
                          size_t count)
{
    default_str(&ref->api_group, STR(RBAC_GROUP));
    for (size_t i = 0; i < count; i++)
        if (str_empty(subjects[i].api_group) && is_person(&subjects[i]))
            subjects[i].api_group = STR(RBAC_GROUP);
}

static void validate_subject(struct field_errors *errs, const struct field_path *at,
                             const struct rbac_v1_subject *s, bool namespaced)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const none[] = {"", NULL};
    static const char *const group[] = {RBAC_GROUP, NULL};
    if (str_empty(s->name))
        field_required(errs, PATH(at, "name"), NULL);
    if (is_account(s)) {
        if (!str_empty(s->name))
            validate_form(errs, PATH(at, "name"), s->name, api_check_dns_subdomain);
        if (!str_empty(s->api_group))
            field_not_supported(errs, PATH(at, "apiGroup"), s->api_group, none);
        if (!namespaced && str_empty(s->namespace))
            field_required(errs, PATH(at, "namespace"), NULL);
    } else if (is_person(s)) {
        validate_listed(errs, PATH(at, "apiGroup"), s->api_group, group);
    } else {
        field_not_supported(errs, PATH(at, "kind"), s->kind, kinds);
    }
}

void validate_rbac_binding(struct field_errors *errs, const struct rbac_v1_role_ref *ref,
                           const struct rbac_v1_subject *subjects, size_t count, bool namespaced)
{
    static const char *const group[] = {RBAC_GROUP, NULL};
    static const char *const kinds[] = {"Role", "ClusterRole", NULL};
    const struct field_path *path = PATH(PATH_ROOT, "roleRef");
    validate_listed(errs, PATH(path, "apiGroup"), ref->api_group, group);
    validate_listed(errs, PATH(path, "kind"), ref->kind, namespaced ? kinds : kinds + 1);
    if (str_empty(ref->name))
        field_required(errs, PATH(path, "name"), NULL);
    else
        name_path_segment(errs, PATH(path, "name"), ref->name, false);
    for (size_t i = 0; i < count; i++)
        validate_subject(errs, PATH_INDEX(PATH(PATH_ROOT, "subjects"), i), &subjects[i],
                         namespaced);
}

void validate_rbac_binding_change(struct field_errors *errs, const struct rbac_v1_role_ref *ref,
                                  const struct rbac_v1_role_ref *old)
{
    if (!api_msg_equal(&rbac_v1_role_ref_msg, ref, old))
        field_invalid_msg(errs, PATH(PATH_ROOT, "roleRef"), &rbac_v1_role_ref_msg, ref,
                          "cannot change roleRef");
}

/* --- tables ---------------------------------------------------------------------------------- */

const struct table_column rbac_role_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Created At", "date", "", "", 0},
    {0},
};

void rbac_role_row(struct table_row *r, const struct meta_v1_object_meta *m)
{
    char text[TIME_TEXT_MAX];
    time_format(&m->creation_timestamp, text);
    cell_str(r, m->name);
    cell_printf(r, "%s", text);
}

const struct table_column rbac_binding_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Role", "string", "", "What is granted.", 0},
    {"Age", "string", "", "", 0},
    {"Users", "string", "", "", 1},
    {"Groups", "string", "", "", 1},
    {"ServiceAccounts", "string", "", "", 1},
    {0},
};

static void cell_subjects(struct table_row *r, const char *kind, const struct rbac_v1_subject *s,
                          size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        if (!str_eqc(s[i].kind, kind))
            continue;
        if (b.len != 0)
            buf_puts(&b, ", ");
        if (is_account(&s[i]))
            buf_printf(&b, STR_FMT "/", STR_ARG(s[i].namespace));
        buf_append_str(&b, s[i].name);
    }
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

void rbac_binding_row(struct table_row *r, const struct meta_v1_object_meta *m,
                      const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects,
                      size_t count)
{
    cell_str(r, m->name);
    cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(ref->kind), STR_ARG(ref->name));
    cell_age(r, &m->creation_timestamp);
    cell_subjects(r, "User", subjects, count);
    cell_subjects(r, "Group", subjects, count);
    cell_subjects(r, "ServiceAccount", subjects, count);
}
