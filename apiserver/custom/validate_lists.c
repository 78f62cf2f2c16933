/* validate_lists.c - items of sets and keyed lists, and objects inside of objects;
 * see validate.h. */
#include "apiserver/custom/validate.h"

#include "apiserver/field_error.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/map.h"

typedef void visit(struct field_errors *errs, const struct field_path *path,
                   const struct structural *s, const struct json *j);

static void walk(struct field_errors *errs, const struct field_path *path,
                 const struct structural *s, const struct json *j, visit *v)
{
    v(errs, path, s, j);
    for (size_t i = 0; s->items != NULL && j->type == JSON_ARRAY && i < j->array.count; i++)
        walk(errs, PATH_INDEX(path, i), s->items, j->array.items[i], v);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        const struct structural *below = structural_member(s, m->key);
        if (below != NULL)
            walk(errs, PATH(path, str_c(arena_str(errs->arena, m->key))), below, m->value, v);
        else if (s->additional != NULL)
            walk(errs, PATH_KEY(path, m->key), s->additional, m->value, v);
    }
}

/* What tells an item from others, as canonical text: itself, or its keys. */
static struct str identity(struct arena *a, const struct structural *s, const struct json *item)
{
    AUTO_BUF b = BUF_INIT;
    if (s->list == LIST_SET) {
        json_write(item, true, &b);
        return arena_str(a, buf_str(&b));
    }
    struct json *keys = json_object(a);
    for (size_t i = 0; i < s->key_count; i++) {
        struct json *v = json_get(item, s->keys[i]);
        if (v != NULL)
            json_set(a, keys, s->keys[i], v);
    }
    json_write(keys, true, &b);
    return arena_str(a, buf_str(&b));
}

static void check_list(struct field_errors *errs, const struct field_path *path,
                       const struct structural *s, const struct json *j)
{
    struct map seen;
    if (j->type != JSON_ARRAY || s->type != STRUCTURAL_ARRAY || s->list == LIST_ATOMIC)
        return;
    map_init(&seen);
    for (size_t i = 0; i < j->array.count; i++) {
        const struct json *item = j->array.items[i];
        if (s->list == LIST_MAP && item->type != JSON_OBJECT)
            continue; /* Of the wrong type, which has been said. */
        struct str id = identity(errs->arena, s, item);
        /* The second of its kind is named, not those that follow. */
        uintptr_t times = (uintptr_t)map_get(&seen, id);
        if (times == 1)
            field_duplicate_raw(errs, PATH_INDEX(path, i), id);
        map_set(&seen, id, (void *)(times + 1));
    }
    map_done(&seen);
}

void custom_validate_lists(struct field_errors *errs, const struct structural *s,
                           const struct json *j)
{
    walk(errs, PATH_ROOT, s, j, check_list);
}

static void check_embedded(struct field_errors *errs, const struct field_path *path,
                           const struct structural *s, const struct json *j)
{
    static const char *const wanted[] = {"apiVersion", "kind"};
    if (!s->embedded || j->type != JSON_OBJECT)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (json_get_str(j, wanted[i]).len == 0)
            field_required(errs, PATH(path, wanted[i]), "must not be empty");
}

void custom_validate_embedded(struct field_errors *errs, const struct structural *s,
                              const struct json *j)
{
    walk(errs, PATH_ROOT, s, j, check_embedded);
}
