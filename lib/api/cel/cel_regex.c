/* cel_regex.c - patterns. The reference's engine is RE2, whose time is linear;
 * ours backtracks, so that every match has a limit of steps, past which it
 * counts as none. */
#include "lib/api/cel/cel_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_STEPS_MAX = 1000000, MATCH_DEPTH_MAX = 10000 };

struct cel_pattern {
    pcre2_code *code;
    pcre2_match_context *context;
};

static void release(void *p)
{
    struct cel_pattern *x = p;
    pcre2_code_free(x->code);
    pcre2_match_context_free(x->context);
}

struct cel_pattern *cel_pattern_new(struct arena *a, struct str text, struct str *ret_error)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re =
        pcre2_compile((PCRE2_SPTR)str_c(text), text.len,
                      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (re == NULL) {
        PCRE2_UCHAR why[256];
        pcre2_get_error_message(code, why, sizeof(why));
        *ret_error =
            arena_printf(a, "error parsing regexp: %s: `" STR_FMT "`", (char *)why, STR_ARG(text));
        return NULL;
    }
    struct cel_pattern *p = ARENA_NEW(a, struct cel_pattern);
    p->code = re;
    p->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(p->context, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(p->context, MATCH_DEPTH_MAX);
    arena_hold(a, p, release);
    return p;
}

bool cel_pattern_find(const struct cel_pattern *p, struct str text, size_t from, size_t *ret_from,
                      size_t *ret_to)
{
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(p->code, NULL);
    int n = pcre2_match(p->code, (PCRE2_SPTR)str_c(text), text.len, from, 0, m, p->context);
    if (n > 0) {
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(m);
        *ret_from = o[0];
        *ret_to = MAX_OF(o[0], o[1]);
    }
    pcre2_match_data_free(m);
    return n > 0;
}
