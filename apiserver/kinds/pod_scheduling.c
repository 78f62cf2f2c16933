/* pod_scheduling.c - where a pod may run: affinity, tolerations, spreading. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/kinds/node_selector.h"
#include "lib/base/arena.h"

/* --- node selectors --------------------------------------------------------------------- */

static void check_requirement(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_node_selector_requirement *r, bool any_value)
{
    const struct field_path *values = PATH(path, "values");
    if (str_eqc(r->operator, "In") || str_eqc(r->operator, "NotIn")) {
        if (r->values_count == 0)
            field_required(errs, values, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (str_eqc(r->operator, "Exists") || str_eqc(r->operator, "DoesNotExist")) {
        if (r->values_count != 0)
            field_forbidden(errs, values,
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (str_eqc(r->operator, "Gt") || str_eqc(r->operator, "Lt")) {
        if (r->values_count != 1)
            field_required(errs, values,
                           "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else {
        field_invalid(errs, PATH(path, "operator"), r->operator, "not a valid selector operator");
    }
    validate_qualified_name(errs, PATH(path, "key"), r->key);
    for (size_t i = 0; i < r->values_count && !any_value; i++)
        validate_form(errs, PATH_INDEX(values, i), r->values[i], api_check_label_value);
}

static void check_field_requirement(struct field_errors *errs, const struct field_path *path,
                                    const struct core_v1_node_selector_requirement *r)
{
    if (!str_eqc(r->operator, "In") && !str_eqc(r->operator, "NotIn"))
        field_invalid(errs, PATH(path, "operator"), r->operator, "not a valid selector operator");
    else if (r->values_count != 1)
        field_required(
            errs, PATH(path, "values"),
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    if (!str_eqc(r->key, "metadata.name")) {
        field_invalid(errs, PATH(path, "key"), r->key, "not a valid field selector key");
        return;
    }
    for (size_t i = 0; i < r->values_count; i++)
        validate_form(errs, PATH_INDEX(PATH(path, "values"), i), r->values[i],
                      api_check_dns_subdomain);
}

static void check_node_term(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_node_selector_term *t, bool any_value)
{
    for (size_t i = 0; i < t->match_expressions_count; i++)
        check_requirement(errs, PATH_INDEX(PATH(path, "matchExpressions"), i),
                          &t->match_expressions[i], any_value);
    for (size_t i = 0; i < t->match_fields_count; i++)
        check_field_requirement(errs, PATH_INDEX(PATH(path, "matchFields"), i),
                                &t->match_fields[i]);
}

void validate_node_selector(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_node_selector *s)
{
    const struct field_path *terms = PATH(path, "nodeSelectorTerms");
    if (s->node_selector_terms_count == 0)
        field_required(errs, terms, "must have at least one node selector term");
    for (size_t i = 0; i < s->node_selector_terms_count; i++)
        check_node_term(errs, PATH_INDEX(terms, i), &s->node_selector_terms[i], false);
}

/* --- affinity ----------------------------------------------------------------------------- */

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

static void check_weight(struct field_errors *errs, const struct field_path *path, int32_t weight)
{
    if (weight < 1 || weight > 100)
        field_invalid_int(errs, PATH(path, "weight"), weight, "must be in the range 1-100");
}

static void check_node_affinity(struct field_errors *errs, const struct field_path *path,
                                const struct core_v1_node_affinity *n)
{
    if (n->required_during_scheduling_ignored_during_execution != NULL)
        validate_node_selector(errs, PATH(path, REQUIRED),
                               n->required_during_scheduling_ignored_during_execution);
    for (size_t i = 0; i < n->preferred_during_scheduling_ignored_during_execution_count; i++) {
        const struct core_v1_preferred_scheduling_term *t =
            &n->preferred_during_scheduling_ignored_during_execution[i];
        const struct field_path *at = PATH_INDEX(PATH(path, PREFERRED), i);
        check_weight(errs, at, t->weight);
        /* Values that no node can have do no harm in a preference. */
        check_node_term(errs, PATH(at, "preference"), &t->preference, true);
    }
}

static void check_label_keys(struct field_errors *errs, const struct field_path *path,
                             const struct str *keys, size_t count,
                             const struct meta_v1_label_selector *s)
{
    if (count != 0 && s == NULL) {
        field_forbidden(errs, path, "must not be specified when labelSelector is not set");
        return;
    }
    for (size_t i = 0; i < count; i++)
        validate_qualified_name(errs, PATH_INDEX(path, i), keys[i]);
}

static bool selects_by(const struct meta_v1_label_selector *s, size_t expressions, struct str key)
{
    for (size_t i = 0; i < s->match_labels_count; i++)
        if (str_eq(s->match_labels[i].key, key))
            return true;
    for (size_t i = 0; i < expressions; i++)
        if (str_eq(s->match_expressions[i].key, key))
            return true;
    return false;
}

/* The selector has got one requirement for each key from the pod's own labels;
 * a second one for a key is the author's, who may not give any. */
static void check_match_keys(struct field_errors *errs, const struct field_path *path,
                             const struct str *keys, size_t count,
                             const struct meta_v1_label_selector *s)
{
    for (size_t e = 0; s != NULL && e < s->match_expressions_count; e++) {
        struct str key = s->match_expressions[e].key;
        for (size_t i = count; i-- > 0;)
            if (str_eq(keys[i], key)) {
                if (selects_by(s, e, key))
                    field_invalid(errs, PATH_INDEX(path, i), key,
                                  "exists in both matchLabelKeys and labelSelector");
                break;
            }
    }
}

static void check_pod_term(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_pod_affinity_term *t)
{
    validate_label_selector(errs, PATH(path, "labelSelector"), t->label_selector);
    validate_label_selector(errs, PATH(path, "namespaceSelector"), t->namespace_selector);
    for (size_t i = 0; i < t->namespaces_count; i++)
        validate_form(errs, PATH(path, "namespace"), t->namespaces[i], api_check_dns_label);
    check_label_keys(errs, PATH(path, "matchLabelKeys"), t->match_label_keys,
                     t->match_label_keys_count, t->label_selector);
    check_label_keys(errs, PATH(path, "mismatchLabelKeys"), t->mismatch_label_keys,
                     t->mismatch_label_keys_count, t->label_selector);
    check_match_keys(errs, path, t->match_label_keys, t->match_label_keys_count, t->label_selector);
    for (size_t i = 0; i < t->match_label_keys_count; i++)
        for (size_t j = 0; j < t->mismatch_label_keys_count; j++)
            if (str_eq(t->match_label_keys[i], t->mismatch_label_keys[j])) {
                field_invalid(errs, PATH_INDEX(PATH(path, "matchLabelKeys"), i),
                              t->match_label_keys[i],
                              "exists in both matchLabelKeys and mismatchLabelKeys");
                break;
            }
    if (str_empty(t->topology_key))
        field_required(errs, PATH(path, "topologyKey"), "can not be empty");
    validate_qualified_name(errs, PATH(path, "topologyKey"), t->topology_key);
}

static void check_pod_affinity(struct field_errors *errs, const struct field_path *path,
                               const struct core_v1_pod_affinity_term *required,
                               size_t required_count,
                               const struct core_v1_weighted_pod_affinity_term *preferred,
                               size_t preferred_count)
{
    for (size_t i = 0; i < required_count; i++)
        check_pod_term(errs, PATH_INDEX(PATH(path, REQUIRED), i), &required[i]);
    for (size_t i = 0; i < preferred_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(path, PREFERRED), i);
        check_weight(errs, at, preferred[i].weight);
        check_pod_term(errs, PATH(at, "podAffinityTerm"), &preferred[i].pod_affinity_term);
    }
}

void check_affinity(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_affinity *a = k->spec->affinity;
    if (a == NULL)
        return;
    if (a->node_affinity != NULL)
        check_node_affinity(k->errs, PATH(path, "nodeAffinity"), a->node_affinity);
    if (a->pod_affinity != NULL)
        check_pod_affinity(
            k->errs, PATH(path, "podAffinity"),
            a->pod_affinity->required_during_scheduling_ignored_during_execution,
            a->pod_affinity->required_during_scheduling_ignored_during_execution_count,
            a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
            a->pod_affinity->preferred_during_scheduling_ignored_during_execution_count);
    if (a->pod_anti_affinity != NULL)
        check_pod_affinity(
            k->errs, PATH(path, "podAntiAffinity"),
            a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->required_during_scheduling_ignored_during_execution_count,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution_count);
}

/* --- tolerations ------------------------------------------------------------------------------ */

void validate_tolerations(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_toleration *list, size_t count)
{
    static const char *const operators[] = {"Equal", "Exists", NULL};
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_toleration *t = &list[i];
        const struct field_path *at = PATH_INDEX(path, i), *operator= PATH(at, "operator");
        if (!str_empty(t->key))
            validate_qualified_name(errs, PATH(at, "key"), t->key);
        else if (!str_eqc(t->operator, "Exists"))
            field_invalid(errs, operator, t->operator,
                          "operator must be Exists when `key` is empty, which means \"match all "
                          "values and all keys\"");
        if (t->has_toleration_seconds && !str_eqc(t->effect, "NoExecute"))
            field_invalid(errs, PATH(at, "effect"), t->effect,
                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (str_empty(t->operator) || str_eqc(t->operator, "Equal")) {
            struct api_faults f = api_check_label_value(t->value);
            if (f.count != 0)
                field_invalid(errs, operator, t->value, "%s%s%s", f.items[0],
                              f.count > 1 ? ";" : "", f.count > 1 ? f.items[1] : "");
        } else if (!str_eqc(t->operator, "Exists")) {
            field_not_supported(errs, operator, t->operator, operators);
        } else if (!str_empty(t->value)) {
            field_invalid(errs, operator, t->value,
                          "value must be empty when `operator` is 'Exists'");
        }
        if (!str_empty(t->effect))
            validate_listed(errs, PATH(at, "effect"), t->effect, effects);
    }
}

void check_tolerations(struct pod_check *k, const struct field_path *path)
{
    validate_tolerations(k->errs, path, k->spec->tolerations, k->spec->tolerations_count);
}

/* --- spreading ---------------------------------------------------------------------------------
 */

static void check_constraint(struct field_errors *errs, const struct field_path *at,
                             const struct core_v1_topology_spread_constraint *c)
{
    static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
    static const char *const policies[] = {"Honor", "Ignore", NULL};
    if (c->max_skew <= 0)
        field_invalid_int(errs, PATH(at, "maxSkew"), c->max_skew, "must be greater than zero");
    if (str_empty(c->topology_key))
        field_required(errs, PATH(at, "topologyKey"), "can not be empty");
    else
        validate_qualified_name(errs, PATH(at, "topologyKey"), c->topology_key);
    validate_listed(errs, PATH(at, "whenUnsatisfiable"), c->when_unsatisfiable, actions);
    if (c->has_min_domains) {
        if (c->min_domains <= 0)
            field_invalid_int(errs, PATH(at, "minDomains"), c->min_domains,
                              "must be greater than zero");
        if (!str_eqc(c->when_unsatisfiable, "DoNotSchedule"))
            field_invalid_int(
                errs, PATH(at, "minDomains"), c->min_domains,
                "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " STR_FMT,
                STR_ARG(c->when_unsatisfiable));
    }
    if (c->has_node_affinity_policy)
        validate_listed(errs, PATH(at, "nodeAffinityPolicy"), c->node_affinity_policy, policies);
    if (c->has_node_taints_policy)
        validate_listed(errs, PATH(at, "nodeTaintsPolicy"), c->node_taints_policy, policies);
    check_label_keys(errs, PATH(at, "matchLabelKeys"), c->match_label_keys,
                     c->match_label_keys_count, c->label_selector);
    check_match_keys(errs, at, c->match_label_keys, c->match_label_keys_count, c->label_selector);
    validate_label_selector(errs, PATH(at, "labelSelector"), c->label_selector);
}

void check_spread(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_topology_spread_constraint *c = k->spec->topology_spread_constraints;
    for (size_t i = 0; i < k->spec->topology_spread_constraints_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        check_constraint(k->errs, at, &c[i]);
        for (size_t j = 0; j < i; j++)
            if (str_eq(c[j].topology_key, c[i].topology_key) &&
                str_eq(c[j].when_unsatisfiable, c[i].when_unsatisfiable)) {
                field_duplicate(k->errs, PATH(at, "{topologyKey, whenUnsatisfiable}"),
                                arena_printf(k->errs->arena, "{" STR_FMT ", " STR_FMT "}",
                                             STR_ARG(c[i].topology_key),
                                             STR_ARG(c[i].when_unsatisfiable)));
                break;
            }
    }
}
