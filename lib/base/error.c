/* error.c - see error.h. */
#include "lib/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct error_info {
    int code;
    int http_status;
    const char *reason;
    const char *text;
};

static const struct error_info infos[] = {
#define X(code, number, reason, http, text) {code, http, reason, text},
    ERROR_CODES(X)
#undef X
};

static const struct error_info *info_of(int code)
{
    static const struct error_info unknown = {0, 500, "InternalError", "unknown error"};
    static const struct error_info none = {0, 200, "", "no error"};
    if (code == 0)
        return &none;
    for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
        if (infos[i].code == code)
            return &infos[i];
    return &unknown;
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    va_list ap;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    return code;
}

int error_set_errno(struct error *err, int code, int errnum, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    va_list ap;
    err->code = code;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    size_t len = strlen(err->message);
    char text[128];
    /* The GNU strerror_r may return a static text instead of filling ours. */
    const char *why = strerror_r(errnum, text, sizeof(text));
    snprintf(err->message + len, sizeof(err->message) - len, ": %s", why);
    return code;
}

int error_prefix(struct error *err, const char *fmt, ...)
{
    if (err == NULL)
        return E_INTERNAL;
    char old[ERROR_MESSAGE_MAX];
    memcpy(old, err->message, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->message, sizeof(err->message), fmt, ap);
    va_end(ap);
    size_t len = strlen(err->message);
    size_t left = sizeof(err->message) - len;
    size_t rest = strnlen(old, sizeof(old) - 1);
    if (left > 3) {
        memcpy(err->message + len, ": ", 2);
        rest = MIN_OF(rest, left - 3);
        memcpy(err->message + len + 2, old, rest);
        err->message[len + 2 + rest] = '\0';
    }
    return err->code;
}

void error_clear(struct error *err)
{
    err->code = 0;
    err->message[0] = '\0';
}

const char *error_text(int code)
{
    return info_of(code)->text;
}

const char *error_reason(int code)
{
    return info_of(code)->reason;
}

int error_http_status(int code)
{
    return info_of(code)->http_status;
}

const char *error_message(const struct error *err)
{
    return err->message[0] != '\0' ? err->message : error_text(err->code);
}
