/* config_reader.c - see config_reader.h. */
#include "scheduler/config_reader.h"

#include "lib/base/arena.h"

#include <stdarg.h>
#include <stdio.h>

void config_wrong(struct config_reader *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    buf_printf(&r->errors, "%s%s", r->error_count++ != 0 ? ", " : "", text);
}

void config_invalid(struct config_reader *r, const char *path, int64_t value, const char *why)
{
    config_wrong(r, "%s: Invalid value: %lld: %s", path, (long long)value, why);
}

const char *config_at(struct config_reader *r, const char *path, const char *name)
{
    return arena_printf(r->arena, "%s%s%s", path, path[0] != '\0' ? "." : "", name).data;
}

const char *config_item(struct config_reader *r, const char *path, size_t i)
{
    return arena_printf(r->arena, "%s[%zu]", path, i).data;
}

void config_known(struct config_reader *r, const char *path, const struct json *j,
                  const char *const *names)
{
    for (size_t i = 0; j != NULL && j->type == JSON_OBJECT && i < j->object.count; i++) {
        struct str key = j->object.members[i].key;
        bool known = false;
        for (size_t k = 0; names[k] != NULL; k++)
            known |= str_eqc(key, names[k]);
        if (!known)
            config_wrong(r, "strict decoding error: unknown field \"%s\"",
                         config_at(r, path, arena_str(r->arena, key).data));
    }
}

const struct json *config_member(struct config_reader *r, const char *path, const struct json *j,
                                 const char *name, enum json_type type)
{
    const struct json *m = json_getc(j, name);
    if (m == NULL || m->type == JSON_NULL)
        return NULL;
    if (m->type == type)
        return m;
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    config_wrong(r, "%s: must be of type %s, not %s", config_at(r, path, name), names[type],
                 json_type_name(m));
    return NULL;
}

int64_t config_int(struct config_reader *r, const char *path, const struct json *j,
                   const char *name, int64_t fallback)
{
    const struct json *m = config_member(r, path, j, name, JSON_INT);
    return m != NULL ? m->integer : fallback;
}

bool config_bool(struct config_reader *r, const char *path, const struct json *j, const char *name,
                 bool fallback)
{
    const struct json *m = config_member(r, path, j, name, JSON_BOOL);
    return m != NULL ? m->boolean : fallback;
}

const char *config_text(struct config_reader *r, const char *path, const struct json *j,
                        const char *name)
{
    const struct json *m = config_member(r, path, j, name, JSON_STRING);
    return m != NULL ? arena_str(r->arena, m->string).data : NULL;
}
