/* rbac_policy.c - see rbac_policy.h. */
#include "apiserver/rbac_policy.h"

#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/kinds/rbac.h"
#include "apiserver/rbac_policy_table.h"
#include "apiserver/rbac_rules.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"
#define BOOTSTRAPPING "kubernetes.io/bootstrapping"
#define AGGREGATE_TO "rbac.authorization.k8s.io/aggregate-to-"
#define CONTROLLER "system:controller:"
#define LIST_MAX 64u

/* --- bindings: who holds the roles ---------------------------------------------------------- */
struct policy_binding {
    const char *role;                      /* And the binding's name, unless another is given. */
    const char *users, *groups, *accounts; /* Comma lists; accounts are those of kube-system. */
    const char *ns;                        /* NULL: cluster-wide. */
    const char *name;
    bool cluster_role; /* A RoleBinding to a ClusterRole. */
    enum feature needs;
};

static const struct policy_binding cluster_bindings[] = {
    {"cluster-admin", .groups = "system:masters"},
    {"system:monitoring", .groups = "system:monitoring"},
    {"system:discovery", .groups = "system:authenticated"},
    {"system:basic-user", .groups = "system:authenticated"},
    {"system:public-info-viewer", .groups = "system:authenticated,system:unauthenticated"},
    {"system:node-proxier", .users = "system:kube-proxy"},
    {"system:kube-controller-manager", .users = "system:kube-controller-manager"},
    {"system:kube-dns", .accounts = "kube-dns"},
    {"system:kube-scheduler", .users = "system:kube-scheduler"},
    {"system:volume-scheduler", .users = "system:kube-scheduler"},
    {"system:node"},
    {"system:service-account-issuer-discovery", .groups = "system:serviceaccounts"},
    {"system:cluster-trust-bundle-discovery", .groups = "system:serviceaccounts",
     .needs = FEATURE_CLUSTER_TRUST_BUNDLE},
    /* One identity runs all controllers here. */
    {"trireme:kube-controller-manager", .users = "system:kube-controller-manager"},
    {"trireme:local-path-provisioner", .users = "system:kube-controller-manager"},
    {"trireme:pod-group-controller", .users = "system:kube-controller-manager"},
    {"trireme:pod-group-scheduler", .users = "system:kube-scheduler"},
    {"trireme:vertical-pod-autoscaler", .users = "system:kube-controller-manager"},
    {"trireme:reclaiming-scheduler", .users = "system:kube-scheduler"},
    /* It approves the serving certificates of node agents after comparing them with the node. */
    {"system:certificates.k8s.io:kubelet-serving-approver",
     .users = "system:kube-controller-manager", .name = "trireme:kubelet-serving-approver"},
    /* The node agent serves its node's Services and DNS, and routes to other nodes' pods. */
    {"system:node-proxier", .groups = "system:nodes", .name = "trireme:node-proxier"},
    {"trireme:node-network-policies", .groups = "system:nodes"},
    {"system:node-bootstrapper", .groups = "system:bootstrappers",
     .name = "trireme:node-bootstrapper"},
    {"trireme:get-nodes", .groups = "system:bootstrappers"},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient",
     .groups = "system:bootstrappers", .name = "trireme:node-autoapprove-bootstrap"},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
     .groups = "system:nodes", .name = "trireme:node-autoapprove-certificate-rotation"},
    {NULL},
};

static const struct policy_binding namespace_bindings[] = {
    {"extension-apiserver-authentication-reader",
     .users = "system:kube-controller-manager,system:kube-scheduler", .ns = "kube-system",
     .name = "system::extension-apiserver-authentication-reader"},
    {"system::leader-locking-kube-controller-manager", .users = "system:kube-controller-manager",
     .accounts = "kube-controller-manager", .ns = "kube-system"},
    {"system::leader-locking-kube-scheduler", .users = "system:kube-scheduler",
     .accounts = "kube-scheduler", .ns = "kube-system"},
    {"system:controller:bootstrap-signer", .accounts = "bootstrap-signer", .ns = "kube-system"},
    {"system:controller:cloud-provider", .accounts = "cloud-provider", .ns = "kube-system"},
    {"system:controller:token-cleaner", .accounts = "token-cleaner", .ns = "kube-system"},
    {"system:controller:bootstrap-signer", .accounts = "bootstrap-signer", .ns = "kube-public"},
    {"trireme:cluster-info", .groups = "system:authenticated,system:unauthenticated",
     .ns = "kube-public"},
    {NULL},
};

/* --- from the tables to messages ---------------------------------------------------------------
 */
static int compare(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Sorted, as upstream keeps the lists of its rules. NULL: none. */
static struct str *list_of(struct arena *a, const char *commas, size_t *ret_count)
{
    struct str items[LIST_MAX], rest = str_of(commas), part;
    size_t n = 0;
    *ret_count = 0;
    if (commas == NULL)
        return NULL;
    for (bool more = true; more;) {
        more = str_cut(rest, ',', &part, &rest);
        ASSERT(n < LIST_MAX);
        items[n++] = part;
    }
    qsort(items, n, sizeof(*items), compare);
    *ret_count = n;
    return arena_memdup(a, items, n * sizeof(*items));
}

static struct str *list_in_order(struct arena *a, const char *commas, size_t *ret_count)
{
    struct str items[LIST_MAX], rest = str_of(commas), part;
    size_t n = 0;
    *ret_count = 0;
    if (commas == NULL)
        return NULL;
    for (bool more = true; more && n < LIST_MAX;) {
        more = str_cut(rest, ',', &part, &rest);
        items[n++] = part;
    }
    *ret_count = n;
    return arena_memdup(a, items, n * sizeof(*items));
}

static void make_rule(struct arena *a, const struct policy_rule *from,
                      struct rbac_v1_policy_rule *r)
{
    r->verbs = list_of(a, from->verbs, &r->verbs_count);
    if (from->urls != NULL) {
        r->non_resource_urls = list_of(a, from->urls, &r->non_resource_urls_count);
        return;
    }
    r->api_groups = list_of(a, from->groups, &r->api_groups_count);
    r->resources = list_of(a, from->resources, &r->resources_count);
    r->resource_names = list_of(a, from->names, &r->resource_names_count);
}

static size_t make_rules(struct arena *a, const struct policy_rule *from,
                         struct rbac_v1_policy_rule **ret)
{
    size_t n = 0;
    *ret = NULL;
    for (size_t i = 0; from != NULL && from[i].verbs != NULL; i++)
        n += feature_on(from[i].needs);
    if (n == 0)
        return 0;
    *ret = ARENA_ARRAY(a, struct rbac_v1_policy_rule, n);
    n = 0;
    for (size_t i = 0; from[i].verbs != NULL; i++)
        if (feature_on(from[i].needs))
            make_rule(a, &from[i], &(*ret)[n++]);
    return n;
}

static void set_meta(struct arena *a, struct meta_v1_object_meta *m, const char *ns,
                     const char *name, const char *aggregate_to)
{
    struct api_str_entry *labels = ARENA_ARRAY(a, struct api_str_entry, 2);
    struct api_str_entry *annotations = ARENA_NEW(a, struct api_str_entry);
    m->name = str_of(name);
    m->namespace = str_of(ns);
    labels[0] = (struct api_str_entry){STR(BOOTSTRAPPING), STR("rbac-defaults")};
    if (aggregate_to != NULL)
        labels[1] =
            (struct api_str_entry){arena_printf(a, AGGREGATE_TO "%s", aggregate_to), STR("true")};
    m->labels = labels;
    m->labels_count = aggregate_to != NULL ? 2 : 1;
    *annotations = (struct api_str_entry){STR(AUTOUPDATE), STR("true")};
    m->annotations = annotations;
    m->annotations_count = 1;
}

static const struct resource *rbac_resource(const char *name)
{
    return registry_storage(STR(RBAC_GROUP), str_of(name));
}

static void make_role(struct arena *a, const struct policy_role *from, struct policy_object *ret)
{
    if (from->ns != NULL) {
        struct rbac_v1_role *r = ARENA_NEW(a, struct rbac_v1_role);
        set_meta(a, &r->metadata, from->ns, from->name, NULL);
        r->rules_count = make_rules(a, from->rules, &r->rules);
        *ret = (struct policy_object){rbac_resource("roles"), r->metadata.namespace,
                                      r->metadata.name, r};
        return;
    }
    struct rbac_v1_cluster_role *r = ARENA_NEW(a, struct rbac_v1_cluster_role);
    set_meta(a, &r->metadata, NULL, from->name, from->aggregate_to);
    r->rules_count = make_rules(a, from->rules, &r->rules);
    if (from->aggregate_from != NULL) {
        struct meta_v1_label_selector *s = ARENA_NEW(a, struct meta_v1_label_selector);
        s->match_labels = ARENA_NEW(a, struct api_str_entry);
        s->match_labels_count = 1;
        s->match_labels->key = arena_printf(a, AGGREGATE_TO "%s", from->aggregate_from);
        s->match_labels->value = STR("true");
        r->aggregation_rule = ARENA_NEW(a, struct rbac_v1_aggregation_rule);
        r->aggregation_rule->cluster_role_selectors = s;
        r->aggregation_rule->cluster_role_selectors_count = 1;
    }
    *ret = (struct policy_object){rbac_resource("clusterroles"), STR_NULL, r->metadata.name, r};
}

/* All that any controller may do, each rule once. */
static void make_controller_manager(struct arena *a, struct policy_object *ret)
{
    struct rbac_v1_cluster_role *r = ARENA_NEW(a, struct rbac_v1_cluster_role);
    size_t cap = 0;
    set_meta(a, &r->metadata, NULL, "trireme:kube-controller-manager", NULL);
    const struct policy_role *tables[] = {policy_controller_roles, policy_namespace_roles};
    for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
        for (const struct policy_role *p = tables[t]; p->name != NULL; p++) {
            struct rbac_v1_policy_rule *rules;
            /* Of the roles in namespaces, the two for bootstrap tokens. */
            if (!feature_on(p->needs) ||
                (p->ns != NULL && !str_has_prefix(str_of(p->name), STR(CONTROLLER))))
                continue;
            size_t n = make_rules(a, p->rules, &rules);
            for (size_t i = 0; i < n; i++) {
                bool seen = false;
                for (size_t j = 0; j < r->rules_count && !seen; j++)
                    seen = api_msg_equal(&rbac_v1_policy_rule_msg, &r->rules[j], &rules[i]);
                if (seen)
                    continue;
                r->rules = arena_grow(a, r->rules, r->rules_count, &cap, sizeof(*r->rules));
                r->rules[r->rules_count++] = rules[i];
            }
        }
    *ret = (struct policy_object){rbac_resource("clusterroles"), STR_NULL, r->metadata.name, r};
}

static void add_subjects(struct arena *a, const char *kind, const char *commas,
                         struct rbac_v1_subject **subjects, size_t *count)
{
    size_t n;
    const struct str *names = list_in_order(a, commas, &n);
    struct rbac_v1_subject *s = ARENA_ARRAY(a, struct rbac_v1_subject, *count + n + 1);
    bool account = strcmp(kind, "ServiceAccount") == 0;
    if (*count != 0)
        memcpy(s, *subjects, *count * sizeof(*s));
    for (size_t i = 0; i < n; i++)
        s[*count + i] =
            (struct rbac_v1_subject){.kind = str_of(kind),
                                     .api_group = account ? STR("") : STR(RBAC_GROUP),
                                     .name = names[i],
                                     .namespace = account ? STR("kube-system") : STR("")};
    *subjects = s;
    *count += n;
}

/* ClusterRoleBinding and RoleBinding have the same shape. */
static void make_binding(struct arena *a, const struct policy_binding *from,
                         struct policy_object *ret)
{
    struct rbac_v1_role_binding *b = ARENA_NEW(a, struct rbac_v1_role_binding);
    static_assert(offsetof(struct rbac_v1_role_binding, role_ref) ==
                      offsetof(struct rbac_v1_cluster_role_binding, role_ref),
                  "bindings differ");
    set_meta(a, &b->metadata, from->ns, from->name != NULL ? from->name : from->role, NULL);
    b->role_ref = (struct rbac_v1_role_ref){
        .api_group = STR(RBAC_GROUP),
        .kind = from->ns == NULL || from->cluster_role ? STR("ClusterRole") : STR("Role"),
        .name = str_of(from->role)};
    add_subjects(a, "User", from->users, &b->subjects, &b->subjects_count);
    add_subjects(a, "Group", from->groups, &b->subjects, &b->subjects_count);
    add_subjects(a, "ServiceAccount", from->accounts, &b->subjects, &b->subjects_count);
    *ret = (struct policy_object){
        rbac_resource(from->ns == NULL ? "clusterrolebindings" : "rolebindings"),
        b->metadata.namespace, b->metadata.name, b};
}

/* --- enumeration
 * ------------------------------------------------------------------------------------ */
/* The one at *index of those that are on; NULL: there are fewer, *index is less by them. */
static const struct policy_role *role_at(const struct policy_role *table, size_t *index)
{
    for (; table->name != NULL; table++)
        if (feature_on(table->needs) && (*index)-- == 0)
            return table;
    return NULL;
}

static const struct policy_binding *binding_at(const struct policy_binding *table, size_t *index)
{
    for (; table->role != NULL; table++)
        if (feature_on(table->needs) && (*index)-- == 0)
            return table;
    return NULL;
}

bool policy_make(struct arena *a, size_t index, struct policy_object *ret)
{
    const struct policy_role *roles[] = {policy_user_roles, policy_controller_roles,
                                         policy_namespace_roles, policy_own_roles};
    const struct policy_binding *bindings[] = {cluster_bindings, namespace_bindings};
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        const struct policy_role *r = role_at(roles[i], &index);
        if (r != NULL) {
            make_role(a, r, ret);
            return true;
        }
    }
    if (index-- == 0) {
        make_controller_manager(a, ret);
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(bindings); i++) {
        const struct policy_binding *b = binding_at(bindings[i], &index);
        if (b != NULL) {
            make_binding(a, b, ret);
            return true;
        }
    }
    const struct policy_role *role = role_at(policy_controller_roles, &index);
    if (role == NULL)
        return false;
    const char *name = role->name;
    make_binding(
        a, &(struct policy_binding){.role = name, .accounts = name + sizeof(CONTROLLER) - 1}, ret);
    return true;
}

size_t policy_rules(struct arena *a, const char *cluster_role, struct rbac_v1_policy_rule **ret)
{
    for (const struct policy_role *p = policy_user_roles; p->name != NULL; p++)
        if (strcmp(p->name, cluster_role) == 0)
            return make_rules(a, p->rules, ret);
    return 0;
}

/* --- bringing what is stored up to date
 * ----------------------------------------------------------------- */
static bool merge_entries(struct arena *a, const struct api_str_entry *want, size_t want_count,
                          struct api_str_entry **have, size_t *have_count)
{
    bool changed = false;
    for (size_t i = 0; i < want_count; i++) {
        size_t j = 0;
        while (j < *have_count && !str_eq((*have)[j].key, want[i].key))
            j++;
        if (j < *have_count && str_eq((*have)[j].value, want[i].value))
            continue;
        struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, *have_count + 1);
        if (*have_count != 0)
            memcpy(e, *have, *have_count * sizeof(*e));
        e[j] = want[i];
        *have_count += j == *have_count;
        *have = e;
        changed = true;
    }
    return changed;
}

static bool merge_meta(struct arena *a, const struct meta_v1_object_meta *want,
                       struct meta_v1_object_meta *have)
{
    bool l = merge_entries(a, want->labels, want->labels_count, &have->labels, &have->labels_count);
    bool n = merge_entries(a, want->annotations, want->annotations_count, &have->annotations,
                           &have->annotations_count);
    return l || n;
}

static bool merge_rules(struct arena *a, const struct rbac_v1_policy_rule *want, size_t count,
                        struct rbac_v1_policy_rule **have, size_t *have_count)
{
    struct rbac_v1_policy_rule *missing;
    size_t n = rbac_rules_missing(a, *have, *have_count, want, count, &missing);
    if (n == 0)
        return false;
    struct rbac_v1_policy_rule *all = ARENA_ARRAY(a, struct rbac_v1_policy_rule, *have_count + n);
    if (*have_count != 0)
        memcpy(all, *have, *have_count * sizeof(*all));
    memcpy(all + *have_count, missing, n * sizeof(*all));
    *have = all;
    *have_count += n;
    return true;
}

static bool merge_aggregation(struct arena *a, const struct rbac_v1_cluster_role *want,
                              struct rbac_v1_cluster_role *have)
{
    const struct rbac_v1_aggregation_rule *w = want->aggregation_rule;
    struct rbac_v1_aggregation_rule *h = have->aggregation_rule;
    if (w == NULL)
        return false;
    if (h == NULL) {
        have->aggregation_rule =
            api_msg_clone(a, &rbac_v1_aggregation_rule_msg, want->aggregation_rule);
        return true;
    }
    for (size_t i = 0; i < h->cluster_role_selectors_count; i++)
        if (api_msg_equal(&meta_v1_label_selector_msg, &h->cluster_role_selectors[i],
                          &w->cluster_role_selectors[0]))
            return false;
    struct meta_v1_label_selector *s =
        ARENA_ARRAY(a, struct meta_v1_label_selector, h->cluster_role_selectors_count + 1);
    if (h->cluster_role_selectors_count != 0)
        memcpy(s, h->cluster_role_selectors, h->cluster_role_selectors_count * sizeof(*s));
    s[h->cluster_role_selectors_count++] = w->cluster_role_selectors[0];
    h->cluster_role_selectors = s;
    return true;
}

static bool merge_subjects(struct arena *a, const struct rbac_v1_role_binding *want,
                           struct rbac_v1_role_binding *have)
{
    bool changed = false;
    for (size_t i = 0; i < want->subjects_count; i++) {
        bool seen = false;
        for (size_t j = 0; j < have->subjects_count && !seen; j++)
            seen = api_msg_equal(&rbac_v1_subject_msg, &have->subjects[j], &want->subjects[i]);
        if (seen)
            continue;
        struct rbac_v1_subject *s =
            ARENA_ARRAY(a, struct rbac_v1_subject, have->subjects_count + 1);
        if (have->subjects_count != 0)
            memcpy(s, have->subjects, have->subjects_count * sizeof(*s));
        s[have->subjects_count++] = want->subjects[i];
        have->subjects = s;
        changed = true;
    }
    return changed;
}

bool policy_reconcile(struct arena *a, const struct policy_object *want, void *stored,
                      bool *ret_replace)
{
    /* metadata is the first member of every kind's struct. */
    struct meta_v1_object_meta *m = stored;
    *ret_replace = false;
    for (size_t i = 0; i < m->annotations_count; i++)
        if (str_eqc(m->annotations[i].key, AUTOUPDATE) && str_eqc(m->annotations[i].value, "false"))
            return false;
    bool changed = merge_meta(a, want->obj, m);
    const char *resource = want->res->kind->resource;
    if (strcmp(resource, "clusterroles") == 0) {
        const struct rbac_v1_cluster_role *w = want->obj;
        struct rbac_v1_cluster_role *h = stored;
        bool r = merge_rules(a, w->rules, w->rules_count, &h->rules, &h->rules_count);
        bool g = merge_aggregation(a, w, h);
        return changed || r || g;
    }
    if (strcmp(resource, "roles") == 0) {
        const struct rbac_v1_role *w = want->obj;
        struct rbac_v1_role *h = stored;
        return merge_rules(a, w->rules, w->rules_count, &h->rules, &h->rules_count) || changed;
    }
    const struct rbac_v1_role_binding *w = want->obj;
    struct rbac_v1_role_binding *h = stored;
    *ret_replace = !api_msg_equal(&rbac_v1_role_ref_msg, &w->role_ref, &h->role_ref);
    return *ret_replace || merge_subjects(a, w, h) || changed;
}
