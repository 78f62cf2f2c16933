/* reviews.c - questions about users and what they may do. Nothing is stored. */
#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "api/core_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/body.h"
#include "apiserver/field_manager.h"
#include "apiserver/request.h"
#include "apiserver/subresource.h"
#include "apiserver/token_use.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "raftstore/store.h"

static void fill_user(struct arena *a, const struct user *u,
                      struct authentication_v1_user_info *ret)
{
    ret->username = u->name;
    ret->uid = u->uid;
    ret->groups = arena_memdup(a, u->groups, u->group_count * sizeof(*u->groups));
    ret->groups_count = u->group_count;
    ret->extra = ARENA_ARRAY(a, struct authentication_v1_extra_value_entry, u->extra_count + 1);
    ret->extra_count = u->extra_count;
    for (size_t i = 0; i < u->extra_count; i++) {
        ret->extra[i].key = u->extra[i].key;
        ret->extra[i].value.items =
            arena_memdup(a, u->extra[i].values, u->extra[i].count * sizeof(struct str));
        ret->extra[i].value.items_count = u->extra[i].count;
    }
}

static bool decode(struct req *r, void **ret)
{
    struct meta_v1_status *s = body_check_options(r, "CreateOptions");
    if (s == NULL)
        s = body_decode(r, r->res->kind, ret);
    if (s != NULL)
        req_status(r, s);
    else
        field_manager_create(r, r->res->kind, *ret);
    return s == NULL;
}

static void answer_token_review(void *r)
{
    token_review_handle(r);
}

void token_review_handle(struct req *r)
{
    void *msg;
    struct error err = {0};
    struct user *u;
    const struct str *audiences;
    size_t count = 0;
    if (!decode(r, &msg))
        return;
    struct authentication_v1_token_review *t = msg;
    if (t->spec.token.len == 0) {
        req_status(
            r, status_bad_request(r->arena, "token is required for TokenReview in authentication"));
        return;
    }
    t->status = (struct authentication_v1_token_review_status){0};
    int code =
        authn_token(r->server->authn, r->arena, req_view(r), r->asks, t->spec.token,
                    t->spec.audiences, t->spec.audiences_count, &u, &audiences, &count, &err);
    if (code == E_AGAIN) {
        req_ask(r, answer_token_review, r);
        return;
    }
    if (code == 0) {
        if (u->secret_name.len != 0)
            token_uses_note(r->thread->token_uses, u->secret_ns, u->secret_name);
        t->status.authenticated = true;
        fill_user(r->arena, u, &t->status.user);
        t->status.audiences = arena_memdup(r->arena, audiences, count * sizeof(*audiences));
        t->status.audiences_count = count;
    } else {
        bool audience = str_has_prefix(str_of(err.message), STR("token audiences"));
        t->status.error = arena_printf(r->arena, "[invalid bearer token, %s]",
                                       audience ? err.message : "token lookup failed");
    }
    req_object(r, 201, r->res->kind, t);
}

void self_subject_review_handle(struct req *r)
{
    void *msg;
    if (!decode(r, &msg))
        return;
    struct authentication_v1_self_subject_review *v = msg;
    fill_user(r->arena, r->user, &v->status.user_info);
    v->metadata.creation_timestamp.seconds = r->now_ns / 1000000000;
    req_object(r, 201, r->res->kind, v);
}

/* --- selectors: of fields and of labels, with the same members ---------------------------- */
struct requirement {
    struct str key, operator;
    const struct str *values;
    size_t count;
};

struct selector {
    const char *name;
    bool given, labels;
    struct str raw;
    struct requirement *items;
    size_t count;
};

#define TAKE_SELECTOR(a, s, from)                                                                  \
    do {                                                                                           \
        (s).given = true;                                                                          \
        (s).raw = (from)->raw_selector;                                                            \
        (s).count = (from)->requirements_count;                                                    \
        (s).items = ARENA_ARRAY(a, struct requirement, (s).count + 1);                             \
        for (size_t i_ = 0; i_ < (s).count; i_++)                                                  \
            (s).items[i_] = (struct requirement){                                                  \
                (from)->requirements[i_].key,                                                      \
                (from)->requirements[i_].operator,(from)->requirements[i_].values,                 \
                (from)->requirements[i_].values_count};                                            \
    } while (0)

static void selectors_of(struct arena *a, const struct authorization_v1_resource_attributes *r,
                         struct selector ret[2])
{
    ret[0] = (struct selector){.name = "fieldSelector"};
    ret[1] = (struct selector){.name = "labelSelector", .labels = true};
    if (r->field_selector != NULL)
        TAKE_SELECTOR(a, ret[0], r->field_selector);
    if (r->label_selector != NULL)
        TAKE_SELECTOR(a, ret[1], r->label_selector);
}

/* One requirement as text; false: it cannot be said. */
static bool put_requirement(const struct requirement *q, bool labels, struct buf *b)
{
    bool in = str_eqc(q->operator, "In"), not_in = str_eqc(q->operator, "NotIn");
    size_t before = b->len;
    if (b->len != 0)
        buf_putc(b, ',');
    if ((in || not_in) && !labels && q->count == 1) {
        buf_printf(b, STR_FMT "%s", STR_ARG(q->key), in ? "=" : "!=");
        for (size_t i = 0; i < q->values[0].len; i++) {
            char c = q->values[0].data[i];
            buf_printf(b, c == ',' || c == '=' || c == '\\' ? "\\%c" : "%c", c);
        }
        return true;
    }
    if ((in || not_in) && labels && q->count != 0) {
        buf_printf(b, STR_FMT " %s (", STR_ARG(q->key), in ? "in" : "notin");
        for (size_t i = 0; i < q->count; i++)
            buf_printf(b, "%s" STR_FMT, i != 0 ? "," : "", STR_ARG(q->values[i]));
        buf_putc(b, ')');
        return true;
    }
    if (labels && (str_eqc(q->operator, "Exists") || str_eqc(q->operator, "DoesNotExist"))) {
        buf_printf(b, "%s" STR_FMT, str_eqc(q->operator, "Exists") ? "" : "!", STR_ARG(q->key));
        return true;
    }
    buf_truncate(b, before);
    return false;
}

/* The text form of what can be said in it; requirements it cannot express are
 * left out: an authorizer then sees a wider request, never a narrower one. */
static struct str selector_text(struct arena *a, const struct selector *s)
{
    AUTO_BUF b = BUF_INIT;
    if (s->raw.len != 0)
        return s->raw;
    for (size_t i = 0; i < s->count; i++)
        put_requirement(&s->items[i], s->labels, &b);
    return arena_str(a, buf_str(&b));
}

static void validate_requirement(struct field_errors *errs, const struct field_path *at,
                                 const struct requirement *q, bool labels)
{
    bool in = str_eqc(q->operator, "In") || str_eqc(q->operator, "NotIn");
    bool exists = str_eqc(q->operator, "Exists") || str_eqc(q->operator, "DoesNotExist");
    if (in && q->count == 0)
        field_required(errs, PATH(at, "values"),
                       "must be specified when `operator` is 'In' or 'NotIn'");
    if (exists && q->count != 0)
        field_forbidden(errs, PATH(at, "values"),
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if (!labels && q->key.len == 0)
        field_required(errs, PATH(at, "key"), "must be specified");
    struct api_faults faults = labels ? api_check_qualified_name(q->key) : (struct api_faults){0};
    for (size_t i = 0; i < faults.count; i++)
        field_invalid(errs, PATH(at, "key"), q->key, "%s", faults.items[i]);
}

static void validate_selectors(struct field_errors *errs, const struct field_path *spec,
                               const struct authorization_v1_resource_attributes *r)
{
    struct selector all[2];
    if (r == NULL)
        return;
    selectors_of(errs->arena, r, all);
    for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
        const struct selector *s = &all[k];
        const struct field_path *resource = PATH(spec, "resourceAttributes"),
                                *at = PATH(resource, s->name);
        if (!s->given)
            continue;
        if (s->raw.len != 0 && s->count != 0)
            field_invalid(errs, PATH(at, "rawSelector"), s->raw,
                          "may not specified at the same time as requirements");
        if (s->raw.len == 0 && s->count == 0)
            field_required(errs, PATH(at, "requirements"),
                           "when spec.resourceAttributes.%s is specified, requirements or "
                           "rawSelector is required",
                           s->name);
        for (size_t i = 0; i < s->count; i++)
            validate_requirement(errs, PATH_INDEX(PATH(at, "requirements"), i), &s->items[i],
                                 s->labels);
    }
}

/* --- access reviews: three kinds that begin alike --------------------------------------------- */
/* False: the answer of a webhook is awaited. */
static bool decide(struct req *r, const struct user *user,
                   const struct authorization_v1_resource_attributes *res,
                   const struct authorization_v1_non_resource_attributes *path,
                   struct authorization_v1_subject_access_review_status *ret)
{
    struct str reason, error = STR_NULL;
    struct authz_attributes at = {.user = user, .asks = r->asks, .error = &error};
    if (res != NULL) {
        struct selector selectors[2];
        selectors_of(r->arena, res, selectors);
        at.resource_request = true;
        at.verb = str_c(arena_str(r->arena, res->verb));
        at.group = res->group;
        at.version = res->version;
        at.resource = res->resource;
        at.subresource = res->subresource;
        at.name = res->name;
        at.ns = res->namespace;
        at.field_selector = selector_text(r->arena, &selectors[0]);
        at.label_selector = selector_text(r->arena, &selectors[1]);
    } else {
        at.verb = str_c(arena_str(r->arena, path->verb));
        at.path = path->path;
    }
    enum authz_decision d = authz_decide(r->server->authz, r->arena, &at, true, &reason);
    *ret = (struct authorization_v1_subject_access_review_status){.allowed = d == AUTHZ_ALLOW,
                                                                  .denied = d == AUTHZ_DENY,
                                                                  .reason = reason,
                                                                  .evaluation_error = error};
    return d != AUTHZ_WAIT;
}

static void answer_review(void *r)
{
    access_review_handle(r);
}

static void validate_attributes(struct field_errors *errs, const struct field_path *spec,
                                bool has_resource,
                                const struct authorization_v1_non_resource_attributes *path)
{
    if (has_resource && path != NULL)
        field_invalid_raw(errs, PATH(spec, "nonResourceAttributes"),
                          arena_printf(errs->arena,
                                       "{\"Path\":\"" STR_FMT "\",\"Verb\":\"" STR_FMT "\"}",
                                       STR_ARG(path->path), STR_ARG(path->verb)),
                          "cannot be specified in combination with resourceAttributes");
    if (!has_resource && path == NULL)
        field_invalid_raw(
            errs, PATH(spec, "resourceAttributes"), STR("null"),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

static void self_access(struct req *r, struct authorization_v1_self_subject_access_review *v)
{
    struct field_errors errs = {.arena = r->arena};
    validate_attributes(&errs, PATH(PATH_ROOT, "spec"), v->spec.resource_attributes != NULL,
                        v->spec.non_resource_attributes);
    validate_selectors(&errs, PATH(PATH_ROOT, "spec"), v->spec.resource_attributes);
    if (errs.count != 0) {
        req_status(r, status_invalid(r->arena, r->res->kind->group, "", STR(""), &errs));
        return;
    }
    if (decide(r, r->user, v->spec.resource_attributes, v->spec.non_resource_attributes,
               &v->status))
        req_object(r, 201, r->res->kind, v);
    else
        req_ask(r, answer_review, r);
}

static struct user *user_of_spec(struct arena *a,
                                 const struct authorization_v1_subject_access_review_spec *s)
{
    struct user *u = ARENA_NEW(a, struct user);
    u->name = s->user;
    u->uid = s->uid;
    u->groups = s->groups;
    u->group_count = s->groups_count;
    struct user_extra *extra = ARENA_ARRAY(a, struct user_extra, s->extra_count + 1);
    for (size_t i = 0; i < s->extra_count; i++)
        extra[i] = (struct user_extra){s->extra[i].key, s->extra[i].value.items,
                                       s->extra[i].value.items_count};
    u->extra = extra;
    u->extra_count = s->extra_count;
    return u;
}

void access_review_handle(struct req *r)
{
    void *msg;
    if (!decode(r, &msg))
        return;
    if (strcmp(r->res->kind->resource, "selfsubjectaccessreviews") == 0) {
        self_access(r, msg);
        return;
    }
    /* LocalSubjectAccessReview has the same shape. */
    struct authorization_v1_subject_access_review *v = msg;
    bool local = strcmp(r->res->kind->resource, "localsubjectaccessreviews") == 0;
    struct field_errors errs = {.arena = r->arena};
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_attributes(&errs, spec, v->spec.resource_attributes != NULL,
                        v->spec.non_resource_attributes);
    validate_selectors(&errs, spec, v->spec.resource_attributes);
    if (v->spec.user.len == 0 && v->spec.groups_count == 0)
        field_invalid(&errs, PATH(spec, "user"), v->spec.user,
                      "at least one of user or group must be specified");
    if (local && v->spec.resource_attributes != NULL &&
        !str_eq(v->spec.resource_attributes->namespace, r->info.ns))
        field_invalid(&errs, PATH(spec, "resourceAttributes.namespace"),
                      v->spec.resource_attributes->namespace, "must match metadata.namespace");
    if (errs.count != 0) {
        req_status(r, status_invalid(r->arena, r->res->kind->group, "", STR(""), &errs));
        return;
    }
    if (decide(r, user_of_spec(r->arena, &v->spec), v->spec.resource_attributes,
               v->spec.non_resource_attributes, &v->status))
        req_object(r, 201, r->res->kind, v);
    else
        req_ask(r, answer_review, r);
}

/* --- rules ---------------------------------------------------------------------------------------
 */
static void add_rule(struct authorization_v1_subject_rules_review_status *st,
                     const struct rbac_v1_policy_rule *r)
{
    if (r->resources_count != 0)
        st->resource_rules[st->resource_rules_count++] = (struct authorization_v1_resource_rule){
            .verbs = r->verbs,
            .verbs_count = r->verbs_count,
            .api_groups = r->api_groups,
            .api_groups_count = r->api_groups_count,
            .resources = r->resources,
            .resources_count = r->resources_count,
            .resource_names = r->resource_names,
            .resource_names_count = r->resource_names_count};
    if (r->non_resource_urls_count != 0)
        st->non_resource_rules[st->non_resource_rules_count++] =
            (struct authorization_v1_non_resource_rule){.verbs = r->verbs,
                                                        .verbs_count = r->verbs_count,
                                                        .non_resource_urls = r->non_resource_urls,
                                                        .non_resource_urls_count =
                                                            r->non_resource_urls_count};
}

void rules_review_handle(struct req *r)
{
    void *msg;
    if (!decode(r, &msg))
        return;
    struct arena *a = r->arena;
    struct authorization_v1_self_subject_rules_review *v = msg;
    if (v->spec.namespace.len == 0) {
        req_status(r, status_bad_request(a, "no namespace on request"));
        return;
    }
    struct rbac_v1_policy_rule *rules;
    struct authorization_v1_subject_rules_review_status *st = &v->status;
    struct str error;
    size_t n = authz_rules_of(r->server->authz, a, r->user, v->spec.namespace, &rules, &error);
    *st = (struct authorization_v1_subject_rules_review_status){
        .resource_rules = ARENA_ARRAY(a, struct authorization_v1_resource_rule, n + 1),
        .non_resource_rules = ARENA_ARRAY(a, struct authorization_v1_non_resource_rule, n + 1),
        .incomplete = error.len != 0,
        .evaluation_error = error};
    for (size_t i = 0; i < n; i++)
        add_rule(st, &rules[i]);
    /* The answer is a new object upstream: it holds the status alone. */
    struct authorization_v1_self_subject_rules_review answer = {.status = *st};
    req_object(r, 201, r->res->kind, &answer);
}

/* --- componentstatuses: deprecated, but kubectl get cs still asks
 * -------------------------------------- */
static void one_status(struct req *r, struct core_v1_component_status *ret)
{
    struct store_status st;
    store_status(r->server->store, &st);
    ret->metadata.name = STR("etcd-0");
    ret->conditions = ARENA_NEW(r->arena, struct core_v1_component_condition);
    ret->conditions_count = 1;
    ret->conditions->type = STR("Healthy");
    ret->conditions->status = st.has_leader ? STR("True") : STR("False");
    ret->conditions->message = st.has_leader ? STR("ok") : STR("no leader");
}

void component_statuses_handle(struct req *r)
{
    if (strcmp(r->info.verb, "get") == 0) {
        struct core_v1_component_status *s = ARENA_NEW(r->arena, struct core_v1_component_status);
        one_status(r, s);
        if (!str_eq(s->metadata.name, r->info.name))
            req_status(r, status_not_found(r->arena, r->res->gr, r->info.name));
        else
            req_object(r, 200, r->res->kind, s);
        return;
    }
    struct core_v1_component_status_list *l =
        ARENA_NEW(r->arena, struct core_v1_component_status_list);
    l->items = ARENA_NEW(r->arena, struct core_v1_component_status);
    l->items_count = 1;
    one_status(r, l->items);
    const struct api_kind *list = api_kind_by_gvk(STR(""), STR("v1"), STR("ComponentStatusList"));
    struct api_kind made = *r->res->kind;
    if (list == NULL) {
        made.kind = made.list_kind;
        made.msg = made.list_msg;
        made.meta_offset = UINT32_MAX;
        list = &made;
    }
    r->accept.transform = AS_OBJECT;
    req_object(r, 200, list, l);
}
