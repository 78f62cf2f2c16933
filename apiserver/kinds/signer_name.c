/* signer_name.c - see signer_name.h. */
#include "apiserver/kinds/signer_name.h"

#include "apiserver/validate.h"
#include "lib/base/arena.h"

#define SUBDOMAIN_MAX 253
/* A domain, a slash, and room for a label, a dot and a subdomain. */
#define SIGNER_NAME_MAX (SUBDOMAIN_MAX + 1 + SUBDOMAIN_MAX + 63 + 1)

/* The first part between dots that has a fault, and its faults. */
static void validate_labels_of(struct field_errors *errs, const struct field_path *at,
                               struct str text, struct api_faults (*check)(struct str))
{
    struct str label, rest = text;
    bool more = true;
    while (more) {
        more = str_cut(rest, '.', &label, &rest);
        struct api_faults f = check(label);
        for (size_t i = 0; i < f.count; i++)
            field_invalid(errs, at, text, "validating label \"" STR_FMT "\": %s", STR_ARG(label),
                          f.items[i]);
        if (f.count != 0)
            return;
    }
}

void validate_signer_name(struct field_errors *errs, const struct field_path *at, struct str name)
{
    struct str domain, path;
    if (str_empty(name)) {
        field_required(errs, at, NULL);
        return;
    }
    if (!str_cut(name, '/', &domain, &path) || str_find(path, '/', 0) >= 0) {
        field_invalid(
            errs, at, name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    }
    if (domain.len > SUBDOMAIN_MAX)
        field_too_long(errs, at, SUBDOMAIN_MAX);
    validate_labels_of(errs, at, domain, api_check_dns_label);
    if (str_find(domain, '.', 0) < 0)
        field_invalid(errs, at, domain,
                      "should be a domain with at least two segments separated by dots");
    validate_labels_of(errs, at, path, api_check_dns_subdomain);
    if (name.len > SIGNER_NAME_MAX)
        field_too_long(errs, at, SIGNER_NAME_MAX);
}

bool is_kubernetes_signer(struct str name)
{
    struct str domain, path;
    str_cut(name, '/', &domain, &path);
    return str_eqc(domain, "kubernetes.io") || str_has_suffix(domain, STR(".kubernetes.io"));
}

/* "example.com/ca" -> "example.com:ca:", which is in front of the names of its bundles. */
static struct str name_prefix(struct arena *a, struct str signer)
{
    struct str domain, path;
    str_cut(signer, '/', &domain, &path);
    return arena_printf(a, STR_FMT ":" STR_FMT ":", STR_ARG(domain), STR_ARG(path));
}

void validate_trust_bundle_name(struct field_errors *errs, const struct field_path *at,
                                struct str name, struct str signer, bool generate)
{
    if (str_empty(signer)) {
        if (str_find(name, ':', 0) >= 0)
            field_invalid(errs, at, name,
                          "ClusterTrustBundle without signer name must not have \":\" in its name");
        else
            name_dns_subdomain(errs, at, name, generate);
        return;
    }
    struct str prefix = name_prefix(errs->arena, signer);
    if (!str_has_prefix(name, prefix)) {
        field_invalid(errs, at, name,
                      "ClusterTrustBundle for signerName " STR_FMT
                      " must be named with prefix " STR_FMT,
                      STR_ARG(signer), STR_ARG(prefix));
        return;
    }
    struct str rest = str_sub(name, prefix.len, name.len);
    if (generate && str_has_suffix(rest, STR("-")))
        rest = str_sub(rest, 0, rest.len - 1);
    field_faults(errs, at, name, api_check_dns_subdomain(rest));
}
