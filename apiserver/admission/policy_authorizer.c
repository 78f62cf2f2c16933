/* policy_authorizer.c - what the writer may do, asked by expressions. */
#include "apiserver/admission/policy_authorizer.h"

#include "apiserver/admission.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/cel/cel_admission.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* What all of them point to: a question so far. */
struct question {
    const struct admission *adm;
    struct authz_attributes at;
    bool allowed;
    struct str reason, error;
};

static struct cel_value make(struct arena *a, const struct cel_type *t, const struct question *q)
{
    return cel_of_host(t, arena_memdup(a, q, sizeof(*q)));
}

struct cel_value policy_authorizer(const struct admission *adm)
{
    struct question q = {.adm = adm, .at = {.user = adm->ctx->user, .asks = adm->ctx->asks}};
    return make(adm->ctx->arena, &cel_admission_authorizer, &q);
}

struct cel_value policy_request_resource(const struct admission *adm, const struct resource *as)
{
    struct question q = {.adm = adm,
                         .at = {.user = adm->ctx->user,
                                .asks = adm->ctx->asks,
                                .resource_request = true,
                                .group = str_of(as->kind->group),
                                .version = str_of(as->kind->version),
                                .resource = str_of(as->kind->resource),
                                .subresource = str_of(adm->subresource),
                                .name = policy_object_name(adm),
                                .ns = adm->ctx->namespace_}};
    return make(adm->ctx->arena, &cel_admission_resource_check, &q);
}

/* --- narrowing -------------------------------------------------------------------------- */
#define NARROW(function, result, statement)                                                        \
    static struct cel_value function(struct cel_call *c, const struct cel_value *args)             \
    {                                                                                              \
        struct question q = *(const struct question *)args[0].opaque;                              \
        statement;                                                                                 \
        return make(cel_call_arena(c), result, &q);                                                \
    }

NARROW(path_of, &cel_admission_path_check, q.at.path = args[1].string)
NARROW(group_of, &cel_admission_group_check,
       (q.at.resource_request = true, q.at.version = STR("*"), q.at.group = args[1].string))
NARROW(resource_of, &cel_admission_resource_check, q.at.resource = args[1].string)
NARROW(subresource_of, &cel_admission_resource_check, q.at.subresource = args[1].string)
NARROW(namespace_of, &cel_admission_resource_check, q.at.ns = args[1].string)
NARROW(name_of, &cel_admission_resource_check, q.at.name = args[1].string)
NARROW(field_selector_of, &cel_admission_resource_check, q.at.field_selector = args[1].string)
NARROW(label_selector_of, &cel_admission_resource_check, q.at.label_selector = args[1].string)

static struct cel_value service_account_of(struct cel_call *c, const struct cel_value *args)
{
    struct arena *a = cel_call_arena(c);
    struct question q = *(const struct question *)args[0].opaque;
    struct user *u = ARENA_NEW(a, struct user);
    struct str *groups = ARENA_ARRAY(a, struct str, 3);
    u->name = arena_printf(a, "system:serviceaccount:" STR_FMT ":" STR_FMT, STR_ARG(args[1].string),
                           STR_ARG(args[2].string));
    groups[0] = STR("system:serviceaccounts");
    groups[1] = arena_printf(a, "system:serviceaccounts:" STR_FMT, STR_ARG(args[1].string));
    groups[2] = STR(GROUP_AUTHENTICATED);
    u->groups = groups;
    u->group_count = 3;
    q.at.user = u;
    return make(a, &cel_admission_authorizer, &q);
}

/* --- deciding ------------------------------------------------------------------------------ */
static struct cel_value decide(struct cel_call *c, struct question *q, const char *verb)
{
    const struct kind_ctx *ctx = q->adm->ctx;
    q->at.verb = verb;
    q->at.error = &q->error;
    /* Administrators' requests never reach the authorizers. */
    q->allowed = user_in_group(q->at.user, GROUP_MASTERS) ||
                 (ctx->server != NULL && authz_decide(ctx->server->authz, cel_call_arena(c), &q->at,
                                                      true, &q->reason) == AUTHZ_ALLOW);
    return make(cel_call_arena(c), &cel_admission_decision, q);
}

static struct cel_value check(struct cel_call *c, const struct cel_value *args)
{
    struct question q = *(const struct question *)args[0].opaque;
    return decide(c, &q, arena_str(cel_call_arena(c), args[1].string).data);
}

static struct cel_value allowed(struct cel_call *c, const struct cel_value *args)
{
    UNUSED(c);
    return cel_of_bool(((const struct question *)args[0].opaque)->allowed);
}

static struct cel_value reason(struct cel_call *c, const struct cel_value *args)
{
    UNUSED(c);
    return cel_of_str(((const struct question *)args[0].opaque)->reason);
}

static struct cel_value errored(struct cel_call *c, const struct cel_value *args)
{
    UNUSED(c);
    return cel_of_bool(((const struct question *)args[0].opaque)->error.len != 0);
}

static struct cel_value error_of(struct cel_call *c, const struct cel_value *args)
{
    UNUSED(c);
    return cel_of_str(((const struct question *)args[0].opaque)->error);
}

/* --- JSON pointers ---------------------------------------------------------------------------- */
static struct cel_value escape_key(struct cel_call *c, const struct cel_value *args)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < args[0].string.len; i++) {
        char ch = args[0].string.data[i];
        if (ch == '~' || ch == '/')
            buf_puts(&b, ch == '~' ? "~0" : "~1");
        else
            buf_putc(&b, ch);
    }
    return cel_of_str(arena_str(cel_call_arena(c), buf_str(&b)));
}

#define RUN(function) function
const struct cel_function policy_functions[] = CEL_ADMISSION_FUNCTIONS(RUN);
const size_t policy_function_count = ARRAY_SIZE(policy_functions);
