/* config_file.c - see config_file.h. */
#include "apiserver/config_file.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#define GROUP "apiserver.config.k8s.io/"
#define NS_PER_MS 1000000

int config_parse(struct arena *a, struct str text, const char *kind, const char *const *versions,
                 struct json **ret, struct error *err)
{
    struct json *j, *more;
    size_t consumed, rest;
    struct str all = arena_str(a, text);
    int code = api_yaml_parse_strict(a, all, &consumed, &j, err);
    if (code == E_EOF || (code == 0 && j->type != JSON_OBJECT))
        return error_set(err, E_INVALID, "want a %s, found nothing of the kind", kind);
    if (code != 0)
        return code;
    struct str tail = str_trim(str_sub(all, consumed, all.len));
    if (tail.len != 0 && api_yaml_parse(a, tail, &rest, &more, NULL) == 0 &&
        more->type != JSON_NULL)
        return error_set(err, E_INVALID, "want one document, found more");
    struct str found = json_get_str(j, "apiVersion");
    if (!str_eqc(json_get_str(j, "kind"), kind))
        return error_set(err, E_INVALID, "kind: \"" STR_FMT "\": want %s",
                         STR_ARG(json_get_str(j, "kind")), kind);
    for (size_t i = 0; versions[i] != NULL; i++)
        if (str_has_prefix(found, STR(GROUP)) &&
            str_eqc(str_sub(found, sizeof(GROUP) - 1, found.len), versions[i])) {
            *ret = j;
            return 0;
        }
    return error_set(err, E_INVALID, "apiVersion: \"" STR_FMT "\": want " GROUP "%s",
                     STR_ARG(found), versions[0]);
}

int config_result(const struct field_errors *errs, struct error *err)
{
    if (errs->count == 0)
        return 0;
    return error_set(err, E_INVALID, STR_FMT, STR_ARG(field_errors_text(errs->arena, errs)));
}

void config_known(struct field_errors *errs, const struct field_path *at, const struct json *j,
                  const char *const *names)
{
    for (size_t i = 0; j != NULL && j->type == JSON_OBJECT && i < j->object.count; i++) {
        struct str key = j->object.members[i].key;
        size_t k = 0;
        while (names[k] != NULL && !str_eqc(key, names[k]))
            k++;
        if (names[k] == NULL)
            field_forbidden(errs, PATH(at, arena_str(errs->arena, key).data), "unknown field");
    }
}

static const struct json *member(struct field_errors *errs, const struct field_path *at,
                                 const struct json *j, const char *name, enum json_type type,
                                 const char *what)
{
    const struct json *m = json_getc(j, name);
    if (m == NULL || m->type == JSON_NULL || m->type == type)
        return m != NULL && m->type == type ? m : NULL;
    field_invalid_raw(errs, PATH(at, name), STR("value"), "must be %s", what);
    return NULL;
}

struct str config_str(struct field_errors *errs, const struct field_path *at, const struct json *j,
                      const char *name, bool *ret_given)
{
    const struct json *m = member(errs, at, j, name, JSON_STRING, "a string");
    if (ret_given != NULL)
        *ret_given = m != NULL;
    return m != NULL ? m->string : STR_NULL;
}

bool config_bool(struct field_errors *errs, const struct field_path *at, const struct json *j,
                 const char *name, bool fallback)
{
    const struct json *m = member(errs, at, j, name, JSON_BOOL, "true or false");
    return m != NULL ? m->boolean : fallback;
}

int64_t config_duration(struct field_errors *errs, const struct field_path *at,
                        const struct json *j, const char *name, int64_t fallback_ms,
                        bool *ret_given)
{
    bool given;
    int64_t ns;
    struct str s = config_str(errs, at, j, name, &given);
    if (ret_given != NULL)
        *ret_given = given;
    if (!given)
        return fallback_ms;
    if (duration_parse(s, &ns) != 0) {
        field_invalid(errs, PATH(at, name), s, "must be a duration such as 30s or 5m");
        return fallback_ms;
    }
    return ns / NS_PER_MS;
}

const struct json *config_object(struct field_errors *errs, const struct field_path *at,
                                 const struct json *j, const char *name)
{
    return member(errs, at, j, name, JSON_OBJECT, "an object");
}

const struct json *config_list(struct field_errors *errs, const struct field_path *at,
                               const struct json *j, const char *name, size_t *ret_count)
{
    const struct json *m = member(errs, at, j, name, JSON_ARRAY, "a list");
    *ret_count = m != NULL ? m->array.count : 0;
    return m;
}

const struct json *config_item(struct field_errors *errs, const struct field_path *at,
                               const struct json *list, size_t index)
{
    static const struct json empty = {.type = JSON_OBJECT};
    const struct json *j = list->array.items[index];
    if (j->type == JSON_OBJECT)
        return j;
    field_invalid_raw(errs, PATH_INDEX(at, index), STR("value"), "must be an object");
    return &empty;
}

size_t config_strings(struct field_errors *errs, const struct field_path *at, const struct json *j,
                      const char *name, struct str **ret)
{
    size_t n, kept = 0;
    const struct json *list = config_list(errs, at, j, name, &n);
    *ret = ARENA_ARRAY(errs->arena, struct str, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (list->array.items[i]->type == JSON_STRING)
            (*ret)[kept++] = list->array.items[i]->string;
        else
            field_invalid_raw(errs, PATH_INDEX(PATH(at, name), i), STR("value"),
                              "must be a string");
    }
    return kept;
}
