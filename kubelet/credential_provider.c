/* credential_provider.c - see credential_provider.h. */
#include "kubelet/credential_provider.h"

#include "kubelet/exec_uv.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

#include <errno.h>
#include <unistd.h>
#include <uv.h>

#define CONFIG_BYTES_MAX (1u << 20)
#define OUTPUT_BYTES_MAX (1u << 20)
#define TIMEOUT_MS 60000u /* As upstream's. */
#define API_VERSION "credentialprovider.kubelet.k8s.io/v1"

extern char **environ;

struct provider {
    const char *name, *path;
    struct str *patterns;
    size_t pattern_count;
    int64_t cache_ns; /* Where a response says nothing. */
    char **args, **env;
};

/* What a provider answered, under what it is for. */
struct cached {
    char *auth; /* JSON of the auth map. */
    uint64_t until_ms;
};

struct credential_providers {
    struct uv_loop_s *loop;
    struct arena *arena;
    struct provider *items;
    size_t count;
    struct map cache; /* "<provider> <image, registry or nothing>" -> struct cached */
};

/* --- configuration ------------------------------------------------------------------- */

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
    if (!str_eqc(version, API_VERSION))
        return error_set(err, E_INVALID, "%s: apiVersion must be " API_VERSION, p->name);
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

/* --- asking --------------------------------------------------------------------------- */

struct question {
    struct credential_providers *p;
    size_t next;
    struct arena *arena;
    struct str image;
    struct pull_auth_list *list;
    void (*done)(void *arg);
    void *arg;
};

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static struct str cache_key(const struct question *q, const struct provider *p, const char *type)
{
    struct str what = strcmp(type, "Image") == 0      ? q->image
                      : strcmp(type, "Registry") == 0 ? image_registry(q->image)
                                                      : STR("");
    return arena_printf(q->arena, "%s %s " STR_FMT, p->name, type, STR_ARG(what));
}

static bool take_cached(struct question *q, const struct provider *p)
{
    static const char *const types[] = {"Image", "Registry", "Global"};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct str key = cache_key(q, p, types[i]);
        struct cached *c = map_get(&q->p->cache, key);
        if (c != NULL && c->until_ms > now_ms()) {
            pull_auths_add(q->arena, q->list, arena_str(q->arena, str_of(c->auth)), q->image);
            return true;
        }
        if (c != NULL) {
            map_remove(&q->p->cache, key);
            free(c->auth);
            free(c);
        }
    }
    return false;
}

static const char *take_response(struct question *q, const struct provider *p, struct str output)
{
    struct json *j = NULL;
    if (json_parse(q->arena, arena_str(q->arena, output), &j, NULL) != 0 ||
        !str_eqc(json_get_str(j, "kind"), "CredentialProviderResponse") ||
        !str_eqc(json_get_str(j, "apiVersion"), API_VERSION))
        return "its output is no CredentialProviderResponse of " API_VERSION;
    const char *type = str_c(arena_str(q->arena, json_get_str(j, "cacheKeyType")));
    if (strcmp(type, "Image") != 0 && strcmp(type, "Registry") != 0 && strcmp(type, "Global") != 0)
        return "cacheKeyType is neither Image, Registry nor Global";
    struct str text = json_get_str(j, "cacheDuration");
    int64_t ns = p->cache_ns;
    if (!str_empty(text) && (duration_parse(text, &ns) != 0 || ns < 0))
        return "cacheDuration is no duration";
    const struct json *auth = json_getc(j, "auth");
    AUTO_BUF b = BUF_INIT;
    if (auth != NULL)
        json_write(auth, false, &b);
    if (b.len == 0)
        buf_puts(&b, "{}");
    pull_auths_add(q->arena, q->list, arena_str(q->arena, buf_str(&b)), q->image);
    if (ns == 0)
        return NULL;
    struct cached *c = xzalloc(sizeof(*c));
    c->auth = xstrndup((const char *)b.data, b.len);
    c->until_ms = now_ms() + (uint64_t)ns / 1000000;
    struct cached *old = map_set(&q->p->cache, cache_key(q, p, type), c);
    if (old != NULL)
        free(old->auth);
    free(old);
    return NULL;
}

static void ask_next(struct question *q);

static void on_answer(const char *why, struct str output, void *arg)
{
    struct question *q = arg;
    const struct provider *p = &q->p->items[q->next++];
    if (why == NULL)
        why = take_response(q, p, output);
    if (why != NULL)
        log_warning("credential provider %s, for image " STR_FMT ": %s", p->name, STR_ARG(q->image),
                    why);
    ask_next(q);
}

static bool serves(struct question *q, const struct provider *p)
{
    for (size_t i = 0; i < p->pattern_count; i++)
        if (image_matches(q->arena, p->patterns[i], q->image))
            return true;
    return false;
}

static void ask_next(struct question *q)
{
    while (q->next < q->p->count &&
           (!serves(q, &q->p->items[q->next]) || take_cached(q, &q->p->items[q->next])))
        q->next++;
    if (q->next == q->p->count) {
        void (*done)(void *) = q->done;
        void *arg = q->arg;
        free(q);
        done(arg);
        return;
    }
    const struct provider *p = &q->p->items[q->next];
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"" API_VERSION
                 "\",\"image\":");
    json_write_string(q->image, &b);
    buf_puts(&b, "}\n");
    struct exec_config config = {.path = p->path,
                                 .args = p->args,
                                 .env = p->env,
                                 .input = buf_str(&b),
                                 .timeout_ms = TIMEOUT_MS,
                                 .output_max = OUTPUT_BYTES_MAX,
                                 .done = on_answer,
                                 .arg = q};
    exec_run(q->p->loop, &config);
}

void credential_providers_ask(struct credential_providers *p, struct arena *a, struct str image,
                              struct pull_auth_list *list, void (*done)(void *arg), void *arg)
{
    if (p == NULL) {
        done(arg);
        return;
    }
    struct question *q = xzalloc(sizeof(*q));
    *q = (struct question){
        .p = p, .arena = a, .image = image, .list = list, .done = done, .arg = arg};
    ask_next(q);
}
