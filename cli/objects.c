/* objects.c - see objects.h. */
#include "cli/objects.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/sync.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MANIFEST_MAX (256u << 20) /* A recorded cluster, too. */

void objects_register_flags(struct objects *o, struct flag_set *flags)
{
    flag_string(flags, &o->kubeconfig, "kubeconfig", "`File` that names servers and credentials.");
    flag_string(flags, &o->context, "context", "`Context` of the kubeconfig to use.");
    flag_string(flags, &o->namespace_flag, "namespace,n", "`Namespace` to work in.");
}

int objects_connect(struct arena *a, struct objects *o, struct error *err)
{
    struct kubeconfig *k = NULL;
    int rc = kubeconfig_load(o->kubeconfig, o->context, &k, err);
    if (rc != 0)
        return rc;
    const char *ns = o->namespace_flag != NULL ? o->namespace_flag : k->namespace_name;
    o->namespace_name = arena_strc(a, ns != NULL ? ns : "default");
    return sync_client_new(k, &(struct client_options){.user_agent = "trireme"}, &o->client, err);
}

void objects_done(struct objects *o)
{
    sync_client_free(o->client);
}

static bool in_list(const char *comma_list, struct str word)
{
    struct str rest = str_of(comma_list), one;
    while (!str_empty(rest)) {
        str_cut(rest, ',', &one, &rest);
        if (str_eq(one, word))
            return true;
    }
    return false;
}

static bool kind_matches(const struct api_kind *k, struct str word)
{
    if (k->resource == NULL)
        return false;
    return str_eqc(word, k->resource) || str_eqc(word, k->singular) ||
           in_list(k->short_names, word) ||
           (word.len == strlen(k->kind) && strncasecmp(word.data, k->kind, word.len) == 0);
}

int objects_kind(struct str word, const struct api_kind **ret, struct error *err)
{
    struct str name, group;
    bool with_group = str_cut(word, '.', &name, &group);
    size_t count = 0;
    const struct api_kind *const *kinds = api_kinds(&count);
    for (size_t i = 0; i < count; i++) {
        if (!kind_matches(kinds[i], name) || (with_group && !str_eqc(group, kinds[i]->group)))
            continue;
        *ret = kinds[i];
        return 0;
    }
    return error_set(err, E_NOT_FOUND, "the server doesn't have a resource type \"" STR_FMT "\"",
                     STR_ARG(word));
}

struct str objects_path(struct arena *a, const struct api_kind *k, struct str namespace_name,
                        struct str name)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, k->group[0] == '\0' ? "/api/%s" : "/apis/%s", k->api_version);
    if (k->namespaced && !str_empty(namespace_name))
        buf_printf(&b, "/namespaces/" STR_FMT, STR_ARG(namespace_name));
    buf_printf(&b, "/%s", k->resource);
    if (!str_empty(name))
        buf_printf(&b, "/" STR_FMT, STR_ARG(name));
    return arena_str(a, buf_str(&b));
}

struct str objects_label(struct arena *a, const struct api_kind *k, struct str name)
{
    return arena_printf(a, "%s%s%s/" STR_FMT, k->singular, k->group[0] != '\0' ? "." : "", k->group,
                        STR_ARG(name));
}

/* --- files --------------------------------------------------------------------- */

static int each_document(struct arena *a, const struct json *j, objects_fn *fn, void *arg,
                         struct error *err)
{
    struct str api_version = json_get_str(j, "apiVersion"), kind = json_get_str(j, "kind");
    if (str_empty(kind) || str_empty(api_version))
        return error_set(err, E_INVALID, "Object 'Kind' or 'apiVersion' is missing");
    const struct json *items = json_getc(j, "items");
    if (str_has_suffix(kind, STR("List")) && items != NULL && items->type == JSON_ARRAY) {
        for (size_t i = 0; i < items->array.count; i++) {
            int rc = each_document(a, items->array.items[i], fn, arg, err);
            if (rc != 0)
                return rc;
        }
        return 0;
    }
    const struct api_kind *k = api_kind_by_api_version(api_version, kind);
    if (k == NULL || k->resource == NULL)
        return error_set(err, E_NOT_FOUND,
                         "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"",
                         STR_ARG(kind), STR_ARG(api_version));
    return fn(a, j, k, arg, err);
}

static int each_in_text(struct arena *a, const char *path, struct str text, objects_fn *fn,
                        void *arg, struct error *err)
{
    size_t at = 0;
    while (at < text.len) {
        struct json *j = NULL;
        size_t used = 0;
        int rc = api_yaml_parse(a, str_sub(text, at, text.len), &used, &j, err);
        if (rc == E_EOF)
            return 0;
        if (rc == 0 && j->type != JSON_NULL)
            rc = each_document(a, j, fn, arg, err);
        if (rc != 0) {
            error_prefix(err, "%s", path);
            return rc;
        }
        ASSERT(used > 0);
        at += used;
    }
    return 0;
}

static int read_stdin(struct buf *b, struct error *err)
{
    while (b->len <= MANIFEST_MAX) {
        ssize_t n = read(STDIN_FILENO, buf_reserve(b, 65536), 65536);
        if (n < 0)
            return error_set(err, E_IO, "read standard input");
        if (n == 0)
            return 0;
        buf_commit(b, (size_t)n);
    }
    return error_set(err, E_TOO_LARGE, "standard input holds more than %u bytes", MANIFEST_MAX);
}

static bool is_manifest(struct str name)
{
    return str_has_suffix(name, STR(".yaml")) || str_has_suffix(name, STR(".yml")) ||
           str_has_suffix(name, STR(".json"));
}

int objects_each_in_file(struct arena *a, const char *path, objects_fn *fn, void *arg,
                         struct error *err)
{
    struct dirent **names = NULL;
    int n = strcmp(path, "-") == 0 ? -1 : scandir(path, &names, NULL, alphasort);
    int rc = 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0 && is_manifest(str_of(names[i]->d_name)))
            rc = objects_each_in_file(a, arena_printf(a, "%s/%s", path, names[i]->d_name).data, fn,
                                      arg, err);
        free(names[i]);
    }
    free(names);
    if (n >= 0)
        return rc;
    AUTO_BUF b = BUF_INIT;
    rc = strcmp(path, "-") == 0 ? read_stdin(&b, err) : file_read(path, MANIFEST_MAX, &b, err);
    if (rc == 0)
        rc = each_in_text(a, path, arena_str(a, buf_str(&b)), fn, arg, err);
    return rc;
}

int objects_print(struct arena *a, const struct api_object *object, const char *form,
                  struct buf *out, struct error *err)
{
    struct json *tree =
        api_json_tree(a, object->kind->msg, object->msg, str_of(object->kind->api_version),
                      str_of(object->kind->kind));
    if (strcmp(form, "json") == 0) {
        json_write_indent(tree, true, 4, out);
        buf_putc(out, '\n');
    } else if (strcmp(form, "yaml") == 0) {
        api_yaml_write(tree, out);
    } else {
        return error_set(err, E_USAGE, "-o: \"%s\" is none of json, yaml, name, wide", form);
    }
    return 0;
}

/* --- apply ---------------------------------------------------------------------- */

static struct json *patch_value(struct arena *a, const struct api_msg *m, const struct json *last,
                                const struct json *next);

static const struct json *find_element(const struct json *list, const char *key,
                                       const struct json *like)
{
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *mine = json_getc(list->array.items[i], key);
        if (mine != NULL && like != NULL && json_equal(mine, like))
            return list->array.items[i];
    }
    return NULL;
}

static struct json *patch_list(struct arena *a, const struct api_field *f, const struct json *last,
                               const struct json *next)
{
    const char *key = f->patch_merge_key;
    struct json *out = json_array(a);
    for (size_t i = 0; i < next->array.count; i++) {
        const struct json *e = next->array.items[i];
        json_append(a, out, patch_value(a, f->msg, find_element(last, key, json_getc(e, key)), e));
    }
    for (size_t i = 0; last != NULL && last->type == JSON_ARRAY && i < last->array.count; i++) {
        struct json *id = json_getc(last->array.items[i], key);
        if (id == NULL || find_element(next, key, id) != NULL)
            continue;
        struct json *gone = json_object(a);
        json_setc(a, gone, "$patch", json_string(a, STR("delete")));
        json_setc(a, gone, key, id);
        json_append(a, out, gone);
    }
    return out;
}

static struct json *patch_value(struct arena *a, const struct api_msg *m, const struct json *last,
                                const struct json *next)
{
    if (next->type != JSON_OBJECT)
        return json_clone(a, next);
    struct json *out = json_object(a);
    for (size_t i = 0; i < next->object.count; i++) {
        struct str key = next->object.members[i].key;
        const struct json *value = next->object.members[i].value;
        const struct json *before = last != NULL ? json_get(last, key) : NULL;
        const struct api_field *f = m != NULL ? api_field_by_json(m, key) : NULL;
        bool merged = f != NULL && f->label == API_REPEATED && f->patch_merge_key != NULL &&
                      f->msg != NULL && value->type == JSON_ARRAY;
        const struct api_msg *below = f != NULL && f->label == API_SINGULAR ? f->msg : NULL;
        json_set(a, out, key,
                 merged ? patch_list(a, f, before, value) : patch_value(a, below, before, value));
    }
    for (size_t i = 0; last != NULL && last->type == JSON_OBJECT && i < last->object.count; i++)
        if (json_get(next, last->object.members[i].key) == NULL)
            json_set(a, out, last->object.members[i].key, json_null(a));
    return out;
}

struct json *objects_apply_patch(struct arena *a, const struct api_kind *k, const struct json *last,
                                 const struct json *next)
{
    return patch_value(a, k->msg, last, next);
}
