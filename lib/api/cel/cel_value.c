/* cel_value.c - values: making, looking into, comparing, turning into JSON. */
#include "lib/api/cel/cel_internal.h"

#include "lib/api/quantity.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* --- making ----------------------------------------------------------------------------- */
struct cel_value cel_null_value(void)
{
    return (struct cel_value){.kind = CEL_NULL};
}

struct cel_value cel_of_str(struct str s)
{
    return (struct cel_value){.kind = CEL_STRING, .string = s};
}

struct cel_value cel_of_bytes(struct str s)
{
    return (struct cel_value){.kind = CEL_BYTES, .string = s};
}

struct cel_value cel_of_bool(bool b)
{
    return (struct cel_value){.kind = CEL_BOOL, .boolean = b};
}

struct cel_value cel_of_int(int64_t i)
{
    return (struct cel_value){.kind = CEL_INT, .integer = i};
}

struct cel_value cel_of_uint(uint64_t u)
{
    return (struct cel_value){.kind = CEL_UINT, .uinteger = u};
}

struct cel_value cel_of_double(double d)
{
    return (struct cel_value){.kind = CEL_DOUBLE, .number = d};
}

struct cel_value cel_of_duration(int64_t nanos)
{
    return (struct cel_value){.kind = CEL_DURATION, .integer = nanos};
}

struct cel_value cel_of_type(const struct cel_type *t)
{
    return (struct cel_value){.kind = CEL_TYPE, .type = t};
}

struct cel_value cel_of_host(const struct cel_type *type, const void *object)
{
    return (struct cel_value){.kind = CEL_HOST, .type = type, .opaque = object};
}

struct cel_value cel_of_optional(struct arena *a, const struct cel_value *v)
{
    return (struct cel_value){.kind = CEL_OPTIONAL,
                              .inner = v != NULL ? arena_memdup(a, v, sizeof(*v)) : NULL};
}

struct cel_value cel_of_list(const struct cel_list *l)
{
    return (struct cel_value){.kind = CEL_LIST, .list = l};
}

struct cel_value cel_of_map(const struct cel_map *m)
{
    return (struct cel_value){.kind = CEL_MAP, .map = m};
}

struct cel_value cel_error(struct arena *a, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return (struct cel_value){.kind = CEL_ERROR, .string = arena_strc(a, text)};
}

struct cel_value cel_no_overload(struct arena *a, const char *name, const struct cel_value *args,
                                 size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        buf_puts(&b, i != 0 ? ", " : "");
        buf_append_str(&b, cel_value_type_name(&args[i]));
    }
    return cel_error(a, "no such overload: %s(" STR_FMT ")", name, STR_ARG(buf_str(&b)));
}

struct cel_list *cel_list_new(struct arena *a)
{
    return ARENA_NEW(a, struct cel_list);
}

void cel_list_add(struct arena *a, struct cel_list *l, struct cel_value v)
{
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(v));
    l->items[l->count++] = v;
}

/* --- from JSON ---------------------------------------------------------------------------- */
static struct cel_value static_error(struct str text)
{
    return (struct cel_value){.kind = CEL_ERROR, .string = text};
}

/* A day alone: its beginning. */
static bool parse_date(struct str s, struct cel_value *v)
{
    char text[] = "0000-00-00T00:00:00Z";
    if (s.len != 10)
        return false;
    memcpy(text, s.data, 10);
    return cel_timestamp_parse(str_of(text), &v->time.seconds, &v->time.nanos);
}

static struct cel_value of_json_string(struct str s, enum cel_kind kind)
{
    struct cel_value v = {.kind = kind};
    switch (kind) {
    case CEL_TIMESTAMP:
        if (!cel_timestamp_parse(s, &v.time.seconds, &v.time.nanos) && !parse_date(s, &v))
            return static_error(STR("invalid date-time in the object"));
        return v;
    case CEL_DURATION:
        if (cel_duration_parse(s, &v.integer) != 0)
            return static_error(STR("invalid duration in the object"));
        return v;
    case CEL_BYTES: /* Decoded when it is used. */
        return (struct cel_value){.kind = CEL_BYTES, .in_json = true, .string = s};
    default:
        return cel_of_str(s);
    }
}

struct cel_value cel_of_json(const struct json *j, const struct cel_type *type)
{
    enum cel_kind want = type != NULL ? type->kind : CEL_DYN;
    switch (j->type) {
    case JSON_NULL:
        break;
    case JSON_BOOL:
        return cel_of_bool(j->boolean);
    case JSON_INT:
        if (want == CEL_DOUBLE)
            return cel_of_double((double)j->integer);
        if (want == CEL_UINT && j->integer >= 0)
            return cel_of_uint((uint64_t)j->integer);
        return cel_of_int(j->integer);
    case JSON_DOUBLE:
        if (want == CEL_INT && trunc(j->number.value) == j->number.value &&
            fabs(j->number.value) < 9.2e18)
            return cel_of_int((int64_t)j->number.value);
        return cel_of_double(j->number.value);
    case JSON_STRING:
        return of_json_string(j->string, want);
    case JSON_ARRAY:
        return (struct cel_value){
            .kind = CEL_LIST, .in_json = true, .type = want == CEL_LIST ? type : NULL, .json = j};
    case JSON_OBJECT:
        return (struct cel_value){.kind = want == CEL_OBJECT ? CEL_OBJECT : CEL_MAP,
                                  .in_json = true,
                                  .type = want == CEL_OBJECT || want == CEL_MAP ? type : NULL,
                                  .json = j};
    }
    return cel_null_value();
}

/* --- looking into -------------------------------------------------------------------------- */
size_t cel_size(const struct cel_value *v)
{
    if (v->kind == CEL_LIST)
        return v->in_json ? v->json->array.count : v->list->count;
    if (v->kind == CEL_MAP || v->kind == CEL_OBJECT)
        return v->in_json ? v->json->object.count : v->kind == CEL_OBJECT ? 0 : v->map->count;
    return 0;
}

struct cel_value cel_item(const struct cel_value *list, size_t index)
{
    if (!list->in_json)
        return list->list->items[index];
    return cel_of_json(list->json->array.items[index],
                       list->type != NULL ? list->type->elem : NULL);
}

struct cel_entry cel_entry_at(const struct cel_value *map, size_t index)
{
    if (!map->in_json)
        return map->map->entries[index];
    const struct json_member *m = &map->json->object.members[index];
    const struct cel_type *t = map->type;
    if (t != NULL && t->kind == CEL_OBJECT) {
        for (size_t i = 0; i < t->field_count; i++)
            if (str_eq(t->fields[i].json, m->key))
                return (struct cel_entry){cel_of_str(t->fields[i].name),
                                          cel_of_json(m->value, t->fields[i].type)};
        t = NULL;
    }
    return (struct cel_entry){cel_of_str(m->key),
                              cel_of_json(m->value, t != NULL ? t->elem : NULL)};
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct json_member *m = ((const struct json *)arg)->object.members;
    return str_cmp(m[*(const uint32_t *)x].key, m[*(const uint32_t *)y].key);
}

void cel_index_build(struct cel_index *x, const struct json *object, uint32_t *order)
{
    x->object = object;
    x->order = order;
    for (size_t i = 0; i < object->object.count; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, object->object.count, sizeof(*order), by_key, (void *)(uintptr_t)object);
}

static const struct json *find_member(const struct json *object, struct str key,
                                      const struct cel_index *index)
{
    if (index == NULL)
        return json_get(object, key);
    size_t from = 0, to = object->object.count;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        const struct json_member *m = &object->object.members[index->order[mid]];
        int c = str_cmp(m->key, key);
        if (c == 0)
            return m->value;
        if (c < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

struct cel_value cel_lookup(const struct cel_value *map, const struct cel_value *key,
                            const struct cel_index *index)
{
    const struct cel_value absent = {.kind = CEL_DYN};
    if (!map->in_json) {
        const struct cel_value *v = cel_map_get(map->map, key);
        return v != NULL ? *v : absent;
    }
    if (key->kind != CEL_STRING)
        return absent;
    const struct cel_type *t = map->type;
    struct str name = key->string;
    if (t != NULL && t->kind == CEL_OBJECT) {
        const struct cel_field *f = cel_type_field(t, name);
        if (f == NULL)
            return absent;
        name = f->json;
        t = f->type;
    } else {
        t = t != NULL ? t->elem : NULL;
    }
    const struct json *j = find_member(map->json, name, index);
    return j != NULL ? cel_of_json(j, t) : absent;
}

/* --- maps ------------------------------------------------------------------------------------- */
enum { MAP_SEARCH_MAX = 8 };

struct cel_map *cel_map_new(struct arena *a)
{
    return ARENA_NEW(a, struct cel_map);
}

/* Equal keys have equal hashes, whatever numeric kind they are of. */
static uint64_t key_hash(const struct cel_value *k)
{
    uint64_t h = 0xcbf29ce484222325u;
    int64_t n = 0;
    switch (k->kind) {
    case CEL_STRING:
        for (size_t i = 0; i < k->string.len; i++)
            h = (h ^ (unsigned char)k->string.data[i]) * 0x100000001b3u;
        return h;
    case CEL_BOOL:
        return k->boolean ? 1 : 2;
    case CEL_INT:
        n = k->integer;
        break;
    case CEL_UINT:
        n = (int64_t)k->uinteger;
        break;
    case CEL_DOUBLE:
        n = fabs(k->number) < 9e18 ? (int64_t)k->number : 0;
        break;
    default:
        break;
    }
    return ((uint64_t)n ^ (uint64_t)n >> 29) * 0x9e3779b97f4a7c15u;
}

/* The slot of key, or the free one where it would go. */
static uint32_t *map_slot(const struct cel_map *m, const struct cel_value *key)
{
    size_t i = (size_t)(key_hash(key) >> 7) & (m->index_size - 1);
    while (m->index[i] != 0 && !cel_equal(&m->entries[m->index[i] - 1].key, key))
        i = (i + 1) & (m->index_size - 1);
    return &m->index[i];
}

const struct cel_value *cel_map_get(const struct cel_map *m, const struct cel_value *key)
{
    if (m->index != NULL) {
        uint32_t position = *map_slot(m, key);
        return position != 0 ? &m->entries[position - 1].value : NULL;
    }
    for (size_t i = 0; i < m->count; i++)
        if (cel_equal(&m->entries[i].key, key))
            return &m->entries[i].value;
    return NULL;
}

bool cel_map_add(struct arena *a, struct cel_map *m, struct cel_value key, struct cel_value value)
{
    if (cel_map_get(m, &key) != NULL)
        return false;
    m->entries = arena_grow(a, m->entries, m->count, &m->cap, sizeof(*m->entries));
    m->entries[m->count++] = (struct cel_entry){key, value};
    if (m->count <= MAP_SEARCH_MAX)
        return true;
    if (m->count * 2 > m->index_size) {
        m->index_size = m->index_size != 0 ? m->index_size * 2 : 4 * MAP_SEARCH_MAX;
        m->index = ARENA_ARRAY(a, uint32_t, m->index_size);
        for (size_t i = 0; i < m->count; i++)
            *map_slot(m, &m->entries[i].key) = (uint32_t)(i + 1);
    } else {
        *map_slot(m, &key) = (uint32_t)m->count;
    }
    return true;
}

/* --- order and equality ------------------------------------------------------------------------
 */
static bool is_number(const struct cel_value *v)
{
    return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

#define CMP(x, y) ((x) < (y) ? -1 : (x) > (y) ? 1 : 0)

static int compare_double_int(double d, int64_t i)
{
    if (d >= 9223372036854775808.0)
        return 1;
    if (d < -9223372036854775808.0)
        return -1;
    int64_t whole = (int64_t)d;
    return whole != i ? CMP(whole, i) : CMP(d, (double)whole);
}

static int compare_double_uint(double d, uint64_t u)
{
    if (d < 0)
        return -1;
    if (d >= 18446744073709551616.0)
        return 1;
    uint64_t whole = (uint64_t)d;
    return whole != u ? CMP(whole, u) : CMP(d, (double)whole);
}

static int compare_numbers(const struct cel_value *x, const struct cel_value *y)
{
    if ((x->kind == CEL_DOUBLE && isnan(x->number)) || (y->kind == CEL_DOUBLE && isnan(y->number)))
        return 3;
    if (x->kind == y->kind)
        return x->kind == CEL_INT    ? CMP(x->integer, y->integer)
               : x->kind == CEL_UINT ? CMP(x->uinteger, y->uinteger)
                                     : CMP(x->number, y->number);
    if (x->kind == CEL_DOUBLE)
        return y->kind == CEL_INT ? compare_double_int(x->number, y->integer)
                                  : compare_double_uint(x->number, y->uinteger);
    if (y->kind == CEL_DOUBLE)
        return -compare_numbers(y, x);
    if (x->kind == CEL_INT)
        return x->integer < 0 ? -1 : CMP((uint64_t)x->integer, y->uinteger);
    return y->integer < 0 ? 1 : CMP(x->uinteger, (uint64_t)y->integer);
}

int cel_compare(const struct cel_value *x, const struct cel_value *y)
{
    if (is_number(x) && is_number(y))
        return compare_numbers(x, y);
    if (x->kind != y->kind)
        return 2;
    switch (x->kind) {
    case CEL_BOOL:
        return CMP(x->boolean, y->boolean);
    case CEL_STRING:
    case CEL_BYTES: {
        int c = str_cmp(x->string, y->string);
        return CMP(c, 0);
    }
    case CEL_DURATION:
        return CMP(x->integer, y->integer);
    case CEL_TIMESTAMP:
        return x->time.seconds != y->time.seconds ? CMP(x->time.seconds, y->time.seconds)
                                                  : CMP(x->time.nanos, y->time.nanos);
    default:
        return 2;
    }
}

static bool contains(const struct cel_value *list, const struct cel_value *v)
{
    for (size_t i = 0, n = cel_size(list); i < n; i++) {
        struct cel_value item = cel_item(list, i);
        if (cel_equal(&item, v))
            return true;
    }
    return false;
}

static bool equal_lists(const struct cel_value *x, const struct cel_value *y)
{
    size_t n = cel_size(x);
    if (n != cel_size(y))
        return false;
    bool ordered = x->type == NULL || x->type->list_type == CEL_LIST_ATOMIC;
    for (size_t i = 0; i < n; i++) {
        struct cel_value v = cel_item(x, i);
        struct cel_value w = ordered ? cel_item(y, i) : v;
        if (ordered ? !cel_equal(&v, &w) : !contains(y, &v))
            return false;
    }
    return true;
}

static bool equal_maps(const struct cel_value *x, const struct cel_value *y)
{
    size_t n = cel_size(x);
    if (n != cel_size(y))
        return false;
    bool large = y->in_json && n > CEL_SEARCH_MAX, same = true;
    AUTO_FREE uint32_t *order = large ? xmalloc(n * sizeof(*order)) : NULL;
    struct cel_index index;
    if (large)
        cel_index_build(&index, y->json, order);
    for (size_t i = 0; i < n && same; i++) {
        struct cel_entry e = cel_entry_at(x, i);
        struct cel_value other = cel_lookup(y, &e.key, large ? &index : NULL);
        same = other.kind != CEL_DYN && cel_equal(&e.value, &other);
    }
    return same;
}

static bool has_entries(const struct cel_value *v)
{
    return v->kind == CEL_MAP || (v->kind == CEL_OBJECT && v->in_json);
}

/* Recursion follows values, which JSON's depth and the expression bound. */
bool cel_equal(const struct cel_value *x, const struct cel_value *y)
{
    int c = cel_compare(x, y);
    if (c != 2)
        return c == 0;
    if (has_entries(x) && has_entries(y))
        return equal_maps(x, y);
    if (x->kind != y->kind)
        return false;
    switch (x->kind) {
    case CEL_NULL:
        return true;
    case CEL_LIST:
        return equal_lists(x, y);
    case CEL_TYPE:
        return x->type->kind == y->type->kind && str_eq(x->type->name, y->type->name);
    case CEL_OPTIONAL:
        return x->inner == NULL || y->inner == NULL ? x->inner == y->inner
                                                    : cel_equal(x->inner, y->inner);
    case CEL_QUANTITY:
        return quantity_cmp(x->opaque, y->opaque) == 0;
    case CEL_URL:
    case CEL_FORMAT:
    case CEL_IP:
    case CEL_CIDR:
    case CEL_SEMVER: {
        AUTO_BUF a = BUF_INIT;
        AUTO_BUF b = BUF_INIT;
        cel_value_text(x, &a);
        cel_value_text(y, &b);
        return str_eq(buf_str(&a), buf_str(&b));
    }
    default:
        return x->opaque == y->opaque;
    }
}

bool cel_is_zero(const struct cel_value *v)
{
    switch (v->kind) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
        return !v->boolean;
    case CEL_INT:
    case CEL_DURATION:
        return v->integer == 0;
    case CEL_UINT:
        return v->uinteger == 0;
    case CEL_DOUBLE:
        return v->number == 0;
    case CEL_STRING:
    case CEL_BYTES:
        return v->string.len == 0;
    case CEL_LIST:
    case CEL_MAP:
        return cel_size(v) == 0;
    case CEL_OBJECT:
        return v->in_json && cel_size(v) == 0;
    case CEL_OPTIONAL:
        return v->inner == NULL;
    default:
        return false;
    }
}

/* --- to JSON
 * --------------------------------------------------------------------------------------- */
static struct json *json_of_text(struct arena *a, const struct cel_value *v)
{
    AUTO_BUF b = BUF_INIT;
    cel_value_text(v, &b);
    return json_string(a, buf_str(&b));
}

static struct json *json_of_map(struct arena *a, const struct cel_value *v)
{
    struct json *o = json_object(a);
    for (size_t i = 0; i < v->map->count; i++) {
        struct json *value = cel_to_json(a, &v->map->entries[i].value);
        if (value == NULL)
            return NULL;
        json_set(a, o, cel_key_text(a, &v->map->entries[i].key), value);
    }
    return o;
}

struct json *cel_to_json(struct arena *a, const struct cel_value *v)
{
    switch (v->kind) {
    case CEL_NULL:
        return json_null(a);
    case CEL_BOOL:
        return json_bool(a, v->boolean);
    case CEL_INT:
        return json_int(a, v->integer);
    case CEL_UINT:
        return v->uinteger <= INT64_MAX ? json_int(a, (int64_t)v->uinteger)
                                        : json_double(a, (double)v->uinteger);
    case CEL_DOUBLE:
        return isfinite(v->number) ? json_double(a, v->number) : json_of_text(a, v);
    case CEL_STRING:
    case CEL_TIMESTAMP:
    case CEL_DURATION:
    case CEL_QUANTITY:
        return json_of_text(a, v);
    case CEL_BYTES: {
        if (v->in_json)
            return json_string(a, v->string);
        AUTO_BUF b = BUF_INIT;
        base64_encode(BASE64_STD, v->string.data, v->string.len, &b);
        return json_string(a, buf_str(&b));
    }
    case CEL_LIST: {
        if (v->in_json)
            return json_clone(a, v->json);
        struct json *list = json_array(a);
        for (size_t i = 0; i < v->list->count; i++) {
            struct json *item = cel_to_json(a, &v->list->items[i]);
            if (item == NULL)
                return NULL;
            json_append(a, list, item);
        }
        return list;
    }
    case CEL_MAP:
        return v->in_json ? json_clone(a, v->json) : json_of_map(a, v);
    case CEL_OBJECT:
        return v->in_json ? json_clone(a, v->json) : NULL;
    case CEL_OPTIONAL:
        return v->inner != NULL ? cel_to_json(a, v->inner) : json_null(a);
    default:
        return NULL;
    }
}
