/* error.h - the one list of error codes, and the caller-owned report.
 *
 * A fallible function returns 0 or one of these negative codes, with
 * `struct error *err` as its last parameter (NULL is allowed: the code alone).
 * Set at the origin, prefixed on the way up, logged once at the edge.
 * Reporting never allocates. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "lib/base/base.h"

/* X(code, number, Kubernetes StatusReason, HTTP status, text) */
#define ERROR_CODES(X)                                                                             \
    X(E_INVALID, -1, "BadRequest", 400, "invalid input")                                           \
    X(E_UNAUTHORIZED, -2, "Unauthorized", 401, "not authenticated")                                \
    X(E_FORBIDDEN, -3, "Forbidden", 403, "not allowed")                                            \
    X(E_NOT_FOUND, -4, "NotFound", 404, "not found")                                               \
    X(E_METHOD, -5, "MethodNotAllowed", 405, "method not allowed")                                 \
    X(E_NOT_ACCEPTABLE, -6, "NotAcceptable", 406, "not acceptable")                                \
    X(E_EXISTS, -7, "AlreadyExists", 409, "already exists")                                        \
    X(E_CONFLICT, -8, "Conflict", 409, "conflict")                                                 \
    X(E_EXPIRED, -9, "Expired", 410, "revision no longer kept")                                    \
    X(E_TOO_LARGE, -10, "RequestEntityTooLarge", 413, "too large")                                 \
    X(E_MEDIA_TYPE, -11, "UnsupportedMediaType", 415, "unsupported media type")                    \
    X(E_UNPROCESSABLE, -12, "Invalid", 422, "failed validation")                                   \
    X(E_TOO_MANY, -13, "TooManyRequests", 429, "too many requests")                                \
    X(E_INTERNAL, -14, "InternalError", 500, "internal error")                                     \
    X(E_UNAVAILABLE, -15, "ServiceUnavailable", 503, "not available")                              \
    X(E_TIMEOUT, -16, "Timeout", 504, "timed out")                                                 \
    X(E_NO_MEMORY, -17, "ServiceUnavailable", 503, "memory budget reached")                        \
    X(E_IO, -18, "InternalError", 500, "input/output error")                                       \
    X(E_CORRUPT, -19, "InternalError", 500, "damaged data")                                        \
    X(E_CLOSED, -20, "ServiceUnavailable", 503, "closed")                                          \
    X(E_AGAIN, -21, "ServiceUnavailable", 503, "try again")                                        \
    X(E_NO_SPACE, -22, "ServiceUnavailable", 503, "no space left")                                 \
    X(E_NOT_LEADER, -23, "ServiceUnavailable", 503, "not the leader")                              \
    X(E_UNKNOWN_OUTCOME, -24, "Timeout", 504, "outcome unknown")                                   \
    X(E_CANCELED, -25, "InternalError", 499, "canceled")                                           \
    X(E_FUTURE_REV, -26, "Timeout", 504, "revision not reached yet")                               \
    X(E_EOF, -27, "InternalError", 500, "end of input")                                            \
    X(E_NOT_IMPLEMENTED, -28, "NotImplemented", 501, "not implemented")                            \
    X(E_TLS, -29, "InternalError", 500, "TLS failure")                                             \
    X(E_USAGE, -30, "BadRequest", 400, "wrong usage")

enum {
#define X(code, number, reason, http, text) code = (number),
    ERROR_CODES(X)
#undef X
};

/* What a program ends with whose command line is wrong; EXIT_FAILURE is for all else. */
#define EXIT_USAGE 2

#define ERROR_MESSAGE_MAX 1024

struct error {
    int code; /* 0 while nothing was reported. */
    char message[ERROR_MESSAGE_MAX];
};

/* Fills *err (unless NULL) and returns code, so that `return error_set(...)`
 * reads as one step. Text beyond the buffer is cut. */
int error_set(struct error *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As error_set, with ": " and strerror(errnum) behind the text. */
int error_set_errno(struct error *err, int code, int errnum, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* Puts "text: " in front of the message. Returns err->code; E_INTERNAL for NULL: it failed anyway.
 */
int error_prefix(struct error *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_clear(struct error *err);

const char *error_text(int code);   /* "not found" */
const char *error_reason(int code); /* "NotFound" */
int error_http_status(int code);    /* 404 */
/* The message if there is one, else the code's text. Never NULL. */
const char *error_message(const struct error *err);

#endif
