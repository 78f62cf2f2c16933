/* openapi_merge.c - see openapi_merge.h.
 *
 *   document -> only paths below the prefix that nobody serves yet
 *            -> only definitions that these, or no path at all, refer to
 *            -> names that are taken for something else are changed, and all
 *               references with them -> joined to what is there */
#include "apiserver/openapi_merge.h"

#include "lib/api/json.h"
#include "lib/api/json_write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

#define KINDS "x-kubernetes-group-version-kind"
#define DEPTH_MAX 200 /* Of what is walked; the parser has its own bound. */

struct item {
    struct str name, text; /* text: as it is written, unless changed. */
    struct json *tree;     /* NULL until somebody asks. */
    bool changed;
};

struct section {
    struct item **items; /* In order of arrival. */
    size_t count, cap;
    struct map by_name;
};

struct openapi_merge {
    struct arena *arena;
    struct section sections[3]; /* OPENAPI_PATHS to OPENAPI_PARAMETERS. */
};

static const struct {
    const char *member, *prefix;
} places[] = {[OPENAPI_PATHS] = {"paths", NULL},
              [OPENAPI_SCHEMAS] = {"definitions", "#/definitions/"},
              [OPENAPI_PARAMETERS] = {"parameters", "#/parameters/"}};

struct openapi_merge *openapi_merge_new(void)
{
    struct openapi_merge *m = xzalloc(sizeof(*m));
    m->arena = arena_new(1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(m->sections); i++)
        map_init(&m->sections[i].by_name);
    return m;
}

void openapi_merge_free(struct openapi_merge *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(m->sections); i++)
        map_done(&m->sections[i].by_name);
    arena_free(m->arena);
    free(m);
}

static struct item *add_item(struct openapi_merge *m, enum openapi_section section, struct str name)
{
    struct section *s = &m->sections[section];
    struct item *it = ARENA_NEW(m->arena, struct item);
    it->name = arena_str(m->arena, name);
    s->items = arena_grow(m->arena, s->items, s->count, &s->cap, sizeof(struct item *));
    s->items[s->count++] = it;
    map_set(&s->by_name, it->name, it);
    return it;
}

void openapi_merge_own(void *m, enum openapi_section section, struct str name, struct str json)
{
    struct openapi_merge *all = m;
    if (section <= OPENAPI_PARAMETERS) /* How to log in is written at the end anyway. */
        add_item(all, section, name)->text = arena_str(all->arena, json);
}

static struct item *find(const struct openapi_merge *m, enum openapi_section section,
                         struct str name)
{
    return map_get(&m->sections[section].by_name, name);
}

static struct json *tree_of(struct openapi_merge *m, struct item *it)
{
    if (it->tree == NULL)
        it->tree = json_parse_own(m->arena, it->text);
    return it->tree;
}

/* --- references ------------------------------------------------------------------------------ */
struct walk {
    struct arena *arena;
    struct map seen; /* Names of definitions. */
    struct str *queue;
    size_t count, cap;
};

static void note(struct walk *w, struct str ref)
{
    struct str prefix = str_of(places[OPENAPI_SCHEMAS].prefix);
    if (!str_has_prefix(ref, prefix))
        return;
    struct str name = str_sub(ref, prefix.len, ref.len);
    if (map_has(&w->seen, name))
        return;
    map_set(&w->seen, name, w);
    w->queue = arena_grow(w->arena, w->queue, w->count, &w->cap, sizeof(*w->queue));
    w->queue[w->count++] = name;
}

static void look_into(struct walk *w, const struct json *j, unsigned depth)
{
    if (depth > DEPTH_MAX)
        return;
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
        look_into(w, j->array.items[i], depth + 1);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        const struct json_member *x = &j->object.members[i];
        if (str_eqc(x->key, "$ref") && x->value->type == JSON_STRING)
            note(w, x->value->string);
        else
            look_into(w, x->value, depth + 1);
    }
}

/* What paths and parameters refer to, and all that this refers to. */
static void walk_paths(struct walk *w, struct arena *a, const struct map *definitions,
                       const struct json *parameters, const struct json *paths)
{
    *w = (struct walk){.arena = a};
    map_init(&w->seen);
    look_into(w, paths, 0);
    look_into(w, parameters, 0);
    for (size_t i = 0; i < w->count; i++) {
        const struct json *d = map_get(definitions, w->queue[i]);
        if (d != NULL)
            look_into(w, d, 0);
    }
}

static void rename_references(struct arena *a, struct json *j, const struct map *names,
                              unsigned depth)
{
    if (depth > DEPTH_MAX)
        return;
    for (size_t i = 0; j->type == JSON_ARRAY && i < j->array.count; i++)
        rename_references(a, j->array.items[i], names, depth + 1);
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        struct json_member *x = &j->object.members[i];
        if (!str_eqc(x->key, "$ref") || x->value->type != JSON_STRING) {
            rename_references(a, x->value, names, depth + 1);
            continue;
        }
        const char *other = map_get(names, x->value->string);
        if (other != NULL)
            x->value->string = str_of(other);
    }
}

/* --- equality -------------------------------------------------------------------------------- */
static bool ignored(const struct json_member *x, unsigned depth)
{
    return (depth == 0 && str_eqc(x->key, KINDS)) ||
           (str_eqc(x->key, "description") && x->value->type == JSON_STRING);
}

static size_t count_members(const struct json *j, unsigned depth)
{
    size_t n = 0;
    for (size_t i = 0; i < j->object.count; i++)
        n += !ignored(&j->object.members[i], depth);
    return n;
}

/* The same but for texts, and at the top for the kinds. */
static bool same(const struct json *x, const struct json *y, unsigned depth)
{
    if (x->type != y->type || depth > DEPTH_MAX)
        return false;
    if (x->type == JSON_ARRAY) {
        bool equal = x->array.count == y->array.count;
        for (size_t i = 0; equal && i < x->array.count; i++)
            equal = same(x->array.items[i], y->array.items[i], depth + 1);
        return equal;
    }
    if (x->type != JSON_OBJECT)
        return json_equal(x, y);
    bool equal = count_members(x, depth) == count_members(y, depth);
    for (size_t i = 0; equal && i < x->object.count; i++) {
        const struct json_member *m = &x->object.members[i];
        const struct json *other = json_get(y, m->key);
        if (!ignored(m, depth))
            equal = other != NULL && same(m->value, other, depth + 1);
    }
    return equal;
}

/* --- joining --------------------------------------------------------------------------------- */
/* As json_set() for a name that is not there: without a look. */
static void add_member(struct arena *a, struct json *object, const struct json_member *x)
{
    object->object.members = arena_grow(a, object->object.members, object->object.count,
                                        &object->object.cap, sizeof(*object->object.members));
    object->object.members[object->object.count++] = *x;
}

/* Of a document, or empty. */
static struct json *object_of(struct arena *a, const struct json *document, const char *name)
{
    struct json *j = json_getc(document, name);
    return j != NULL && j->type == JSON_OBJECT ? j : json_object(a);
}

static struct json *only_below(struct openapi_merge *m, const struct json *paths, struct str prefix)
{
    struct json *kept = json_object(m->arena);
    for (size_t i = 0; i < paths->object.count; i++) {
        const struct json_member *x = &paths->object.members[i];
        if (str_has_prefix(x->key, prefix) && x->value->type == JSON_OBJECT &&
            find(m, OPENAPI_PATHS, x->key) == NULL)
            add_member(m->arena, kept, x);
    }
    return kept;
}

/* Those that the kept paths need, or that no path needed before. */
static struct json *only_needed(struct openapi_merge *m, const struct json *definitions,
                                const struct json *parameters, const struct json *all,
                                const struct json *kept)
{
    struct walk before, now;
    struct map by_name;
    struct json *needed = json_object(m->arena);
    map_init(&by_name);
    for (size_t i = 0; i < definitions->object.count; i++)
        map_set(&by_name, definitions->object.members[i].key, definitions->object.members[i].value);
    walk_paths(&before, m->arena, &by_name, parameters, all);
    walk_paths(&now, m->arena, &by_name, parameters, kept);
    for (size_t i = 0; i < definitions->object.count; i++) {
        const struct json_member *x = &definitions->object.members[i];
        if (x->value->type == JSON_OBJECT &&
            (map_has(&now.seen, x->key) || !map_has(&before.seen, x->key)))
            add_member(m->arena, needed, x);
    }
    map_done(&before.seen);
    map_done(&now.seen);
    map_done(&by_name);
    return needed;
}

/* The name for what is x there and means something else here: maybe one under which it is
 * here already. */
static struct str free_name(struct openapi_merge *m, enum openapi_section section,
                            const struct json *from, const struct json_member *x,
                            const struct map *taken)
{
    for (unsigned i = 2;; i++) {
        struct str name = arena_printf(m->arena, STR_FMT "_v%u", STR_ARG(x->key), i);
        struct item *it = find(m, section, name);
        if (it != NULL && same(tree_of(m, it), x->value, 0))
            return name;
        if (it == NULL && json_get(from, name) == NULL && !map_has(taken, name))
            return name;
    }
}

/* Full references of the one name to those of the other. */
static void choose_names(struct openapi_merge *m, enum openapi_section section,
                         const struct json *from, struct map *names)
{
    struct map taken;
    map_init(&taken);
    for (size_t i = 0; i < from->object.count; i++) {
        const struct json_member *x = &from->object.members[i];
        struct item *it = find(m, section, x->key);
        if (it == NULL || same(tree_of(m, it), x->value, 0))
            continue;
        struct str name = free_name(m, section, from, x, &taken);
        const char *prefix = places[section].prefix;
        map_set(&taken, name, m);
        map_set(
            names, arena_printf(m->arena, "%s" STR_FMT, prefix, STR_ARG(x->key)),
            (void *)(uintptr_t)arena_printf(m->arena, "%s" STR_FMT, prefix, STR_ARG(name)).data);
    }
    map_done(&taken);
}

static bool has_kind(const struct json *list, const struct json *kind)
{
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *k = list->array.items[i];
        if (str_eq(json_get_str(k, "group"), json_get_str(kind, "group")) &&
            str_eq(json_get_str(k, "version"), json_get_str(kind, "version")) &&
            str_eq(json_get_str(k, "kind"), json_get_str(kind, "kind")))
            return true;
    }
    return false;
}

/* Both definitions are the same: theirs may be that of further kinds. */
static void join_kinds(struct openapi_merge *m, struct item *it, const struct json *theirs)
{
    const struct json *more = json_getc(theirs, KINDS);
    struct json *own = json_getc(tree_of(m, it), KINDS);
    if (more == NULL || more->type != JSON_ARRAY || (own != NULL && own->type != JSON_ARRAY))
        return;
    for (size_t i = 0; i < more->array.count; i++) {
        if (own != NULL && has_kind(own, more->array.items[i]))
            continue;
        if (own == NULL) {
            own = json_array(m->arena);
            json_setc(m->arena, it->tree, KINDS, own);
        }
        json_append(m->arena, own, json_clone(m->arena, more->array.items[i]));
        it->changed = true;
    }
}

static void join(struct openapi_merge *m, enum openapi_section section, const struct json *from,
                 const struct map *names)
{
    const char *prefix = places[section].prefix;
    for (size_t i = 0; i < from->object.count; i++) {
        const struct json_member *x = &from->object.members[i];
        struct str name = x->key;
        if (prefix != NULL) {
            const char *other =
                map_get(names, arena_printf(m->arena, "%s" STR_FMT, prefix, STR_ARG(name)));
            if (other != NULL)
                name = str_of(other + strlen(prefix));
        }
        struct item *it = find(m, section, name);
        if (it == NULL) {
            it = add_item(m, section, name);
            it->tree = x->value;
            it->changed = true;
        } else if (section == OPENAPI_SCHEMAS) {
            join_kinds(m, it, x->value);
        }
    }
}

int openapi_merge_add(struct openapi_merge *m, struct str document, struct str prefix,
                      struct error *err)
{
    struct json *j = NULL;
    struct map names;
    int code = json_parse(m->arena, arena_str(m->arena, document), &j, err);
    if (code != 0)
        return code;
    struct json *paths = j->type == JSON_OBJECT ? json_getc(j, "paths") : NULL;
    if (paths == NULL || paths->type != JSON_OBJECT || !str_eqc(json_get_str(j, "swagger"), "2.0"))
        return error_set(err, E_INVALID, "no OpenAPI v2 document");
    struct json *kept = only_below(m, paths, prefix);
    if (kept->object.count == 0)
        return 0;
    struct json *parameters = object_of(m->arena, j, "parameters");
    struct json *definitions =
        only_needed(m, object_of(m->arena, j, "definitions"), parameters, paths, kept);
    map_init(&names);
    choose_names(m, OPENAPI_SCHEMAS, definitions, &names);
    choose_names(m, OPENAPI_PARAMETERS, parameters, &names);
    rename_references(m->arena, kept, &names, 0);
    rename_references(m->arena, definitions, &names, 0);
    rename_references(m->arena, parameters, &names, 0);
    join(m, OPENAPI_SCHEMAS, definitions, &names);
    join(m, OPENAPI_PARAMETERS, parameters, &names);
    join(m, OPENAPI_PATHS, kept, &names);
    map_done(&names);
    return 0;
}

void openapi_merge_write(const struct openapi_merge *m, bool protobuf, struct buf *out)
{
    struct openapi_writer w;
    AUTO_BUF text = BUF_INIT;
    openapi_writer_open(&w, OPENAPI_V2, protobuf, out);
    for (enum openapi_section s = OPENAPI_PATHS; s <= OPENAPI_PARAMETERS; s++) {
        openapi_writer_section(&w, s);
        for (size_t i = 0; i < m->sections[s].count; i++) {
            const struct item *it = m->sections[s].items[i];
            buf_clear(&text);
            if (it->changed)
                json_write(it->tree, false, &text);
            openapi_writer_item(&w, it->name, it->changed ? buf_str(&text) : it->text);
        }
    }
    openapi_writer_close(&w);
}
