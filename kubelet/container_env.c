/* container_env.c - see container_env.h. */
#include "kubelet/container_env.h"

#include "kubelet/env_file.h"
#include "kubelet/pod_sources.h"

#include "lib/base/arena.h"

#include "api/core_v1.h"

#include <ctype.h>

/* "my-svc" -> "MY_SVC" */
static const char *env_name(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        out[i] = s.data[i] == '-' ? '_' : (char)toupper((unsigned char)s.data[i]);
    out[s.len] = '\0';
    return out;
}

#define PUT(name_fmt, name_args, ...)                                                              \
    env_list_set(a, l, arena_printf(a, name_fmt, name_args), arena_printf(a, __VA_ARGS__))

static void add_port(struct arena *a, struct env_list *l, const char *prefix, const char *host,
                     const char *url_host, const struct core_v1_service_port *p)
{
    const char *upper = str_empty(p->protocol) ? "TCP" : env_name(a, p->protocol);
    char *lower = arena_strdup(a, upper);
    for (char *c = lower; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *base = str_c(arena_printf(a, "%s_PORT_%d_%s", prefix, p->port, upper));
    PUT("%s", base, "%s://%s:%d", lower, url_host, p->port);
    PUT("%s_PROTO", base, "%s", lower);
    PUT("%s_PORT", base, "%d", p->port);
    PUT("%s_ADDR", base, "%s", host);
}

void env_add_service(struct arena *a, struct env_list *l, const struct core_v1_service *s)
{
    if (str_empty(s->spec.cluster_ip) || str_eqc(s->spec.cluster_ip, "None") ||
        s->spec.ports_count == 0)
        return;
    const char *prefix = env_name(a, s->metadata.name);
    const char *host = str_c(arena_str(a, s->spec.cluster_ip));
    const char *url_host = strchr(host, ':') != NULL ? str_c(arena_printf(a, "[%s]", host)) : host;
    const struct core_v1_service_port *first = &s->spec.ports[0];
    PUT("%s_SERVICE_HOST", prefix, "%s", host);
    PUT("%s_SERVICE_PORT", prefix, "%d", first->port);
    for (size_t i = 0; i < s->spec.ports_count; i++) {
        const struct core_v1_service_port *p = &s->spec.ports[i];
        if (!str_empty(p->name)) {
            const char *name = env_name(a, p->name);
            env_list_set(a, l, arena_printf(a, "%s_SERVICE_PORT_%s", prefix, name),
                         arena_printf(a, "%d", p->port));
        }
    }
    const char *protocol = str_empty(first->protocol) ? "TCP" : str_c(first->protocol);
    char *lower = arena_strdup(a, protocol);
    for (char *c = lower; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    PUT("%s_PORT", prefix, "%s://%s:%d", lower, url_host, first->port);
    for (size_t i = 0; i < s->spec.ports_count; i++)
        add_port(a, l, prefix, host, url_host, &s->spec.ports[i]);
}

/* A name that may be a variable: anything printable but '='. */
static bool valid_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '=' || s.data[i] < 0x20 || s.data[i] == 0x7f)
            return false;
    }
    return s.len > 0;
}

static void add_map(struct arena *a, struct env_list *l, struct str prefix,
                    const struct api_str_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct str name = str_empty(prefix) ? e[i].key
                                            : arena_printf(a, STR_FMT STR_FMT, STR_ARG(prefix),
                                                           STR_ARG(e[i].key));
        if (valid_name(name))
            env_list_set(a, l, name, e[i].value);
    }
}

static int add_env_from(struct arena *a, struct env_list *l,
                        const struct core_v1_env_from_source *f, const struct source_set *sources,
                        struct error *err)
{
    const void *msg = NULL;
    int rc = 0;
    if (f->config_map_ref != NULL) {
        rc = source_object(sources, SOURCE_CONFIG_MAP,
                           f->config_map_ref->local_object_reference.name,
                           f->config_map_ref->optional, &msg, err);
        const struct core_v1_config_map *m = msg;
        if (m != NULL)
            add_map(a, l, f->prefix, m->data, m->data_count);
    } else if (f->secret_ref != NULL) {
        rc = source_object(sources, SOURCE_SECRET, f->secret_ref->local_object_reference.name,
                           f->secret_ref->optional, &msg, err);
        const struct core_v1_secret *m = msg;
        if (m != NULL)
            add_map(a, l, f->prefix, m->data, m->data_count);
    }
    return rc;
}

/* *ret_set is false when an optional key is absent. */
static int key_ref(enum source_kind kind, const struct core_v1_pod *pod, struct str name,
                   struct str key, bool optional, const struct source_set *sources, struct str *ret,
                   bool *ret_set, struct error *err)
{
    const void *msg;
    int rc = source_object(sources, kind, name, optional, &msg, err);
    *ret_set = false;
    if (rc != 0 || msg == NULL)
        return rc;
    const struct str *v;
    if (kind == SOURCE_SECRET) {
        const struct core_v1_secret *m = msg;
        v = api_str_map_get(m->data, m->data_count, key);
    } else {
        const struct core_v1_config_map *m = msg;
        v = api_str_map_get(m->data, m->data_count, key);
    }
    if (v == NULL && optional)
        return 0;
    if (v == NULL)
        return error_set(err, E_NOT_FOUND,
                         "couldn't find key " STR_FMT " in %s " STR_FMT "/" STR_FMT, STR_ARG(key),
                         kind == SOURCE_SECRET ? "Secret" : "ConfigMap",
                         STR_ARG(pod->metadata.namespace), STR_ARG(name));
    *ret = *v;
    *ret_set = true;
    return 0;
}

static int file_ref(const struct field_context *ctx, const struct core_v1_file_key_selector *f,
                    struct str *ret, bool *ret_set, struct error *err)
{
    const struct env_file *file = NULL;
    *ret_set = false;
    for (size_t i = 0; i < ctx->env_file_count && file == NULL; i++)
        if (str_eq(ctx->env_files[i].volume, f->volume_name) &&
            str_eq(ctx->env_files[i].path, f->path))
            file = &ctx->env_files[i];
    int code = file != NULL ? file->code : E_NOT_FOUND;
    if (code == E_NOT_FOUND && f->optional)
        return 0;
    if (code != 0)
        return error_set(err, code, "couldn't read file " STR_FMT " of volume " STR_FMT ": %s",
                         STR_ARG(f->path), STR_ARG(f->volume_name),
                         file != NULL ? file->message : "not there");
    int rc = env_file_get(file->text, f->key, ret, ret_set, err);
    if (rc != 0)
        return error_prefix(err, "couldn't parse env file " STR_FMT " of volume " STR_FMT,
                            STR_ARG(f->path), STR_ARG(f->volume_name));
    if (!*ret_set && !f->optional)
        return error_set(err, E_NOT_FOUND,
                         "environment variable key \"" STR_FMT "\" not found in file \"" STR_FMT
                         "\"",
                         STR_ARG(f->key), STR_ARG(f->path));
    return 0;
}

static int value_from(struct arena *a, const struct field_context *ctx,
                      const struct core_v1_container *c, const struct core_v1_env_var_source *f,
                      const struct source_set *sources, struct str *ret, bool *ret_set,
                      struct error *err)
{
    *ret_set = true;
    *ret = STR_NULL;
    if (f->field_ref != NULL)
        return field_ref_value(a, ctx, f->field_ref->field_path, ret, err);
    if (f->resource_field_ref != NULL)
        return resource_ref_value(a, ctx, c, f->resource_field_ref, ret, err);
    if (f->config_map_key_ref != NULL)
        return key_ref(SOURCE_CONFIG_MAP, ctx->pod,
                       f->config_map_key_ref->local_object_reference.name,
                       f->config_map_key_ref->key, f->config_map_key_ref->optional, sources, ret,
                       ret_set, err);
    if (f->secret_key_ref != NULL)
        return key_ref(SOURCE_SECRET, ctx->pod, f->secret_key_ref->local_object_reference.name,
                       f->secret_key_ref->key, f->secret_key_ref->optional, sources, ret, ret_set,
                       err);
    if (f->file_key_ref != NULL)
        return file_ref(ctx, f->file_key_ref, ret, ret_set, err);
    return 0;
}

int container_env(struct arena *a, const struct field_context *ctx,
                  const struct core_v1_container *c, const struct source_set *sources,
                  const struct core_v1_service *const *services, size_t service_count,
                  struct env_list *ret, struct error *err)
{
    struct env_list service_env = {0}, out = {0};
    int rc = 0;
    for (size_t i = 0; i < service_count; i++)
        env_add_service(a, &service_env, services[i]);
    for (size_t i = 0; rc == 0 && i < c->env_from_count; i++)
        rc = add_env_from(a, &out, &c->env_from[i], sources, err);
    for (size_t i = 0; rc == 0 && i < c->env_count; i++) {
        const struct core_v1_env_var *v = &c->env[i];
        struct str value;
        bool set = true;
        /* A reference sees what was set before it, and the services. */
        if (v->value_from != NULL)
            rc = value_from(a, ctx, c, v->value_from, sources, &value, &set, err);
        else
            value = env_expand(a, v->value, &out, &service_env);
        if (rc == 0 && set)
            env_list_set(a, &out, v->name, value);
    }
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < service_env.count; i++) {
        if (env_list_get(&out, service_env.items[i].name) == NULL)
            env_list_set(a, &out, service_env.items[i].name, service_env.items[i].value);
    }
    *ret = out;
    return 0;
}
