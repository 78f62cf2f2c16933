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

static int load_args(struct arena *a, const struct json *j, struct provider *p, struct error *err)
{
    const struct json *args = json_getc(j, "args"), *env = json_getc(j, "env");
    size_t n = args != NULL && args->type == JSON_ARRAY ? args->array.count : 0, kept = 0;
    p->args = ARENA_ARRAY(a, char *, n + 2);
    p->args[0] = arena_strdup(a, p->path);
    for (size_t i = 0; i < n; i++)
        if (args->array.items[i]->type != JSON_STRING)
            return error_set(err, E_INVALID, "args[%zu] must be a string", i);
    for (size_t i = 0; i < n; i++)
        p->args[i + 1] = arena_strdup(a, str_c(arena_str(a, args->array.items[i]->string)));
    n = env != NULL && env->type == JSON_ARRAY ? env->array.count : 0;
    while (environ[kept] != NULL)
        kept++;
    p->env = ARENA_ARRAY(a, char *, kept + n + 1);
    for (size_t i = 0; i < kept; i++)
        p->env[i] = arena_strdup(a, environ[i]);
    for (size_t i = 0; i < n; i++) {
        struct str name = json_get_str(env->array.items[i], "name");
        if (str_empty(name))
            return error_set(err, E_INVALID, "env[%zu].name is missing", i);
        struct str value = json_get_str(env->array.items[i], "value");
        p->env[kept + i] = arena_strdup(
            a, str_c(arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value))));
    }
    return 0;
}

static int load_one(struct arena *a, const struct json *j, const char *bin_dir, struct provider *p,
                    struct error *err)
{
    struct str name = json_get_str(j, "name"), version = json_get_str(j, "apiVersion"),
               duration = json_get_str(j, "defaultCacheDuration");
    const struct json *images = json_getc(j, "matchImages");
    if (str_empty(name) || str_find(name, '/', 0) >= 0 || str_eqc(name, "..") || str_eqc(name, "."))
        return error_set(err, E_INVALID, "name must be the name of a program in %s", bin_dir);
    p->name = str_c(arena_str(a, name));
    list_init(&p->running);
    list_init(&p->waiting);
    if (!str_eqc(version, CREDENTIAL_API_VERSION))
        return error_set(err, E_INVALID, "%s: apiVersion must be " CREDENTIAL_API_VERSION, p->name);
    if (images == NULL || images->type != JSON_ARRAY || images->array.count == 0)
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
    int rc = load_args(a, j, p, err);
    return rc == 0 ? 0 : error_prefix(err, "%s", p->name);
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
        rc = api_yaml_parse(a, arena_str(a, buf_str(&text)), &used, &j, err);
    if (rc == 0 && !str_eqc(json_get_str(j, "kind"), "CredentialProviderConfig"))
        rc = error_set(err, E_INVALID, "kind is not CredentialProviderConfig");
    const struct json *list = rc == 0 ? json_getc(j, "providers") : NULL;
    if (rc == 0 && (list == NULL || list->type != JSON_ARRAY || list->array.count == 0))
        rc = error_set(err, E_INVALID, "providers must name at least one");
    struct credential_providers *p = xzalloc(sizeof(*p));
    if (rc == 0)
        p->items = ARENA_ARRAY(a, struct provider, list->array.count);
    for (size_t i = 0; rc == 0 && i < list->array.count; i++)
        rc = load_one(a, list->array.items[i], bin_dir, &p->items[p->count++], err);
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
