/* authz_config.c - see authz_config.h. */
#include "apiserver/authz_config.h"

#include "apiserver/config_file.h"
#include "apiserver/hook.h"
#include "lib/api/json.h"
#include "lib/api/names.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#define ALLOWED_TTL_MS (5 * 60 * 1000)
#define REFUSED_TTL_MS (30 * 1000)
#define TIMEOUT_MAX_MS 30000
#define CONDITIONS_MAX 64u
#define NS_PER_MS 1000000

static const char *const types[] = {"AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL};

static bool is_one_of(struct str s, const char *const *list)
{
    while (*list != NULL && !str_eqc(s, *list))
        list++;
    return *list != NULL;
}

static struct authz_list *list_new(void)
{
    struct authz_list *l = xzalloc(sizeof(*l));
    l->arena = arena_new(0);
    return l;
}

void authz_list_free(struct authz_list *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->count; i++)
        authz_webhook_unref(l->items[i].webhook);
    arena_free(l->arena);
    free(l);
}

static bool has_type(const struct authz_list *l, struct str type)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i].type, type))
            return true;
    return false;
}

/* --- flags --------------------------------------------------------------------------------------
 */
static int webhook_of_flags(const struct authz_flags *f, struct authz_webhook **ret,
                            struct error *err)
{
    struct hook *h;
    if (f->webhook_file == NULL)
        return error_set(err, E_INVALID,
                         "--authorization-mode=Webhook needs --authorization-webhook-config-file");
    bool v1 = strcmp(f->webhook_version, "v1") == 0;
    if (!v1 && strcmp(f->webhook_version, "v1beta1") != 0)
        return error_set(err, E_INVALID,
                         "--authorization-webhook-version: \"%s\" is not one of v1, v1beta1",
                         f->webhook_version);
    if (f->allowed_ttl_ns < 0 || f->refused_ttl_ns < 0)
        return error_set(err, E_INVALID,
                         "--authorization-webhook-cache-authorized-ttl and -unauthorized-ttl: "
                         "must not be negative");
    int code = hook_load("--authorization-webhook-config-file", f->webhook_file, &h, err);
    if (code != 0)
        return code;
    *ret = authz_webhook_new(
        &(struct authz_webhook_config){.name = STR("webhook"),
                                       .timeout_ms = TIMEOUT_MAX_MS,
                                       .allowed_ttl_ms = f->allowed_ttl_ns / NS_PER_MS,
                                       .refused_ttl_ms = f->refused_ttl_ns / NS_PER_MS,
                                       .v1beta1 = !v1},
        h);
    return 0;
}

static int add_mode(struct authz_list *l, const struct authz_flags *f, struct str type,
                    struct error *err)
{
    if (!is_one_of(type, types))
        return error_set(err, E_INVALID,
                         "--authorization-mode: \"" STR_FMT
                         "\" is not one of Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny",
                         STR_ARG(type));
    if (has_type(l, type))
        return error_set(err, E_INVALID,
                         "--authorization-mode: \"" STR_FMT "\" is given more than once",
                         STR_ARG(type));
    struct authz_entry *e = &l->items[l->count];
    if (str_eqc(type, "Webhook")) {
        int code = webhook_of_flags(f, &e->webhook, err);
        if (code != 0)
            return code;
    }
    e->type = arena_str(l->arena, type);
    e->name = e->type;
    l->count++;
    return 0;
}

int authz_list_of_flags(const struct authz_flags *f, struct authz_list **ret, struct error *err)
{
    struct authz_list *l = list_new();
    struct str rest = str_of(f->modes), part;
    int code = 0;
    for (bool more = true; more && code == 0;) {
        more = str_cut(rest, ',', &part, &rest);
        code = add_mode(l, f, str_trim(part), err);
    }
    if (code == 0 && f->webhook_file != NULL && !has_type(l, STR("Webhook")))
        code = error_set(err, E_INVALID,
                         "--authorization-webhook-config-file needs --authorization-mode to list "
                         "Webhook");
    if (code != 0)
        authz_list_free(l);
    else
        *ret = l;
    return code;
}

/* --- a file --------------------------------------------------------------------------------------
 */
struct reader {
    struct field_errors errs;
    struct authz_list *list;
};

static void read_conditions(struct reader *r, const struct field_path *at, const struct json *j,
                            struct authz_webhook_config *c)
{
    static const char *const known[] = {"expression", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *path = PATH(at, "matchConditions");
    size_t n;
    const struct json *list = config_list(errs, at, j, "matchConditions", &n);
    if (n > CONDITIONS_MAX) {
        field_too_many(errs, path, (int64_t)n, CONDITIONS_MAX);
        return;
    }
    c->conditions = ARENA_ARRAY(errs->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct field_path *item = PATH_INDEX(path, i);
        const struct json *m = config_item(errs, path, list, i);
        struct str why;
        config_known(errs, item, m, known);
        struct str text = config_str(errs, item, m, "expression", NULL);
        if (str_trim(text).len == 0)
            field_required(errs, PATH(item, "expression"), NULL);
        else if (!authz_webhook_check_condition(errs->arena, text, &why))
            field_invalid(errs, PATH(item, "expression"), text, STR_FMT, STR_ARG(why));
        else
            c->conditions[c->condition_count++] = text;
    }
}

static struct hook *read_connection(struct reader *r, const struct field_path *webhook,
                                    const struct json *j)
{
    static const char *const known[] = {"type", "kubeConfigFile", NULL};
    static const char *const kinds[] = {"InClusterConfig", "KubeConfigFile", NULL};
    struct field_errors *errs = &r->errs;
    const struct field_path *at = PATH(webhook, "connectionInfo");
    const struct json *c = config_object(errs, webhook, j, "connectionInfo");
    struct hook *h = NULL;
    struct error err = {0};
    bool given;
    config_known(errs, at, c, known);
    struct str type = config_str(errs, at, c, "type", NULL);
    struct str file = config_str(errs, at, c, "kubeConfigFile", &given);
    if (type.len == 0) {
        field_required(errs, PATH(at, "type"), NULL);
    } else if (!is_one_of(type, kinds)) {
        field_not_supported(errs, PATH(at, "type"), type, kinds);
    } else if (str_eqc(type, "InClusterConfig")) {
        field_invalid(errs, PATH(at, "type"), type,
                      "this server runs outside of the cluster: want KubeConfigFile");
    } else if (file.len == 0) {
        field_required(errs, PATH(at, "kubeConfigFile"), NULL);
    } else if (file.data[0] != '/') {
        field_invalid(errs, PATH(at, "kubeConfigFile"), file, "must be an absolute path");
    } else if (hook_load("kubeConfigFile", arena_str(errs->arena, file).data, &h, &err) != 0) {
        field_invalid(errs, PATH(at, "kubeConfigFile"), file, "%s", error_message(&err));
        h = NULL;
    }
    return h;
}

static int64_t read_ttl(struct reader *r, const struct field_path *at, const struct json *j,
                        const char *name, const char *cache_name, int64_t fallback_ms)
{
    bool given;
    int64_t ttl = config_duration(&r->errs, at, j, name, fallback_ms, &given);
    if (given && ttl <= 0)
        field_invalid(&r->errs, PATH(at, name), json_get_str(j, name), "must be > 0s");
    return config_bool(&r->errs, at, j, cache_name, true) ? ttl : 0;
}

static bool version_is(struct reader *r, const struct field_path *at, const struct json *j,
                       const char *name, const char *const *supported, struct str *ret)
{
    *ret = config_str(&r->errs, at, j, name, NULL);
    if (ret->len == 0)
        field_required(&r->errs, PATH(at, name), NULL);
    else if (!is_one_of(*ret, supported))
        field_not_supported(&r->errs, PATH(at, name), *ret, supported);
    else
        return true;
    return false;
}

static struct authz_webhook *read_webhook(struct reader *r, const struct field_path *at,
                                          const struct json *j, struct str name)
{
    static const char *const known[] = {"authorizedTTL",
                                        "cacheAuthorizedRequests",
                                        "unauthorizedTTL",
                                        "cacheUnauthorizedRequests",
                                        "timeout",
                                        "subjectAccessReviewVersion",
                                        "matchConditionSubjectAccessReviewVersion",
                                        "failurePolicy",
                                        "connectionInfo",
                                        "matchConditions",
                                        NULL};
    static const char *const versions[] = {"v1", "v1beta1", NULL};
    static const char *const condition_versions[] = {"v1", NULL};
    static const char *const policies[] = {"Deny", "NoOpinion", NULL};
    struct field_errors *errs = &r->errs;
    struct authz_webhook_config c = {.name = name};
    struct str version, policy, ignored;
    bool given;
    config_known(errs, at, j, known);
    c.allowed_ttl_ms =
        read_ttl(r, at, j, "authorizedTTL", "cacheAuthorizedRequests", ALLOWED_TTL_MS);
    c.refused_ttl_ms =
        read_ttl(r, at, j, "unauthorizedTTL", "cacheUnauthorizedRequests", REFUSED_TTL_MS);
    c.timeout_ms = config_duration(errs, at, j, "timeout", 0, &given);
    if (!given)
        field_required(errs, PATH(at, "timeout"), NULL);
    else if (c.timeout_ms <= 0 || c.timeout_ms > TIMEOUT_MAX_MS)
        field_invalid(errs, PATH(at, "timeout"), json_get_str(j, "timeout"),
                      "must be > 0s and <= 30s");
    if (version_is(r, at, j, "subjectAccessReviewVersion", versions, &version))
        c.v1beta1 = str_eqc(version, "v1beta1");
    if (version_is(r, at, j, "failurePolicy", policies, &policy))
        c.deny_on_error = str_eqc(policy, "Deny");
    read_conditions(r, at, j, &c);
    if (c.condition_count != 0 || json_getc(j, "matchConditionSubjectAccessReviewVersion") != NULL)
        version_is(r, at, j, "matchConditionSubjectAccessReviewVersion", condition_versions,
                   &ignored);
    struct hook *h = read_connection(r, at, j);
    if (errs->count != 0) {
        hook_unref(h);
        return NULL;
    }
    return authz_webhook_new(&c, h);
}

static void read_name(struct reader *r, const struct field_path *at, const struct json *j,
                      struct str *ret)
{
    *ret = config_str(&r->errs, at, j, "name", NULL);
    if (ret->len == 0)
        field_required(&r->errs, PATH(at, "name"), NULL);
    else if (api_check_dns_subdomain(*ret).count != 0)
        field_invalid(&r->errs, PATH(at, "name"), *ret,
                      "must be a DNS subdomain, such as "
                      "my-webhook.example.com");
    for (size_t i = 0; ret->len != 0 && i < r->list->count; i++)
        if (str_eq(r->list->items[i].name, *ret))
            field_duplicate(&r->errs, PATH(at, "name"), *ret);
}

static void read_authorizer(struct reader *r, const struct field_path *at, const struct json *j)
{
    static const char *const known[] = {"type", "name", "webhook", NULL};
    struct field_errors *errs = &r->errs;
    struct authz_entry *e = &r->list->items[r->list->count];
    struct str name;
    config_known(errs, at, j, known);
    struct str type = config_str(errs, at, j, "type", NULL);
    read_name(r, at, j, &name);
    const struct json *webhook = config_object(errs, at, j, "webhook");
    if (type.len == 0) {
        field_required(errs, PATH(at, "type"), NULL);
    } else if (!is_one_of(type, types)) {
        field_not_supported(errs, PATH(at, "type"), type, types);
    } else if (!str_eqc(type, "Webhook")) {
        if (has_type(r->list, type))
            field_duplicate(errs, PATH(at, "type"), type);
        if (webhook != NULL)
            field_invalid_raw(errs, PATH(at, "webhook"), STR("value"),
                              "may only be specified when type=Webhook");
    } else if (webhook == NULL) {
        field_required(errs, PATH(at, "webhook"), "required when type=Webhook");
    } else {
        e->webhook = read_webhook(r, PATH(at, "webhook"), webhook, name);
    }
    e->type = arena_str(r->list->arena, type);
    e->name = arena_str(r->list->arena, name);
    r->list->count++;
}

int authz_list_parse(struct str text, struct authz_list **ret, struct error *err)
{
    static const char *const versions[] = {"v1", "v1beta1", "v1alpha1", NULL};
    static const char *const known[] = {"apiVersion", "kind", "authorizers", NULL};
    AUTO_ARENA *a = arena_new(0);
    struct reader r = {.errs.arena = a};
    struct json *j;
    size_t n;
    int code = config_parse(a, text, "AuthorizationConfiguration", versions, &j, err);
    if (code != 0)
        return code;
    r.list = list_new();
    config_known(&r.errs, PATH_ROOT, j, known);
    const struct field_path *at = PATH(PATH_ROOT, "authorizers");
    const struct json *list = config_list(&r.errs, PATH_ROOT, j, "authorizers", &n);
    if (n == 0)
        field_required(&r.errs, at, "at least one authorization mode must be defined");
    if (n > AUTHORIZERS_MAX)
        field_too_many(&r.errs, at, (int64_t)n, AUTHORIZERS_MAX);
    for (size_t i = 0; i < n && n <= AUTHORIZERS_MAX; i++)
        read_authorizer(&r, PATH_INDEX(at, i), config_item(&r.errs, at, list, i));
    code = config_result(&r.errs, err);
    if (code != 0)
        authz_list_free(r.list);
    else
        *ret = r.list;
    return code;
}
