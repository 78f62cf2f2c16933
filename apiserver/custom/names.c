/* names.c - see names.h. */
#include "apiserver/custom/names.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/definition.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/pki.h"

#define crd_t struct apiextensions_v1_custom_resource_definition
#define names_t struct apiextensions_v1_custom_resource_definition_names
#define condition_t struct apiextensions_v1_custom_resource_definition_condition

bool custom_condition_set(struct arena *a, crd_t *crd, const char *type, bool status,
                          const char *reason, struct str message, int64_t now_s)
{
    condition_t wanted = {.type = str_of(type),
                          .status = status ? STR("True") : STR("False"),
                          .reason = str_of(reason),
                          .message = message,
                          .last_transition_time = {.seconds = now_s}};
    size_t n = crd->status.conditions_count;
    condition_t *list = ARENA_ARRAY(a, condition_t, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = crd->status.conditions[i];
    for (size_t i = 0; i < n; i++) {
        if (!str_eqc(list[i].type, type))
            continue;
        if (str_eq(list[i].status, wanted.status))
            wanted.last_transition_time = list[i].last_transition_time;
        if (str_eq(list[i].status, wanted.status) && str_eq(list[i].reason, wanted.reason) &&
            str_eq(list[i].message, wanted.message))
            return false;
        list[i] = wanted;
        crd->status.conditions = list;
        return true;
    }
    list[n] = wanted;
    crd->status.conditions = list;
    crd->status.conditions_count = n + 1;
    return true;
}

/* --- who has a name ------------------------------------------------------------------- */
static bool has_str(const struct str *list, size_t count, struct str s)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

/* Plurals, singulars and short names share one space. */
static bool takes_resource(const names_t *n, struct str name)
{
    return str_eq(n->plural, name) || str_eq(n->singular, name) ||
           has_str(n->short_names, n->short_names_count, name);
}

static bool takes_kind(const names_t *n, struct str name)
{
    return str_eq(n->kind, name) || str_eq(n->list_kind, name);
}

struct others {
    const crd_t *self;
    names_t before; /* What self has accepted: taken, too, for a name of another sort. */
    const crd_t *const *all;
    size_t count;
};

static bool is_taken(const struct others *o, struct str name,
                     bool (*takes)(const names_t *n, struct str name))
{
    if (name.len == 0)
        return false;
    for (size_t i = 0; i < o->count; i++)
        if (!str_eq(o->all[i]->metadata.name, o->self->metadata.name) &&
            str_eq(o->all[i]->spec.group, o->self->spec.group) &&
            takes(&o->all[i]->status.accepted_names, name))
            return true;
    return takes(&o->before, name);
}

/* --- deciding --------------------------------------------------------------------------- */
struct verdict {
    const char *reason; /* NULL: nothing is wrong. */
    struct str message;
};

/* The last sort of name that is refused is the one that is told. */
static void refuse(struct verdict *v, const char *reason, struct str message)
{
    v->reason = reason;
    v->message = message;
}

static struct str in_use(struct arena *a, struct str name)
{
    return arena_printf(a, "\"" STR_FMT "\" is already in use", STR_ARG(name));
}

static void decide(struct arena *a, const struct others *o, const char *reason, struct str wanted,
                   struct str *accepted, bool (*takes)(const names_t *n, struct str name),
                   struct verdict *v)
{
    if (str_eq(wanted, *accepted))
        return;
    if (is_taken(o, wanted, takes))
        refuse(v, reason, in_use(a, wanted));
    else
        *accepted = wanted;
}

static void decide_short(struct arena *a, const struct others *o, const names_t *wanted,
                         names_t *accepted, struct verdict *v)
{
    AUTO_BUF all = BUF_INIT;
    size_t refused = 0;
    for (size_t i = 0; i < wanted->short_names_count; i++) {
        struct str name = wanted->short_names[i];
        if (has_str(accepted->short_names, accepted->short_names_count, name) ||
            has_str(wanted->short_names, i, name) || !is_taken(o, name, takes_resource))
            continue;
        if (refused++ != 0)
            buf_puts(&all, ", ");
        buf_append_str(&all, in_use(a, name));
    }
    if (refused != 0) {
        refuse(v, "ShortNamesConflict",
               arena_printf(a, refused > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(buf_str(&all))));
        return;
    }
    accepted->short_names = wanted->short_names;
    accepted->short_names_count = wanted->short_names_count;
}

static struct verdict decide_all(struct arena *a, const struct others *o, names_t *accepted)
{
    const names_t *wanted = &o->self->spec.names;
    struct verdict v = {0};
    decide(a, o, "PluralConflict", wanted->plural, &accepted->plural, takes_resource, &v);
    decide(a, o, "SingularConflict", wanted->singular, &accepted->singular, takes_resource, &v);
    decide_short(a, o, wanted, accepted, &v);
    decide(a, o, "KindConflict", wanted->kind, &accepted->kind, takes_kind, &v);
    decide(a, o, "ListKindConflict", wanted->list_kind, &accepted->list_kind, takes_kind, &v);
    accepted->categories = wanted->categories;
    accepted->categories_count = wanted->categories_count;
    return v;
}

/* --- approval --------------------------------------------------------------------------- */
bool custom_group_protected(struct str group)
{
    return str_has_suffix(group, STR(".k8s.io")) || str_has_suffix(group, STR(".kubernetes.io")) ||
           str_eqc(group, "k8s.io") || str_eqc(group, "kubernetes.io");
}

static bool is_scheme(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i], low = (char)(c | 0x20);
        bool letter = low >= 'a' && low <= 'z';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    return s.len != 0;
}

/* What Go reads as a URL with a scheme and a host. */
static bool is_url(struct str s)
{
    ptrdiff_t colon = str_find(s, ':', 0);
    if (colon <= 0 || !is_scheme(str_sub(s, 0, (size_t)colon)) ||
        !str_has_prefix(str_sub(s, (size_t)colon + 1, s.len), STR("//")))
        return false;
    struct str rest = str_sub(s, (size_t)colon + 3, s.len);
    size_t host = 0, end = 0;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return false;
    for (; end < rest.len && rest.data[end] != '/' && rest.data[end] != '?'; end++) {
        if (rest.data[end] == '@')
            host = end + 1;
        if (str_find(STR(" #%\\^`{|}"), rest.data[end], 0) >= 0)
            return false;
    }
    return end > host;
}

enum custom_approval custom_approval_of(struct arena *a, const crd_t *crd, struct str *ret_why)
{
#define SEE "see https://github.com/kubernetes/enhancements/pull/1111"
    const struct meta_v1_object_meta *m = &crd->metadata;
    const struct str *given =
        api_str_map_get(m->annotations, m->annotations_count, STR(CUSTOM_APPROVED));
    if (given == NULL || given->len == 0) {
        *ret_why =
            STR("protected groups must have approval annotation \"" CUSTOM_APPROVED "\", " SEE);
        return APPROVAL_MISSING;
    }
    if (str_has_prefix(*given, STR("unapproved"))) {
        AUTO_BUF b = BUF_INIT;
        json_write_string(*given, &b);
        *ret_why = arena_printf(a, "not approved: " STR_FMT, STR_ARG(buf_str(&b)));
        return APPROVAL_BYPASSED;
    }
    if (is_url(*given)) {
        *ret_why = arena_printf(a, "approved in " STR_FMT, STR_ARG(*given));
        return APPROVAL_GIVEN;
    }
    *ret_why = STR("protected groups must have approval annotation \"" CUSTOM_APPROVED
                   "\" with either a URL or a reason starting with \"unapproved\", " SEE);
    return APPROVAL_INVALID;
#undef SEE
}

static bool accept_approval(struct arena *a, crd_t *crd, int64_t now_s)
{
    static const char *const reasons[] = {
        [APPROVAL_INVALID] = "InvalidAnnotation",
        [APPROVAL_GIVEN] = "ApprovedAnnotation",
        [APPROVAL_BYPASSED] = "UnapprovedAnnotation",
        [APPROVAL_MISSING] = "MissingAnnotation",
    };
    struct str why;
    if (!custom_group_protected(crd->spec.group))
        return false;
    enum custom_approval state = custom_approval_of(a, crd, &why);
    return custom_condition_set(a, crd, "KubernetesAPIApprovalPolicyConformant",
                                state == APPROVAL_GIVEN, reasons[state], why, now_s);
}

/* --- conversion -------------------------------------------------------------------------- */
bool custom_bundle_broken(const crd_t *crd)
{
    const struct apiextensions_v1_custom_resource_conversion *c = crd->spec.conversion;
    struct pki_cert *cert;
    if (c == NULL || c->webhook == NULL || c->webhook->client_config == NULL ||
        c->webhook->client_config->ca_bundle.len == 0)
        return false;
    if (pki_cert_parse(c->webhook->client_config->ca_bundle, &cert, NULL) != 0)
        return true;
    pki_cert_unref(cert);
    return false;
}

/* Once true it stays. */
static bool establish(struct arena *a, crd_t *crd, bool good, int64_t now_s)
{
    if (custom_condition(crd, "Established"))
        return false;
    if (!good)
        return custom_condition_set(a, crd, "Established", false, "NotAccepted",
                                    STR("not all names are accepted"), now_s);
    if (custom_bundle_broken(crd))
        return custom_condition_set(a, crd, "Established", false, "InvalidCABundle",
                                    STR("The conversion webhook CABundle is invalid"), now_s);
    return custom_condition_set(a, crd, "Established", true, "InitialNamesAccepted",
                                STR("the initial names have been accepted"), now_s);
}

bool custom_names_accept(struct arena *a, crd_t *crd, const crd_t *const *all, size_t count,
                         int64_t now_s)
{
    struct others o = {crd, crd->status.accepted_names, all, count};
    struct verdict v = decide_all(a, &o, &crd->status.accepted_names);
    bool changed = !api_msg_equal(&apiextensions_v1_custom_resource_definition_names_msg, &o.before,
                                  &crd->status.accepted_names);
    bool good = v.reason == NULL;
    changed |= custom_condition_set(a, crd, "NamesAccepted", good, good ? "NoConflicts" : v.reason,
                                    good ? STR("no conflicts found") : v.message, now_s);
    changed |= accept_approval(a, crd, now_s);
    return establish(a, crd, good, now_s) || changed;
}
