/* log_options.c - see log_options.h. */
#include "apiserver/log_options.h"

#include "apiserver/field_error.h"
#include "apiserver/request.h"
#include "apiserver/status.h"

static struct meta_v1_status *check_least(struct req *r, const char *name, int64_t least,
                                          bool *ret_has, struct field_errors *errs)
{
    int64_t n = 0;
    struct meta_v1_status *s = req_query_i64(r, name, ret_has, &n);
    if (s == NULL && *ret_has && n < least)
        field_invalid_int(errs, PATH(PATH_ROOT, name), n,
                          least == 0 ? "must be greater than or equal to 0"
                                     : "must be greater than 0");
    return s;
}

struct meta_v1_status *log_options_check(struct req *r)
{
    static const char *const streams[] = {"All", "Stderr", "Stdout", NULL};
    struct field_errors errs = {.arena = r->arena};
    bool has_tail = false, has_limit = false, has_since = false, known = false;
    struct str stream = req_query(r, "stream");
    struct meta_v1_status *s = check_least(r, "tailLines", 0, &has_tail, &errs);
    if (s == NULL)
        s = check_least(r, "limitBytes", 1, &has_limit, &errs);
    if (s == NULL && req_query(r, "sinceTime").len == 0)
        s = check_least(r, "sinceSeconds", 1, &has_since, &errs);
    if (s != NULL)
        return s;
    if (req_query(r, "sinceTime").len != 0 && req_query(r, "sinceSeconds").len != 0)
        field_forbidden(&errs, PATH(PATH_ROOT, ""),
                        "at most one of `sinceTime` or `sinceSeconds` may be specified");
    for (size_t i = 0; streams[i] != NULL; i++)
        known = known || str_eqc(stream, streams[i]);
    if (stream.len != 0 && !known)
        field_not_supported(&errs, PATH(PATH_ROOT, "stream"), stream, streams);
    else if (stream.len != 0 && !str_eqc(stream, "All") && has_tail)
        field_forbidden(&errs, PATH(PATH_ROOT, ""),
                        "`tailLines` and specific `stream` are mutually exclusive for now");
    return errs.count == 0 ? NULL
                           : status_invalid(r->arena, "", "PodLogOptions", r->info.name, &errs);
}
