/* node_labels.c - see node_labels.h. Pure. */
#include "apiserver/kinds/node_labels.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"

const char *node_label_deprecated(struct str key)
{
    static const struct {
        const char *key, *instead;
    } labels[] = {
        {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
        {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
        {"failure-domain.beta.kubernetes.io/region",
         "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
        {"failure-domain.beta.kubernetes.io/zone",
         "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
        {"beta.kubernetes.io/instance-type",
         "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
        {"app.kubernetes.io/created-by", "deprecated since v1.9"},
        {"scheduler.alpha.kubernetes.io/preferAvoidPods",
         "deprecated since v1.22; use Taints and Tolerations instead"},
        {"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
        if (str_eqc(key, labels[i].key))
            return labels[i].instead;
    return NULL;
}

static void warn_key(const struct kind_ctx *ctx, const struct field_path *path, struct str key)
{
    const char *why = node_label_deprecated(key);
    if (why != NULL)
        kind_warn_field(ctx, PATH(path, "key"), STR_FMT " is %s", STR_ARG(key), why);
}

void warn_node_selector_term(const struct kind_ctx *ctx, const struct field_path *path,
                             const struct core_v1_node_selector_term *t, bool values)
{
    for (size_t i = 0; i < t->match_expressions_count; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_expressions[i];
        const struct field_path *at = PATH_INDEX(PATH(path, "matchExpressions"), i);
        warn_key(ctx, at, r->key);
        for (size_t v = 0; values && v < r->values_count; v++) {
            struct api_faults f = api_check_label_value(r->values[v]);
            for (size_t k = 0; k < f.count; k++)
                kind_warn_field(ctx, PATH_INDEX(PATH(at, "values"), v), STR_FMT " is invalid, %s",
                                STR_ARG(r->values[v]), f.items[k]);
        }
    }
}

void warn_node_label_selector(const struct kind_ctx *ctx, const struct field_path *path,
                              const struct meta_v1_label_selector *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->match_expressions_count; i++)
        warn_key(ctx, PATH_INDEX(PATH(path, "matchExpressions"), i), s->match_expressions[i].key);
    for (size_t i = 0; i < s->match_labels_count; i++) {
        const char *why = node_label_deprecated(s->match_labels[i].key);
        if (why != NULL) /* Upstream writes a dot before the key here, not brackets. */
            kind_warn_field(ctx,
                            PATH(PATH(path, "matchLabels"),
                                 str_c(arena_str(ctx->arena, s->match_labels[i].key))),
                            "%s", why);
    }
}
