/* policystatus.c - type checks the expressions of ValidatingAdmissionPolicies
 * against the schemas of what they match, and tells in their status.
 *
 *   policy -> resources of its group versions -> their OpenAPI documents ->
 *   warnings -> status, applied */
#include "controllers/controller.h"
#include "controllers/policy_check.h"

#include "api/admissionregistration_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#define GROUP "admissionregistration.k8s.io"
#define NAME "validatingadmissionpolicy-status-controller"

/* What a reconciliation has learned so far. */
struct found {
    const struct api_kind *kind;
    const struct admissionregistration_v1_validating_admission_policy *policy; /* A copy. */
    struct policy_check check;
};

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

/* What a server does not serve, now or ever, is not checked; without an answer all is tried again.
 */
static const struct json *answer(struct reconcile *c, const struct client_result *result)
{
    struct json *j;
    struct error err = {0};
    if (result->code == 0 && json_parse(c->arena, result->body, &j, &err) == 0)
        return j;
    if (result->code != 0 && result->http_status == 0)
        reconcile_fail(c);
    return NULL;
}

static void on_resources(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct policy_version *v = arg;
    v->resources = answer(c, result);
}

static void on_document(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct policy_version *v = arg;
    const struct json *document = answer(c, result);
    if (document != NULL)
        v->definitions = json_getc(json_getc(document, "components"), "schemas");
}

static void apply(struct reconcile *c, struct found *f)
{
    struct arena *a = c->arena;
    struct admissionregistration_v1_expression_warning *warnings;
    size_t count = policy_check_warnings(&f->check, &warnings);
    struct json *root = json_object(a), *meta = json_object(a), *status = json_object(a),
                *checking = json_object(a), *list = json_array(a);
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        struct json *w = json_object(a);
        json_setc(a, w, "fieldRef", json_string(a, warnings[i].field_ref));
        json_setc(a, w, "warning", json_string(a, warnings[i].warning));
        json_append(a, list, w);
    }
    if (count != 0)
        json_setc(a, checking, "expressionWarnings", list);
    json_setc(a, status, "observedGeneration", json_int(a, f->policy->metadata.generation));
    json_setc(a, status, "typeChecking", checking);
    json_setc(a, meta, "name", json_string(a, c->name));
    json_setc(a, root, "apiVersion", json_string(a, STR(GROUP "/v1")));
    json_setc(a, root, "kind", json_string(a, STR("ValidatingAdmissionPolicy")));
    json_setc(a, root, "metadata", meta);
    json_setc(a, root, "status", status);
    json_write(root, false, &text);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = f->kind,
                                         .name = c->name,
                                         .subresource = "status",
                                         .patch_type = CLIENT_PATCH_APPLY,
                                         .raw_body = buf_str(&text),
                                         .field_manager = NAME,
                                         .force = true},
                   NULL, NULL);
}

static void have_documents(struct reconcile *c)
{
    if (!c->failed)
        apply(c, c->state);
}

static void have_resources(struct reconcile *c)
{
    struct policy_check *check = &((struct found *)c->state)->check;
    if (c->failed)
        return;
    policy_check_find_kinds(check);
    for (size_t i = 0; i < check->version_count; i++)
        if (check->versions[i].used)
            reconcile_get(c,
                          arena_printf(c->arena, "/openapi/v3" STR_FMT,
                                       STR_ARG(policy_version_path(c->arena, &check->versions[i]))),
                          on_document, &check->versions[i]);
    reconcile_then(c, have_documents);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, GROUP, "ValidatingAdmissionPolicy"), c->key);
    const struct admissionregistration_v1_validating_admission_policy *p =
        o != NULL ? o->msg : NULL;
    if (p == NULL || p->metadata.generation <= p->status.observed_generation)
        return;
    struct found *f = c->state = ARENA_NEW(c->arena, struct found);
    struct policy_check *check = &f->check;
    f->kind = o->kind;
    f->policy = reconcile_copy(c, o);
    check->arena = c->arena;
    check->spec = &f->policy->spec;
    policy_check_begin(check);
    for (size_t i = 0; i < check->version_count; i++)
        reconcile_get(c, policy_version_path(c->arena, &check->versions[i]), on_resources,
                      &check->versions[i]);
    reconcile_then(c, have_resources);
}

static const struct controller_watch watches[] = {
    {GROUP, "v1", "ValidatingAdmissionPolicy", touch},
    {0},
};

const struct controller controller_policystatus = {
    .name = NAME,
    .watches = watches,
    .reconcile = reconcile,
};
