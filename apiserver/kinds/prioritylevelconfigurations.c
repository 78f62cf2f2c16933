/* prioritylevelconfigurations.c - PriorityLevelConfiguration: how many requests
 * of a level run at once, and what becomes of the rest. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "apiserver/flow_objects.h"
#include "lib/api/codec.h"

#include <math.h>

#define SHARES_DEFAULT 30
#define HASH_BITS 60
#define ROUNDTRIP "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
#define QUEUES_MAX (10 * 1000 * 1000)

static void default_number(int32_t *v, int32_t to)
{
    if (*v == 0)
        *v = to;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct flowcontrol_v1_priority_level_configuration_spec *s =
        &((struct flowcontrol_v1_priority_level_configuration *)obj)->spec;
    if (s->limited != NULL) {
        default_opt_int(&s->limited->has_nominal_concurrency_shares,
                        &s->limited->nominal_concurrency_shares, SHARES_DEFAULT);
        s->limited->has_lendable_percent = true;
        struct flowcontrol_v1_queuing_configuration *q = s->limited->limit_response.queuing;
        if (q != NULL) {
            default_number(&q->hand_size, 8);
            default_number(&q->queues, 64);
            default_number(&q->queue_length_limit, 50);
        }
    }
    if (s->exempt != NULL)
        s->exempt->has_nominal_concurrency_shares = s->exempt->has_lendable_percent = true;
}

/* What it takes to deal such a hand at random. */
static int entropy_bits(int32_t deck, int32_t hand)
{
    double bits = 0;
    for (int32_t i = 0; i < hand && bits <= HASH_BITS; i++)
        bits += log2((double)(deck - i));
    return (int)ceil(bits);
}

static void check_queuing(struct field_errors *errs, const struct field_path *path,
                          const struct flowcontrol_v1_queuing_configuration *q)
{
    if (q->queue_length_limit <= 0)
        field_invalid_int(errs, PATH(path, "queueLengthLimit"), q->queue_length_limit,
                          "must be positive");
    if (q->queues <= 0)
        field_invalid_int(errs, PATH(path, "queues"), q->queues, "must be positive");
    else if (q->queues > QUEUES_MAX)
        field_invalid_int(errs, PATH(path, "queues"), q->queues, "must not be greater than %d",
                          QUEUES_MAX);
    if (q->hand_size <= 0)
        field_invalid_int(errs, PATH(path, "handSize"), q->hand_size, "must be positive");
    else if (q->hand_size > q->queues)
        field_invalid_int(errs, PATH(path, "handSize"), q->hand_size,
                          "should not be greater than queues (%d)", q->queues);
    else if (entropy_bits(q->queues, q->hand_size) > HASH_BITS)
        field_invalid_int(errs, PATH(path, "handSize"), q->hand_size,
                          "required entropy bits of deckSize %d and handSize %d should not be "
                          "greater than %d",
                          q->queues, q->hand_size, HASH_BITS);
}

static void check_limited(struct field_errors *errs, const struct field_path *path,
                          const struct flowcontrol_v1_limited_priority_level_configuration *l)
{
    static const char *const types[] = {"Queue", "Reject", NULL};
    const struct field_path *response = PATH(path, "limitResponse"),
                            *queuing = PATH(response, "queuing");
    if (l->has_nominal_concurrency_shares && l->nominal_concurrency_shares < 0)
        field_invalid_int(errs, PATH(path, "nominalConcurrencyShares"),
                          l->nominal_concurrency_shares, "must be a non-negative integer");
    validate_listed(errs, PATH(response, "type"), l->limit_response.type, types);
    if (str_eqc(l->limit_response.type, "Reject") && l->limit_response.queuing != NULL)
        field_forbidden(errs, queuing, "must be nil if limited.limitResponse.type is not Limited");
    if (str_eqc(l->limit_response.type, "Queue")) {
        if (l->limit_response.queuing == NULL)
            field_required(errs, queuing,
                           "must not be empty if limited.limitResponse.type is Limited");
        else
            check_queuing(errs, queuing, l->limit_response.queuing);
    }
    if (l->has_lendable_percent && (l->lendable_percent < 0 || l->lendable_percent > 100))
        field_invalid_int(errs, PATH(path, "lendablePercent"), l->lendable_percent,
                          "must be between 0 and 100, inclusive");
    if (l->has_borrowing_limit_percent && l->borrowing_limit_percent < 0)
        field_invalid_int(errs, PATH(path, "borrowingLimitPercent"), l->borrowing_limit_percent,
                          "if specified, must be a non-negative integer");
}

static void check_exempt(struct field_errors *errs, const struct field_path *path,
                         const struct flowcontrol_v1_exempt_priority_level_configuration *e)
{
    if (e->has_nominal_concurrency_shares && e->nominal_concurrency_shares < 0)
        field_invalid_int(errs, PATH(path, "nominalConcurrencyShares"),
                          e->nominal_concurrency_shares, "must be a non-negative integer");
    if (e->has_lendable_percent && (e->lendable_percent < 0 || e->lendable_percent > 100))
        field_invalid_int(errs, PATH(path, "lendablePercent"), e->lendable_percent,
                          "must be between 0 and 100, inclusive");
}

/* The two levels that every cluster must have are not changed, but for what "exempt" lends. */
static void check_fixed(struct field_errors *errs,
                        const struct flowcontrol_v1_priority_level_configuration *p)
{
    const struct api_msg *m = &flowcontrol_v1_priority_level_configuration_spec_msg;
    const struct flowcontrol_v1_priority_level_configuration *fixed = flow_mandatory_object(
        errs->arena, &flowcontrol_v1_priority_level_configuration_msg, true, p->metadata.name);
    if (fixed == NULL)
        return;
    struct flowcontrol_v1_priority_level_configuration_spec spec = p->spec;
    bool exempt = fixed->spec.exempt != NULL;
    if (exempt)
        spec.exempt = fixed->spec.exempt;
    if (!api_msg_equal(m, &spec, &fixed->spec))
        field_invalid_msg(errs, PATH(PATH_ROOT, "spec"), m, &p->spec,
                          "spec of '" STR_FMT "' %smust equal the fixed value",
                          STR_ARG(p->metadata.name),
                          exempt ? "except the 'spec.exempt' field " : "");
}

static void check_status(struct field_errors *errs,
                         const struct flowcontrol_v1_priority_level_configuration *p)
{
    validate_condition_types(
        errs, PATH(PATH(PATH_ROOT, "status"), "conditions"), p->status.conditions,
        p->status.conditions_count,
        sizeof(struct flowcontrol_v1_priority_level_configuration_condition),
        offsetof(struct flowcontrol_v1_priority_level_configuration_condition, type));
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const types[] = {"Exempt", "Limited", NULL};
    const struct flowcontrol_v1_priority_level_configuration *p = obj;
    const struct flowcontrol_v1_priority_level_configuration_spec *s = &p->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *type = PATH(spec, "type");
    bool exempt = str_eqc(s->type, "Exempt"), limited = str_eqc(s->type, "Limited");
    if (api_str_map_get(p->metadata.annotations, p->metadata.annotations_count, STR(ROUNDTRIP)) !=
        NULL)
        field_forbidden(errs, PATH(PATH(PATH_ROOT, "metadata"), "annotations"),
                        "annotation '%s' is forbidden", ROUNDTRIP);
    if (exempt != str_eqc(p->metadata.name, "exempt"))
        field_invalid(errs, type, s->type, "must be 'Exempt' if and only if `name` is 'exempt'");
    if (exempt) {
        if (s->limited != NULL)
            field_forbidden(errs, PATH(spec, "limited"), "must be nil if the type is not Limited");
        if (s->exempt != NULL)
            check_exempt(errs, PATH(spec, "exempt"), s->exempt);
    } else if (limited) {
        if (s->exempt != NULL)
            field_forbidden(errs, PATH(spec, "exempt"), "must be nil if the type is Limited");
        if (s->limited == NULL)
            field_required(errs, PATH(spec, "limited"), "must not be empty when type is Limited");
        else
            check_limited(errs, PATH(spec, "limited"), s->limited);
    } else {
        field_not_supported(errs, type, s->type, types);
    }
    check_fixed(errs, p);
    check_status(errs, p);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    check_status(errs, obj);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Type", "string", "", "Limited or exempt.", 0},
    {"NominalConcurrencyShares", "string", "", "Its part of what the server can do at once.", 0},
    {"Queues", "string", "", "", 0},
    {"HandSize", "string", "", "Queues that one flow may use.", 0},
    {"QueueLengthLimit", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct flowcontrol_v1_priority_level_configuration *p = obj;
    const struct flowcontrol_v1_limited_priority_level_configuration *l = p->spec.limited;
    const struct flowcontrol_v1_queuing_configuration *q =
        l != NULL ? l->limit_response.queuing : NULL;
    cell_str(r, p->metadata.name);
    cell_str(r, p->spec.type);
    if (l != NULL)
        cell_int(r, l->nominal_concurrency_shares);
    else
        cell_strc(r, "<none>");
    for (int i = 0; i < 3; i++) {
        if (q == NULL)
            cell_strc(r, "<none>");
        else
            cell_int(r, i == 0 ? q->queues : i == 1 ? q->hand_size : q->queue_length_limit);
    }
    cell_age(r, &p->metadata.creation_timestamp);
}

const struct kind_ops kind_prioritylevelconfigurations = {
    .group = "flowcontrol.apiserver.k8s.io",
    .version = "v1",
    .resource = "prioritylevelconfigurations",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .columns = columns,
    .row = row,
};
