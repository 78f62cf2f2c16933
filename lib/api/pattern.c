/* pattern.c - regular expressions of schemas, matched by PCRE2; see structural.h.
 *
 * RE2 knows no back references and no look-around, so that matching is linear.
 * Patterns that use them are refused, and the match has a limit: what would
 * cost more counts as no match. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "lib/api/structural.h"

#include "lib/base/error.h"

#include <pcre2.h>

#define MATCH_STEPS_MAX 1000000u
#define MATCH_KIB_MAX 4096u

struct pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

/* What PCRE2 would take and RE2 does not. */
static bool is_beyond_re2(struct str text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        char c = text.data[i], next = text.data[i + 1];
        if (c == '\\') {
            if ((next >= '1' && next <= '9') || next == 'G' || next == 'Z' || next == 'K' ||
                next == 'g' || next == 'k')
                return true;
            i++;
            continue;
        }
        if (c != '(' || next != '?' || i + 2 >= text.len)
            continue;
        char what = text.data[i + 2], behind = i + 3 < text.len ? text.data[i + 3] : '\0';
        if (what == '=' || what == '!' || what == '>' || what == '(' || what == '#' ||
            what == '|' || (what == '<' && (behind == '=' || behind == '!')))
            return true;
    }
    return false;
}

struct pattern *pattern_new(struct str text, struct error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    if (is_beyond_re2(text)) {
        error_set(err, E_INVALID,
                  "error parsing regexp: invalid or unsupported Perl syntax: `" STR_FMT "`",
                  STR_ARG(text));
        return NULL;
    }
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)(text.data != NULL ? text.data : ""), text.len,
                      PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (compiled == NULL) {
        PCRE2_UCHAR why[128];
        if (pcre2_get_error_message(code, why, sizeof(why)) < 0)
            why[0] = '\0';
        error_set(err, E_INVALID, "error parsing regexp: %s: `" STR_FMT "`", (const char *)why,
                  STR_ARG(text));
        return NULL;
    }
    struct pattern *p = xzalloc(sizeof(*p));
    p->code = compiled;
    p->limits = pcre2_match_context_create(NULL);
    ASSERT(p->limits != NULL);
    pcre2_set_match_limit(p->limits, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(p->limits, MATCH_KIB_MAX);
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p == NULL)
        return;
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    free(p);
}

bool pattern_matches(const struct pattern *p, struct str text)
{
    pcre2_match_data *d = pcre2_match_data_create(1, NULL);
    ASSERT(d != NULL);
    int r = pcre2_match(p->code, (PCRE2_SPTR)(text.data != NULL ? text.data : ""), text.len, 0, 0,
                        d, p->limits);
    pcre2_match_data_free(d);
    return r >= 0;
}
