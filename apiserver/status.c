/* status.c - see status.h. Pure. */
#include "apiserver/status.h"

#include "apiserver/field_error.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct str group_resource_text(struct arena *a, struct group_resource gr)
{
    if (gr.group.len == 0)
        return gr.resource;
    return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(gr.resource), STR_ARG(gr.group));
}

struct meta_v1_status *status_new(struct arena *a, int32_t code, const char *reason,
                                  struct str message)
{
    struct meta_v1_status *s = ARENA_NEW(a, struct meta_v1_status);
    s->status = STR("Failure");
    s->message = message;
    s->reason = str_of(reason);
    s->code = code;
    return s;
}

static struct str vformat(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_n(p, (size_t)n);
}

#define FORMAT(ret)                                                                                \
    struct str ret;                                                                                \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        ret = vformat(a, fmt, ap);                                                                 \
        va_end(ap);                                                                                \
    } while (0)

struct meta_v1_status *status_printf(struct arena *a, int32_t code, const char *reason,
                                     const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, code, reason, text);
}

struct meta_v1_status_details *status_details(struct arena *a, struct meta_v1_status *s)
{
    if (s->details == NULL)
        s->details = ARENA_NEW(a, struct meta_v1_status_details);
    return s->details;
}

void status_add_cause(struct arena *a, struct meta_v1_status *s, const char *reason,
                      struct str message, struct str field)
{
    struct meta_v1_status_details *d = status_details(a, s);
    size_t n = d->causes_count;
    /* There is room up to the next power of two. */
    if ((n & (n - 1)) == 0) {
        struct meta_v1_status_cause *causes =
            ARENA_ARRAY(a, struct meta_v1_status_cause, n == 0 ? 1 : 2 * n);
        if (n != 0)
            memcpy(causes, d->causes, n * sizeof(*causes));
        d->causes = causes;
    }
    d->causes[d->causes_count++] = (struct meta_v1_status_cause){str_of(reason), message, field};
}

static void describe(struct arena *a, struct meta_v1_status *s, struct group_resource gr,
                     struct str name)
{
    struct meta_v1_status_details *d = status_details(a, s);
    d->name = name;
    d->group = gr.group;
    d->kind = gr.resource;
}

struct meta_v1_status *status_bad_request(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, 400, "BadRequest", text);
}

struct meta_v1_status *status_plain(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, 500, "", text);
}

struct meta_v1_status *status_internal(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    struct meta_v1_status *s =
        status_printf(a, 500, "InternalError", "Internal error occurred: " STR_FMT, STR_ARG(text));
    status_add_cause(a, s, "", text, STR_NULL);
    return s;
}

struct meta_v1_status *status_not_found(struct arena *a, struct group_resource gr, struct str name)
{
    struct meta_v1_status *s =
        status_printf(a, 404, "NotFound", STR_FMT " \"" STR_FMT "\" not found",
                      STR_ARG(group_resource_text(a, gr)), STR_ARG(name));
    describe(a, s, gr, name);
    return s;
}

struct meta_v1_status *status_exists(struct arena *a, struct group_resource gr, struct str name)
{
    struct meta_v1_status *s =
        status_printf(a, 409, "AlreadyExists", STR_FMT " \"" STR_FMT "\" already exists",
                      STR_ARG(group_resource_text(a, gr)), STR_ARG(name));
    describe(a, s, gr, name);
    return s;
}

struct meta_v1_status *status_conflict(struct arena *a, struct group_resource gr, struct str name,
                                       const char *fmt, ...)
{
    FORMAT(text);
    struct meta_v1_status *s =
        status_printf(a, 409, "Conflict",
                      "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT "\": " STR_FMT,
                      STR_ARG(group_resource_text(a, gr)), STR_ARG(name), STR_ARG(text));
    describe(a, s, gr, name);
    return s;
}

struct meta_v1_status *status_forbidden(struct arena *a, struct group_resource gr, struct str name,
                                        const char *fmt, ...)
{
    FORMAT(text);
    struct str what = group_resource_text(a, gr);
    struct meta_v1_status *s =
        name.len != 0
            ? status_printf(a, 403, "Forbidden", STR_FMT " \"" STR_FMT "\" is forbidden: " STR_FMT,
                            STR_ARG(what), STR_ARG(name), STR_ARG(text))
            : status_printf(a, 403, "Forbidden", STR_FMT " is forbidden: " STR_FMT, STR_ARG(what),
                            STR_ARG(text));
    describe(a, s, gr, name);
    return s;
}

struct meta_v1_status *status_invalid(struct arena *a, const char *group, const char *kind,
                                      struct str name, const struct field_errors *errs)
{
    struct group_resource gk = {str_of(group), str_of(kind)};
    struct meta_v1_status *s = status_printf(
        a, 422, "Invalid", STR_FMT " \"" STR_FMT "\" is invalid: " STR_FMT,
        STR_ARG(group_resource_text(a, gk)), STR_ARG(name), STR_ARG(field_errors_text(a, errs)));
    describe(a, s, gk, name);
    size_t room = 1; /* As status_add_cause() expects it. */
    while (room < errs->count)
        room *= 2;
    s->details->causes = ARENA_ARRAY(a, struct meta_v1_status_cause, room);
    s->details->causes_count = errs->count;
    for (size_t i = 0; i < errs->count; i++)
        s->details->causes[i] =
            (struct meta_v1_status_cause){str_of(field_error_reason(errs->items[i].type)),
                                          errs->items[i].message, errs->items[i].path};
    return s;
}

struct meta_v1_status *status_unauthorized(struct arena *a)
{
    return status_new(a, 401, "Unauthorized", STR("Unauthorized"));
}

struct meta_v1_status *status_path_not_found(struct arena *a)
{
    struct meta_v1_status *s =
        status_new(a, 404, "NotFound", STR("the server could not find the requested resource"));
    status_details(a, s);
    return s;
}

struct meta_v1_status *status_method(struct arena *a)
{
    struct meta_v1_status *s =
        status_new(a, 405, "MethodNotAllowed",
                   STR("the server does not allow this method on the requested resource"));
    status_details(a, s);
    return s;
}

struct meta_v1_status *status_expired(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, 410, "Expired", text);
}

struct meta_v1_status *status_gone_rv(struct arena *a, int64_t rv, int64_t current)
{
    return status_expired(a, "too old resource version: %" PRId64 " (%" PRId64 ")", rv, current);
}

struct meta_v1_status *status_rv_too_large(struct arena *a, int64_t rv, int64_t current)
{
    struct meta_v1_status *s = status_printf(
        a, 504, "Timeout", "Timeout: Too large resource version: %" PRId64 ", current: %" PRId64,
        rv, current);
    status_add_cause(a, s, "ResourceVersionTooLarge", STR("Too large resource version"), STR_NULL);
    s->details->retry_after_seconds = 1;
    return s;
}

struct meta_v1_status *status_too_many(struct arena *a, int32_t retry_s, const char *fmt, ...)
{
    FORMAT(text);
    struct meta_v1_status *s = status_new(a, 429, "TooManyRequests", text);
    status_details(a, s)->retry_after_seconds = retry_s;
    return s;
}

struct meta_v1_status *status_unavailable(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, 503, "ServiceUnavailable", text);
}

struct meta_v1_status *status_too_large(struct arena *a, const char *fmt, ...)
{
    FORMAT(text);
    return status_new(a, 413, "RequestEntityTooLarge", text);
}

struct meta_v1_status *status_of_answer(struct arena *a, int code, struct group_resource gr,
                                        struct str name, struct str body)
{
    /* NULL: the body's own words. */
    static const struct {
        int code;
        const char *reason, *message;
    } known[] = {
        {401, "Unauthorized", "the server has asked for the client to provide credentials"},
        {403, "Forbidden", NULL},
        {404, "NotFound", "the server could not find the requested resource"},
        {405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"},
        {406, "NotAcceptable", NULL},
        {409, "Conflict", "the server reported a conflict"},
        {415, "UnsupportedMediaType", NULL},
        {422, "Invalid", "the server rejected our request due to an error in our request"},
        {429, "TooManyRequests",
         "the server has received too many requests and has asked us to try again later"},
        {503, "ServiceUnavailable", "the server is currently unable to handle the request"},
        {504, "Timeout",
         "the server was unable to return a response in the time allotted, but may still be "
         "processing the request"},
    };
    if (code == 400)
        return status_bad_request(a, STR_FMT, STR_ARG(body));
    if (code == 500)
        return status_internal(a, STR_FMT, STR_ARG(body));
    const char *reason = code > 500 ? "InternalError" : "";
    struct str message =
        code > 500 ? arena_printf(a,
                                  "an error on the server (\"" STR_FMT
                                  "\") has prevented the request from succeeding",
                                  STR_ARG(body))
                   : arena_printf(a,
                                  "the server responded with the status code %d but did not "
                                  "return more information",
                                  code);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].code == code) {
            reason = known[i].reason;
            message = known[i].message != NULL ? str_of(known[i].message) : body;
        }
    /* The blank is where upstream leaves the verb out. */
    struct meta_v1_status *s =
        status_printf(a, code, reason, STR_FMT " ( " STR_FMT " " STR_FMT ")", STR_ARG(message),
                      STR_ARG(group_resource_text(a, gr)), STR_ARG(name));
    describe(a, s, gr, name);
    return s;
}

struct meta_v1_status *status_from_code(struct arena *a, int code, const char *message)
{
    switch (code) {
    case E_UNKNOWN_OUTCOME:
    case E_TIMEOUT: {
        struct meta_v1_status *s = status_printf(
            a, 504, "Timeout", "Timeout: request did not complete within requested timeout - %s",
            message);
        status_details(a, s);
        return s;
    }
    case E_UNAVAILABLE:
    case E_NOT_LEADER:
    case E_CLOSED:
    case E_AGAIN: {
        struct meta_v1_status *s =
            status_printf(a, 503, "ServiceUnavailable", "the store is not available: %s", message);
        status_details(a, s)->retry_after_seconds = 1;
        return s;
    }
    case E_NO_SPACE:
    case E_NO_MEMORY:
        return status_printf(a, 503, "ServiceUnavailable", "the store has no space left: %s",
                             message);
    case E_TOO_LARGE:
        return status_printf(a, 413, "RequestEntityTooLarge",
                             "Request entity too large: limit is 3145728");
    case E_EXPIRED:
        return status_expired(a, "%s", message);
    default:
        return status_internal(a, "%s", message);
    }
}
