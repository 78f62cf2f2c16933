/* credential_config.c - reads a CredentialProviderConfig; see credential_provider.h. */
#include "kubelet/credential_provider_internal.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include <errno.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX (1u << 20)

extern char **environ;

/* Each member is one of these; names ends with NULL. */
static int check_members(const struct json *j, const char *const *names, struct error *err)
{
    if (j->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "want an object, found the %s", json_type_name(j));
    for (size_t i = 0; i < j->object.count; i++) {
        const char *const *n = names;
        while (*n != NULL && !str_eqc(j->object.members[i].key, *n))
            n++;
        if (*n == NULL)
            return error_set(err, E_INVALID, STR_FMT ": unknown field",
                             STR_ARG(j->object.members[i].key));
    }
    return 0;
}

/* The list of this name; NULL without one. */
static int list_of(const struct json *j, const char *name, const struct json **ret,
                   struct error *err)
{
    *ret = json_getc(j, name);
    if (*ret != NULL && (*ret)->type == JSON_NULL)
        *ret = NULL;
    return *ret == NULL || (*ret)->type == JSON_ARRAY
               ? 0
               : error_set(err, E_INVALID, "%s: want a list, found the %s", name,
                           json_type_name(*ret));
}

static int load_args(struct arena *a, const struct json *args, struct provider *p,
                     struct error *err)
{
    size_t n = args != NULL ? args->array.count : 0;
    p->args = ARENA_ARRAY(a, char *, n + 2);
    p->args[0] = arena_strdup(a, p->path);
    for (size_t i = 0; i < n; i++) {
        if (args->array.items[i]->type != JSON_STRING)
            return error_set(err, E_INVALID, "args[%zu] must be a string", i);
        p->args[i + 1] = arena_strdup(a, str_c(arena_str(a, args->array.items[i]->string)));
    }
    return 0;
}

/* Variables of the configuration take the place of the agent's own. */
static void load_inherited(struct arena *a, struct provider *p, size_t own)
{
    size_t count = own;
    for (char **e = environ; *e != NULL; e++) {
        const char *sign = strchr(*e, '=');
        size_t len = sign != NULL ? (size_t)(sign - *e) + 1 : strlen(*e);
        bool replaced = false;
        for (size_t i = 0; i < own; i++)
            replaced = replaced || strncmp(p->env[i], *e, len) == 0;
        if (!replaced)
            p->env[count++] = arena_strdup(a, *e);
    }
}

static int load_env(struct arena *a, const struct json *env, struct provider *p, struct error *err)
{
    static const char *const names[] = {"name", "value", NULL};
    size_t n = env != NULL ? env->array.count : 0, inherited = 0;
    while (environ[inherited] != NULL)
        inherited++;
    p->env = ARENA_ARRAY(a, char *, inherited + n + 1);
    for (size_t i = 0; i < n; i++) {
        const struct json *item = env->array.items[i];
        if (check_members(item, names, err) != 0)
            return error_prefix(err, "env[%zu]", i);
        struct str name = json_get_str(item, "name"), value = json_get_str(item, "value");
        if (str_empty(name))
            return error_set(err, E_INVALID, "env[%zu].name is missing", i);
        if (json_getc(item, "value") != NULL && json_getc(item, "value")->type != JSON_STRING)
            return error_set(err, E_INVALID, "env[%zu].value must be a string", i);
        p->env[i] = arena_strdup(
            a, str_c(arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value))));
    }
    load_inherited(a, p, n);
    return 0;
}

static int load_one(struct arena *a, const struct json *j, const char *bin_dir, struct provider *p,
                    struct error *err)
{
    struct str name = json_get_str(j, "name"), version = json_get_str(j, "apiVersion"),
               duration = json_get_str(j, "defaultCacheDuration");
    static const char *const names[] = {"name", "matchImages", "defaultCacheDuration", "apiVersion",
                                        "args", "env",         "tokenAttributes",      NULL};
    const struct json *images, *args, *env;
    if (str_empty(name) || str_find(name, '/', 0) >= 0 || str_eqc(name, "..") || str_eqc(name, "."))
        return error_set(err, E_INVALID, "name must be the name of a program in %s", bin_dir);
    p->name = str_c(arena_str(a, name));
    list_init(&p->running);
    list_init(&p->waiting);
    if (!str_eqc(version, CREDENTIAL_API_VERSION))
        return error_set(err, E_INVALID, "%s: apiVersion must be " CREDENTIAL_API_VERSION, p->name);
    if (check_members(j, names, err) != 0 || list_of(j, "matchImages", &images, err) != 0 ||
        list_of(j, "args", &args, err) != 0 || list_of(j, "env", &env, err) != 0)
        return error_prefix(err, "%s", p->name);
    if (images == NULL || images->array.count == 0)
        return error_set(err, E_INVALID, "%s: matchImages must name at least one image", p->name);
    if (duration_parse(duration, &p->cache_ns) != 0 || p->cache_ns < 0)
        return error_set(err, E_INVALID, "%s: defaultCacheDuration must be a duration like 10m",
                         p->name);
    if (json_getc(j, "tokenAttributes") != NULL)
        return error_set(err, E_INVALID,
                         "%s: tokenAttributes: this node gives providers no tokens of service "
                         "accounts",
                         p->name);
    p->path = str_c(arena_printf(a, "%s/%s", bin_dir, p->name));
    if (access(p->path, X_OK) != 0)
        return error_set_errno(err, E_INVALID, errno, "%s", p->path);
    p->patterns = ARENA_ARRAY(a, struct str, images->array.count);
    for (size_t i = 0; i < images->array.count; i++) {
        if (images->array.items[i]->type != JSON_STRING)
            return error_set(err, E_INVALID, "%s: matchImages[%zu] must be a string", p->name, i);
        p->patterns[p->pattern_count++] = images->array.items[i]->string;
    }
    int rc = load_args(a, args, p, err);
    if (rc == 0)
        rc = load_env(a, env, p, err);
    return rc == 0 ? 0 : error_prefix(err, "%s", p->name);
}

static int check_kind(const struct json *j, const struct json **ret_providers, struct error *err)
{
    static const char *const names[] = {"apiVersion", "kind", "providers", NULL};
    struct str version = json_get_str(j, "apiVersion");
    if (!str_eqc(json_get_str(j, "kind"), "CredentialProviderConfig"))
        return error_set(err, E_INVALID, "kind is not CredentialProviderConfig");
    if (!str_eqc(version, "kubelet.config.k8s.io/v1") &&
        !str_eqc(version, "kubelet.config.k8s.io/v1beta1") &&
        !str_eqc(version, "kubelet.config.k8s.io/v1alpha1"))
        return error_set(err, E_INVALID,
                         "apiVersion: want kubelet.config.k8s.io/v1, found \"" STR_FMT "\"",
                         STR_ARG(version));
    const struct json *list = NULL;
    int rc = check_members(j, names, err);
    if (rc == 0)
        rc = list_of(j, "providers", &list, err);
    if (rc != 0)
        return rc;
    if (list == NULL || list->array.count == 0)
        return error_set(err, E_INVALID, "providers must name at least one");
    *ret_providers = list;
    return 0;
}

static int load_all(struct arena *a, const struct json *list, const char *bin_dir,
                    struct credential_providers *p, struct error *err)
{
    ASSERT(list != NULL);
    p->items = ARENA_ARRAY(a, struct provider, list->array.count);
    for (size_t i = 0; i < list->array.count; i++) {
        int rc = load_one(a, list->array.items[i], bin_dir, &p->items[p->count++], err);
        if (rc != 0)
            return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(p->items[k].name, p->items[i].name) == 0)
                return error_set(err, E_INVALID, "%s: there are two providers of this name",
                                 p->items[i].name);
    }
    return 0;
}

int credential_providers_load(struct uv_loop_s *loop, const char *config_file, const char *bin_dir,
                              struct credential_providers **ret, struct error *err)
{
    struct arena *a = arena_new(0);
    AUTO_BUF text = BUF_INIT;
    struct json *j = NULL;
    size_t used;
    int rc = file_read(config_file, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0)
        rc = api_yaml_parse_strict(a, arena_str(a, buf_str(&text)), &used, &j, err);
    const struct json *list = NULL;
    if (rc == 0)
        rc = check_kind(j, &list, err);
    struct credential_providers *p = xzalloc(sizeof(*p));
    if (rc == 0)
        rc = load_all(a, list, bin_dir, p, err);
    if (rc != 0) {
        arena_free(a);
        free(p);
        return error_prefix(err, "--image-credential-provider-config %s", config_file);
    }
    p->loop = loop;
    p->arena = a;
    map_init(&p->cache);
    *ret = p;
    return 0;
}
