/* validate.c - see validate.h. Recursion follows the depth of the document, which
 * the parser bounds, and that of the schema. */
#include "apiserver/custom/validate.h"

#include "apiserver/field_error.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <math.h>

struct check {
    struct field_errors *errs;
    const struct field_path *fixed; /* All faults at this path; NULL: where they are. */
    struct buf path;                /* "spec.list[0]" */
};

static void value(struct check *c, const struct structural *s, const struct json *j,
                  const struct json *old);

/* --- reporting ----------------------------------------------------------------------- */
static struct str path_text(const struct check *c)
{
    return buf_str(&c->path);
}

static struct str render(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    json_write(j, true, &b);
    return arena_str(a, buf_str(&b));
}

static struct str number_text(struct arena *a, double v)
{
    struct json j = {.type = JSON_DOUBLE, .number = {.value = v}};
    if (v == floor(v) && fabs(v) < 1e15)
        return arena_printf(a, "%.0f", v);
    return render(a, &j);
}

/* The place of a fault: here, or a member of what is here. */
static struct field_path place(struct check *c, struct str member)
{
    struct arena *a = c->errs->arena;
    struct str at = path_text(c);
    if (member.len != 0)
        at = at.len != 0 ? arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(at), STR_ARG(member))
                         : member;
    return (struct field_path){NULL, str_c(arena_str(a, at)), STR_NULL, -1};
}

#define HERE(c, member)                                                                            \
    const struct field_path at_ = place((c), (member)), *at = (c)->fixed != NULL    ? (c)->fixed   \
                                                              : at_.name[0] != '\0' ? &at_         \
                                                                                    : PATH_ROOT

static void invalid(struct check *c, struct str rendered, struct str why)
{
    HERE(c, STR_NULL);
    struct str path = path_text(c);
    field_invalid_raw(c->errs, at, rendered, STR_FMT " in body " STR_FMT, STR_ARG(path),
                      STR_ARG(why));
}

static void wrong_type(struct check *c, struct str wanted, struct str found)
{
    HERE(c, STR_NULL);
    AUTO_BUF quoted = BUF_INIT;
    struct str path = path_text(c);
    json_write_string(found, &quoted);
    struct str q = buf_str(&quoted);
    field_type_invalid(c->errs, at, found, STR_FMT " in body must be of type " STR_FMT ": " STR_FMT,
                       STR_ARG(path), STR_ARG(wanted), STR_ARG(q));
}

/* About the whole object, as upstream reports what its combinations find. */
static void general(struct check *c, const char *why)
{
    const struct field_path *at = c->fixed != NULL ? c->fixed : PATH_ROOT;
    AUTO_BUF quoted = BUF_INIT;
    json_write_string(path_text(c), &quoted);
    struct str q = buf_str(&quoted);
    field_invalid(c->errs, at, STR(""), STR_FMT " %s", STR_ARG(q), why);
}

#define TEXT(c, ...) arena_printf((c)->errs->arena, __VA_ARGS__)

/* --- types ----------------------------------------------------------------------------- */
static bool fits(const struct structural *s, const struct json *j)
{
    bool whole = j->type == JSON_INT ||
                 (j->type == JSON_DOUBLE && j->number.value == floor(j->number.value) &&
                  fabs(j->number.value) < 9007199254740992.0);
    if (s->int_or_string)
        return whole || j->type == JSON_STRING;
    switch (s->type) {
    case STRUCTURAL_ANY:
        return true;
    case STRUCTURAL_OBJECT:
        return j->type == JSON_OBJECT;
    case STRUCTURAL_ARRAY:
        return j->type == JSON_ARRAY;
    case STRUCTURAL_STRING:
        return j->type == JSON_STRING;
    case STRUCTURAL_INTEGER:
        return whole;
    case STRUCTURAL_NUMBER:
        return j->type == JSON_INT || j->type == JSON_DOUBLE;
    case STRUCTURAL_BOOLEAN:
        return j->type == JSON_BOOL;
    }
    return true;
}

static void check_type(struct check *c, const struct structural *s, const struct json *j)
{
    struct str wanted = s->int_or_string ? STR("integer,string") : s->type_name;
    if (j->type == JSON_NULL) {
        if (wanted.len != 0 && !s->nullable)
            wrong_type(c, wanted, STR("null"));
    } else if (!fits(s, j)) {
        wrong_type(c, wanted, str_of(json_type_name(j)));
    }
}

/* --- combinations ------------------------------------------------------------------------ */
static size_t try(struct check *c, const struct structural *s, const struct json *j,
                  struct field_errors *ret)
{
    struct field_errors *own = c->errs;
    *ret = (struct field_errors){.arena = own->arena};
    c->errs = ret;
    value(c, s, j, NULL);
    c->errs = own;
    return ret->count;
}

/* How many of the schemas hold; *ret_best: the faults of the one that came nearest. */
static size_t count_valid(struct check *c, const struct structural *list, size_t count,
                          const struct json *j, bool first_does, struct field_errors *ret_best)
{
    size_t valid = 0;
    for (size_t i = 0; i < count; i++) {
        struct field_errors faults;
        if (try(c, &list[i], j, &faults) == 0) {
            valid++;
            if (first_does)
                break;
        } else if (ret_best->count == 0 || faults.count < ret_best->count) {
            *ret_best = faults;
        }
    }
    return valid;
}

static void check_combinations(struct check *c, const struct structural *s, const struct json *j)
{
    struct field_errors best = {0}, ignored;
    if (s->any_of_count != 0 && count_valid(c, s->any_of, s->any_of_count, j, true, &best) == 0) {
        general(c, "must validate at least one schema (anyOf)");
        field_errors_append(c->errs, &best);
    }
    if (s->one_of_count != 0) {
        best = (struct field_errors){0};
        size_t n = count_valid(c, s->one_of, s->one_of_count, j, false, &best);
        if (n == 0) {
            general(c, "must validate one and only one schema (oneOf). Found none valid");
            field_errors_append(c->errs, &best);
        } else if (n > 1) {
            general(c, str_c(TEXT(c,
                                  "must validate one and only one schema (oneOf). Found %zu "
                                  "valid alternatives",
                                  n)));
        }
    }
    size_t failed = 0;
    for (size_t i = 0; i < s->all_of_count; i++) {
        struct field_errors faults;
        failed += try(c, &s->all_of[i], j, &faults) != 0;
        field_errors_append(c->errs, &faults);
    }
    if (failed != 0)
        general(c, failed == s->all_of_count
                       ? "must validate all the schemas (allOf). None validated"
                       : "must validate all the schemas (allOf)");
    if (s->not_ != NULL && try(c, s->not_, j, &ignored) == 0)
        general(c, "must not validate the schema (not)");
}

/* --- scalars ------------------------------------------------------------------------------- */
static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return n;
}

static void check_string(struct check *c, const struct structural *s, const struct json *j)
{
    struct arena *a = c->errs->arena;
    if (s->max_length >= 0 && characters(j->string) > s->max_length) {
        HERE(c, STR_NULL);
        field_too_long(c->errs, at, s->max_length);
    } else if (s->min_length >= 0 && characters(j->string) < s->min_length) {
        invalid(c, render(a, j),
                TEXT(c, "should be at least %" PRId64 " chars long", s->min_length));
    } else if (s->pattern != NULL && !pattern_matches(s->pattern, j->string)) {
        invalid(c, render(a, j), TEXT(c, "should match '" STR_FMT "'", STR_ARG(s->pattern_text)));
    }
}

static void check_format(struct check *c, const struct structural *s, const struct json *j)
{
    if (s->format.len != 0 && !custom_format_holds(s->format, j->string))
        wrong_type(c, s->format, j->string);
}

static bool is_multiple(double v, double of)
{
    double times = v / of;
    return times == floor(times);
}

static void check_number(struct check *c, const struct structural *s, const struct json *j)
{
    struct arena *a = c->errs->arena;
    double v = j->type == JSON_INT ? (double)j->integer : j->number.value;
    if (s->has_multiple_of && s->multiple_of > 0 && !is_multiple(v, s->multiple_of))
        invalid(
            c, render(a, j),
            TEXT(c, "should be a multiple of " STR_FMT, STR_ARG(number_text(a, s->multiple_of))));
    if (s->has_maximum && (s->exclusive_maximum ? v >= s->maximum : v > s->maximum))
        invalid(c, render(a, j),
                TEXT(c, "should be less than %s" STR_FMT,
                     s->exclusive_maximum ? "" : "or equal to ",
                     STR_ARG(number_text(a, s->maximum))));
    if (s->has_minimum && (s->exclusive_minimum ? v <= s->minimum : v < s->minimum))
        invalid(c, render(a, j),
                TEXT(c, "should be greater than %s" STR_FMT,
                     s->exclusive_minimum ? "" : "or equal to ",
                     STR_ARG(number_text(a, s->minimum))));
}

static void check_enum(struct check *c, const struct structural *s, const struct json *j)
{
    struct arena *a = c->errs->arena;
    for (size_t i = 0; i < s->enum_count; i++)
        if (json_equal(s->enum_[i], j))
            return;
    const char **known = ARENA_ARRAY(a, const char *, s->enum_count + 1);
    for (size_t i = 0; i < s->enum_count; i++) {
        const struct json *e = s->enum_[i];
        known[i] = str_c(e->type == JSON_STRING ? e->string : render(a, e));
    }
    HERE(c, STR_NULL);
    field_not_supported_raw(c->errs, at, render(a, j), known);
}

/* --- lists and objects ----------------------------------------------------------------------- */
static bool same_keys(const struct structural *list, const struct json *x, const struct json *y)
{
    for (size_t i = 0; i < list->key_count; i++) {
        const struct json *a = json_get(x, list->keys[i]), *b = json_get(y, list->keys[i]);
        if ((a == NULL) != (b == NULL) || (a != NULL && !json_equal(a, b)))
            return false;
    }
    return true;
}

/* The item that stood for this one before; only keys tell. */
static const struct json *old_item(const struct structural *list, const struct json *item,
                                   const struct json *old)
{
    if (list->list != LIST_MAP || old == NULL || old->type != JSON_ARRAY)
        return NULL;
    for (size_t i = 0; i < old->array.count; i++)
        if (same_keys(list, item, old->array.items[i]))
            return old->array.items[i];
    return NULL;
}

static bool has_repeated(const struct json *j)
{
    for (size_t i = 0; i < j->array.count; i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(j->array.items[i], j->array.items[k]))
                return true;
    return false;
}

static void check_array(struct check *c, const struct structural *s, const struct json *j,
                        const struct json *old)
{
    int64_t n = (int64_t)j->array.count;
    for (size_t i = 0; s->items != NULL && i < j->array.count; i++) {
        size_t len = c->path.len;
        buf_printf(&c->path, "[%zu]", i);
        value(c, s->items, j->array.items[i], old_item(s, j->array.items[i], old));
        buf_truncate(&c->path, len);
    }
    if (s->min_items >= 0 && n < s->min_items)
        invalid(c, TEXT(c, "%" PRId64, n),
                TEXT(c, "should have at least %" PRId64 " items", s->min_items));
    if (s->max_items >= 0 && n > s->max_items) {
        HERE(c, STR_NULL);
        field_too_many(c->errs, at, n, s->max_items);
    }
    if (s->unique_items && has_repeated(j))
        invalid(c, STR("\"\""), STR("shouldn't contain duplicates"));
}

static void member(struct check *c, const struct structural *s, struct str name,
                   const struct json *j, const struct json *old)
{
    size_t len = c->path.len;
    if (len != 0)
        buf_putc(&c->path, '.');
    buf_append_str(&c->path, name);
    value(c, s, j, old != NULL ? json_get(old, name) : NULL);
    buf_truncate(&c->path, len);
}

static void check_members(struct check *c, const struct structural *s, const struct json *j,
                          const struct json *old)
{
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        if (structural_member(s, m->key) != NULL)
            continue;
        if (s->forbids_additional) {
            AUTO_BUF key = BUF_INIT;
            json_write_string(m->key, &key);
            struct str path = path_text(c), rendered = buf_str(&key);
            HERE(c, STR_NULL);
            field_invalid_raw(c->errs, at, rendered,
                              STR_FMT "." STR_FMT " in body is a forbidden property", STR_ARG(path),
                              STR_ARG(m->key));
        } else if (s->additional != NULL) {
            member(c, s->additional, m->key, m->value, old);
        }
    }
    for (size_t i = 0; i < s->member_count; i++) {
        const struct json *v = json_get(j, s->members[i].name);
        if (v != NULL)
            member(c, &s->members[i].schema, s->members[i].name, v, old);
    }
    for (size_t i = 0; i < s->required_count; i++)
        if (json_get(j, s->required[i]) == NULL) {
            HERE(c, s->required[i]);
            field_required(c->errs, at, NULL);
        }
}

static void check_object(struct check *c, const struct structural *s, const struct json *j,
                         const struct json *old)
{
    int64_t n = (int64_t)j->object.count;
    if (s->min_members >= 0 && n < s->min_members) {
        invalid(c, TEXT(c, "%" PRId64, s->min_members),
                TEXT(c, "should have at least %" PRId64 " properties", s->min_members));
    } else if (s->max_members >= 0 && n > s->max_members) {
        HERE(c, STR_NULL);
        field_too_many(c->errs, at, n, s->max_members);
    } else {
        check_members(c, s, j, old);
    }
}

static void value(struct check *c, const struct structural *s, const struct json *j,
                  const struct json *old)
{
    if (old != NULL && json_equal(old, j))
        return;
    check_type(c, s, j);
    if (j->type == JSON_NULL) {
        if (s->enum_count != 0)
            check_enum(c, s, j);
        return;
    }
    check_combinations(c, s, j);
    if (j->type == JSON_STRING) {
        check_string(c, s, j);
        check_format(c, s, j);
    } else if (j->type == JSON_INT || j->type == JSON_DOUBLE) {
        check_number(c, s, j);
    } else if (j->type == JSON_ARRAY) {
        check_array(c, s, j, old);
    }
    if (s->enum_count != 0)
        check_enum(c, s, j);
    if (j->type == JSON_OBJECT)
        check_object(c, s, j, old);
}

void custom_validate(struct field_errors *errs, const struct structural *s, const struct json *j,
                     const struct json *old)
{
    struct check c = {.errs = errs, .path = BUF_INIT};
    value(&c, s, j, old);
    buf_done(&c.path);
}

bool custom_validate_at(struct field_errors *errs, const struct field_path *path,
                        const struct structural *s, const struct json *j)
{
    struct check c = {.errs = errs, .path = BUF_INIT, .fixed = path};
    size_t before = errs->count;
    value(&c, s, j, NULL);
    buf_done(&c.path);
    return errs->count == before;
}
