/* kinds_fixture.h - a kind's hooks without a server: JSON in, defaults or
 * causes out. Shared by the test_kinds_*.c programs. */
#ifndef TEST_UNIT_APISERVER_KINDS_FIXTURE_H
#define TEST_UNIT_APISERVER_KINDS_FIXTURE_H

#include "api/meta_v1.h"
#include "apiserver/kind.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

struct fixture {
    struct arena *arena;
    const struct kind_ops *ops;
    const struct api_msg *msg;
    struct kind_ctx ctx;
    struct field_errors errs;
};

static inline struct fixture fixture_new(struct arena *a, const struct kind_ops *ops,
                                         const struct api_msg *msg)
{
    struct fixture f = {.arena = a, .ops = ops, .msg = msg, .errs = {.arena = a}};
    f.ctx = (struct kind_ctx){.arena = a,
                              .ops = ops,
                              .subresource = "",
                              .namespace_ = STR("default"),
                              .now_ns = INT64_C(1700000000000000000)};
    return f;
}

/* The object with its defaults. Single quotes stand for double ones. */
static inline void *fixture_object(struct fixture *f, const char *text)
{
    struct str json = arena_strc(f->arena, text);
    for (size_t i = 0; i < json.len; i++)
        if (json.data[i] == '\'')
            ((char *)(uintptr_t)json.data)[i] = '"';
    void *obj = api_msg_new(f->arena, f->msg);
    struct error err = {0};
    if (api_json_decode(f->arena, f->msg, json, API_STRICT, NULL, obj, &err) != 0)
        ck_abort_msg("%s: %s", text, error_message(&err));
    if (f->ops->default_ != NULL)
        f->ops->default_(&f->ctx, obj);
    return obj;
}

/* A part of the object, as JSON; path is dotted, with numbers for items. */
static inline const char *fixture_part(struct fixture *f, const void *obj, const char *path)
{
    struct json *j = api_json_tree(f->arena, f->msg, obj, STR_NULL, STR_NULL);
    struct str rest = str_of(path), step;
    bool more = rest.len != 0;
    while (more && j != NULL) {
        uint64_t index;
        more = str_cut(rest, '.', &step, &rest);
        if (j->type == JSON_ARRAY && str_to_u64(step, &index))
            j = index < j->array.count ? j->array.items[index] : NULL;
        else
            j = json_get(j, step);
    }
    if (j == NULL)
        return "absent";
    AUTO_BUF b = BUF_INIT;
    json_write(j, false, &b);
    struct str out = arena_str(f->arena, buf_str(&b));
    for (size_t i = 0; i < out.len; i++)
        if (out.data[i] == '"')
            ((char *)(uintptr_t)out.data)[i] = '\'';
    return str_c(out);
}

/* "path: message" of every cause, one a line; values of quotes as they are. */
static inline const char *fixture_causes(struct fixture *f)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < f->errs.count; i++)
        buf_printf(&b, "%s" STR_FMT ": " STR_FMT, i == 0 ? "" : "\n",
                   STR_ARG(f->errs.items[i].path), STR_ARG(f->errs.items[i].message));
    f->errs.count = 0;
    return str_c(arena_str(f->arena, buf_str(&b)));
}

static inline const char *fixture_create(struct fixture *f, const char *text)
{
    void *obj = fixture_object(f, text);
    if (f->ops->prepare_create != NULL)
        f->ops->prepare_create(&f->ctx, obj);
    f->ops->validate_create(&f->ctx, obj, &f->errs);
    return fixture_causes(f);
}

static inline const char *fixture_update(struct fixture *f, const char *before, const char *after)
{
    void *old = fixture_object(f, before), *obj = fixture_object(f, after);
    if (f->ops->prepare_update != NULL)
        f->ops->prepare_update(&f->ctx, obj, old);
    f->ops->validate_update(&f->ctx, obj, old, &f->errs);
    return fixture_causes(f);
}

/* An update through a subresource that has rules of its own. */
static inline const char *fixture_sub(struct fixture *f, const char *sub, const char *before,
                                      const char *after)
{
    void *old = fixture_object(f, before), *obj = fixture_object(f, after);
    f->ctx.subresource = sub;
    for (const struct kind_sub *s = f->ops->subs; s->name != NULL; s++)
        if (strcmp(s->name, sub) == 0) {
            if (s->prepare_update != NULL)
                s->prepare_update(&f->ctx, obj, old);
            s->validate_update(&f->ctx, obj, old, &f->errs);
        }
    return fixture_causes(f);
}

/* The warnings of an object that is made, one a line. */
static inline const char *fixture_warnings(struct fixture *f, const char *text)
{
    struct str_list list = {.arena = f->arena};
    AUTO_BUF b = BUF_INIT;
    void *obj = fixture_object(f, text);
    f->ctx.warnings = &list;
    if (f->ops->prepare_create != NULL)
        f->ops->prepare_create(&f->ctx, obj);
    f->ops->warn(&f->ctx, obj, NULL);
    for (size_t i = 0; i < list.count; i++)
        buf_printf(&b, "%s" STR_FMT, i == 0 ? "" : "\n", STR_ARG(list.items[i]));
    return str_c(arena_str(f->arena, buf_str(&b)));
}

/* Objects and what is wrong with them; "" is nothing. */
struct fixture_case {
    const char *object;
    const char *causes;
};

static inline void fixture_run(const struct kind_ops *ops, const struct api_msg *msg,
                               const struct fixture_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, ops, msg);
        ck_assert_str_eq(fixture_create(&f, cases[i].object), cases[i].causes);
    }
}

#endif
