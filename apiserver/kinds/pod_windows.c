/* pod_windows.c - what Windows has of its own in security contexts. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

#include <ctype.h>

#define CREDENTIAL_KIB_MAX 64u
#define USER_MAX 104u
#define DOMAIN_MAX 256u

static bool has_any(struct str s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr(chars, s.data[i]) != NULL)
            return true;
    return false;
}

/* ^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$ */
static bool is_netbios(struct str s)
{
    return s.len >= 1 && s.len <= 15 && s.data[0] != '.' && !has_any(s, "\\/:*?\"<>|");
}

/* ^(?!\.)[A-Za-z0-9\-\.]+(?<!\.)$, without two dots in a row. */
static bool is_dns_domain(struct str s)
{
    bool good = !str_empty(s) && s.data[0] != '.' && s.data[s.len - 1] != '.';
    for (size_t i = 0; i < s.len; i++)
        good = good && (isalnum((unsigned char)s.data[i]) || s.data[i] == '-' || s.data[i] == '.');
    return good && str_find_str(s, STR("..")) < 0;
}

static void check_user(struct field_errors *errs, const struct field_path *path, struct str name)
{
    struct str domain = STR_NULL, user = name, more;
    bool has_domain = str_cut(name, '\\', &domain, &user), control = false, blank = true;
    for (size_t i = 0; i < name.len; i++)
        control = control || iscntrl((unsigned char)name.data[i]);
    if (!has_domain)
        user = name;
    for (size_t i = 0; i < user.len; i++)
        blank = blank && (user.data[i] == '.' || user.data[i] == ' ');
    if (str_empty(name)) {
        field_invalid(errs, path, name, "runAsUserName cannot be an empty string");
        return;
    }
    if (control) {
        field_invalid(errs, path, name, "runAsUserName cannot contain control characters");
        return;
    }
    if (has_domain && str_cut(user, '\\', &more, &more)) {
        field_invalid(errs, path, name, "runAsUserName cannot contain more than one backslash");
        return;
    }
    if (has_domain && domain.len >= DOMAIN_MAX)
        field_invalid(errs, path, name, "runAsUserName's Domain length must be under %u characters",
                      DOMAIN_MAX);
    if (has_domain && !is_netbios(domain) && !is_dns_domain(domain))
        field_invalid(errs, path, name,
                      "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    if (str_empty(user))
        field_invalid(errs, path, name, "runAsUserName's User cannot be empty");
    else if (user.len > USER_MAX)
        field_invalid(errs, path, name,
                      "runAsUserName's User length must not be longer than %u characters",
                      USER_MAX);
    if (!str_empty(user) && blank)
        field_invalid(errs, path, name,
                      "runAsUserName's User cannot contain only periods or spaces");
    if (has_any(user, "\"/\\:;|=,+*?<>@[]"))
        field_invalid(errs, path, name,
                      "runAsUserName's User cannot contain the following characters: "
                      "\"/\\:;|=,+*?<>@[]");
}

void check_windows_options(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_windows_security_context_options *w)
{
    if (w == NULL)
        return;
    if (w->has_gmsa_credential_spec_name)
        validate_form(errs, PATH(path, "gmsaCredentialSpecName"), w->gmsa_credential_spec_name,
                      api_check_dns_subdomain);
    if (w->has_gmsa_credential_spec) {
        const struct field_path *at = PATH(path, "gmsaCredentialSpec");
        if (str_empty(w->gmsa_credential_spec))
            field_invalid(errs, at, w->gmsa_credential_spec,
                          "gmsaCredentialSpec cannot be an empty string");
        else if (w->gmsa_credential_spec.len > CREDENTIAL_KIB_MAX * 1024)
            field_invalid(errs, at, w->gmsa_credential_spec,
                          "gmsaCredentialSpec size must be under %u KiB", CREDENTIAL_KIB_MAX);
    }
    if (w->has_run_as_user_name)
        check_user(errs, PATH(path, "runAsUserName"), w->run_as_user_name);
}

/* --- containers that are processes of the host ---------------------------------------------- */

struct host_process {
    bool pod_has, pod;
    size_t containers, processes;
};

static void count_process(struct pod_check *k, const struct field_path *at,
                          const struct core_v1_container *c, struct host_process *h)
{
    const struct core_v1_windows_security_context_options *w =
        c->security_context != NULL ? c->security_context->windows_options : NULL;
    bool has = w != NULL && w->has_host_process;
    h->containers++;
    if (has && h->pod_has && w->host_process != h->pod)
        field_invalid_bool(k->errs,
                           PATH(PATH(PATH(at, "securityContext"), "windowsOptions"), "hostProcess"),
                           w->host_process,
                           "pod hostProcess value must be identical if both are specified, was %s",
                           h->pod ? "true" : "false");
    if (has ? w->host_process : h->pod_has && h->pod)
        h->processes++;
}

void check_host_process(struct pod_check *k, const struct field_path *spec)
{
    const struct core_v1_pod_spec *s = k->spec;
    const struct core_v1_windows_security_context_options *w =
        s->security_context != NULL ? s->security_context->windows_options : NULL;
    struct host_process h = {.pod_has = w != NULL && w->has_host_process,
                             .pod = w != NULL && w->host_process};
    for (size_t i = 0; i < s->init_containers_count; i++)
        count_process(k, PATH_INDEX(PATH(spec, "initContainers"), i), &s->init_containers[i], &h);
    for (size_t i = 0; i < s->containers_count; i++)
        count_process(k, PATH_INDEX(PATH(spec, "containers"), i), &s->containers[i], &h);
    if (h.processes == 0)
        return;
    if (h.processes != h.containers)
        field_invalid(k->errs, spec, STR(""),
                      "If pod contains any hostProcess containers then all containers must be "
                      "HostProcess containers");
    if (!s->host_network)
        field_invalid_bool(k->errs, PATH(spec, "hostNetwork"), false,
                           "hostNetwork must be true if pod contains any hostProcess containers");
}
