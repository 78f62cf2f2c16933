/* workload.c - see workload.h. */
#include "apiserver/kinds/workload.h"

#include "apiserver/kinds/pod_spec.h"
#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static bool is_empty(const struct meta_v1_label_selector *s)
{
    return s->match_labels_count == 0 && s->match_expressions_count == 0;
}

void validate_workload_selector(const struct kind_ctx *ctx, struct field_errors *errs,
                                const struct field_path *spec,
                                const struct meta_v1_label_selector *s, const char *what)
{
    const struct field_path *path = PATH(spec, "selector");
    UNUSED(ctx);
    if (s == NULL) {
        field_required(errs, path, NULL);
        return;
    }
    size_t before = errs->count;
    validate_label_selector(errs, path, s);
    if (is_empty(s))
        field_invalid_msg(errs, path, &meta_v1_label_selector_msg, s,
                          "empty selector is invalid for %s", what);
    else if (errs->count != before)
        field_invalid_msg(errs, path, &meta_v1_label_selector_msg, s, "invalid label selector");
}

/* Labels as an error shows them: JSON with sorted keys, null when there are none. */
struct str labels_shown(struct arena *a, const struct meta_v1_object_meta *m)
{
    if (m->labels_count == 0)
        return STR("null");
    struct json *j = json_object(a);
    for (size_t i = 0; i < m->labels_count; i++)
        json_set(a, j, m->labels[i].key, json_string(a, m->labels[i].value));
    AUTO_BUF b = BUF_INIT;
    json_write(j, true, &b);
    return arena_str(a, buf_str(&b));
}

/* A selector that cannot be read is an error of its own, not a mismatch. */
bool workload_selects(struct arena *a, const struct meta_v1_label_selector *s,
                      const struct meta_v1_object_meta *m)
{
    struct api_label_selector parsed;
    if (s != NULL && is_empty(s))
        return true;
    if (api_label_selector_from(a, s, &parsed, NULL) != 0)
        return true;
    return api_label_selector_matches(&parsed, m->labels, m->labels_count);
}

void validate_template_labels(struct field_errors *errs, const struct field_path *template,
                              const struct meta_v1_label_selector *s,
                              const struct core_v1_pod_template_spec *t)
{
    if (!workload_selects(errs->arena, s, &t->metadata))
        field_invalid_raw(errs, PATH(PATH(template, "metadata"), "labels"),
                          labels_shown(errs->arena, &t->metadata),
                          "`selector` does not match template `labels`");
}

void validate_always_restarted(struct field_errors *errs, const struct field_path *template,
                               const struct core_v1_pod_template_spec *t, const char *what)
{
    static const char *const always[] = {"Always", NULL};
    const struct field_path *spec = PATH(template, "spec");
    if (!str_empty(t->spec.restart_policy) && !str_eqc(t->spec.restart_policy, "Always"))
        field_not_supported(errs, PATH(spec, "restartPolicy"), t->spec.restart_policy, always);
    if (t->spec.has_active_deadline_seconds)
        field_forbidden(errs, PATH(spec, "activeDeadlineSeconds"),
                        "activeDeadlineSeconds in %s is not Supported", what);
}

void validate_workload_template(const struct kind_ctx *ctx, struct field_errors *errs,
                                const struct field_path *spec,
                                const struct meta_v1_label_selector *s,
                                const struct core_v1_pod_template_spec *t, const char *what)
{
    const struct field_path *path = PATH(spec, "template");
    validate_template_labels(errs, path, s, t);
    validate_pod_template(ctx, errs, path, t);
    validate_always_restarted(errs, path, t, what);
}

void validate_immutable_selector(struct field_errors *errs,
                                 const struct meta_v1_label_selector *now,
                                 const struct meta_v1_label_selector *before)
{
    if (now != NULL && before != NULL && !api_msg_equal(&meta_v1_label_selector_msg, now, before))
        field_invalid_msg(errs, PATH(PATH(PATH_ROOT, "spec"), "selector"),
                          &meta_v1_label_selector_msg, now, "field is immutable");
}

struct str selector_text(struct arena *a, const struct meta_v1_label_selector *s)
{
    struct api_label_selector parsed;
    return s != NULL && api_label_selector_from(a, s, &parsed, NULL) == 0
               ? api_label_selector_text(a, &parsed)
               : STR_NULL;
}

void validate_at_most(struct field_errors *errs, const char *field, int32_t value, int32_t max,
                      const char *of)
{
    if (value > max)
        field_invalid_int(errs, PATH(PATH(PATH_ROOT, "status"), field), value,
                          "cannot be greater than %s", of);
}

void validate_collisions_grow(struct field_errors *errs, bool has, int32_t now, bool had,
                              int32_t before)
{
    if (had && (!has || now < before))
        field_invalid_int(errs, PATH(PATH(PATH_ROOT, "status"), "collisionCount"), has ? now : 0,
                          "cannot be decremented");
}

void validate_replica_counts(struct field_errors *errs, const struct replica_counts *c)
{
    const struct field_path *path = PATH(PATH_ROOT, "status");
    validate_non_negative(errs, PATH(path, "replicas"), c->replicas);
    validate_non_negative(errs, PATH(path, "fullyLabeledReplicas"), c->fully_labeled);
    validate_non_negative(errs, PATH(path, "readyReplicas"), c->ready);
    validate_non_negative(errs, PATH(path, "availableReplicas"), c->available);
    validate_non_negative(errs, PATH(path, "observedGeneration"), c->observed_generation);
    validate_at_most(errs, "fullyLabeledReplicas", c->fully_labeled, c->replicas,
                     "status.replicas");
    validate_at_most(errs, "readyReplicas", c->ready, c->replicas, "status.replicas");
    validate_at_most(errs, "availableReplicas", c->available, c->replicas, "status.replicas");
    validate_at_most(errs, "availableReplicas", c->available, c->ready, "readyReplicas");
}

const struct table_column replica_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Desired", "integer", "", "Pods that are wanted.", 0},
    {"Current", "integer", "", "Pods that exist.", 0},
    {"Ready", "integer", "", "Pods that are ready.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {"Selector", "string", "", "", 1},
    {0},
};

struct intstr_int_or_string *int_or_string_percent(struct arena *a, const char *percent)
{
    struct intstr_int_or_string *v = ARENA_NEW(a, struct intstr_int_or_string);
    v->type = 1;
    v->str_val = arena_strc(a, percent);
    return v;
}

static bool percent_value(const struct intstr_int_or_string *v, uint64_t *ret)
{
    struct str s = v->str_val;
    return s.len > 1 && s.data[s.len - 1] == '%' && str_to_u64(str_n(s.data, s.len - 1), ret);
}

void validate_int_or_percent(struct field_errors *errs, const struct field_path *path,
                             const struct intstr_int_or_string *v)
{
    uint64_t percent = 0;
    if (v == NULL)
        return;
    if (v->type == 0)
        validate_non_negative(errs, path, v->int_val);
    else if (!percent_value(v, &percent))
        field_invalid(errs, path, v->str_val,
                      "a valid percent string must be a numeric string followed by an ending '%%' "
                      "(e.g. '1%%',  or "
                      "'93%%', regex used for validation is '[0-9]+%%')");
}

void validate_percent_max(struct field_errors *errs, const struct field_path *path,
                          const struct intstr_int_or_string *v)
{
    uint64_t percent = 0;
    if (v != NULL && v->type != 0 && percent_value(v, &percent) && percent > 100)
        field_invalid(errs, path, v->str_val, "must not be greater than 100%%");
}

bool int_or_percent_is_zero(const struct intstr_int_or_string *v)
{
    uint64_t percent = 1;
    if (v == NULL)
        return true;
    return v->type == 0 ? v->int_val == 0 : percent_value(v, &percent) && percent == 0;
}
