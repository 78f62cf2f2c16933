/* field_error.h - what is wrong with an object, field by field.
 *
 * Validation walks an object with paths that live on the stack (a path is a
 * chain of its parents and costs nothing until an error is reported) and adds
 * to one list per request. The list becomes the causes of a 422 Status, in the
 * order of reporting, worded as upstream's field errors are. */
#ifndef APISERVER_FIELD_ERROR_H
#define APISERVER_FIELD_ERROR_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_msg;
struct arena;
struct buf;

/* One step of a path. Make them with the macros below; the compound literals
 * live until the end of the enclosing block. */
struct field_path {
    const struct field_path *parent; /* NULL: the object itself. */
    const char *name;                /* Child name, may hold dots; or NULL. */
    struct str key;                  /* [key] when name is NULL and index < 0. */
    int64_t index;                   /* [index] when name is NULL and index >= 0. */
};

#define PATH(parent, child) (&(const struct field_path){(parent), (child), STR_NULL, -1})
#define PATH_INDEX(parent, i) (&(const struct field_path){(parent), NULL, STR_NULL, (int64_t)(i)})
#define PATH_KEY(parent, k) (&(const struct field_path){(parent), NULL, (k), -1})
#define PATH_ROOT ((const struct field_path *)NULL)

/* spec.containers[0].ports[1].name; the root alone is written <nil>. */
void field_path_write(const struct field_path *p, struct buf *out);

enum field_error_type {
    FIELD_NOT_FOUND,     /* FieldValueNotFound: Not found: "x" */
    FIELD_REQUIRED,      /* FieldValueRequired: Required value: why */
    FIELD_DUPLICATE,     /* FieldValueDuplicate: Duplicate value: "x" */
    FIELD_INVALID,       /* FieldValueInvalid: Invalid value: "x": why */
    FIELD_NOT_SUPPORTED, /* FieldValueNotSupported: Unsupported value: "x": supported values: "a",
                            "b" */
    FIELD_FORBIDDEN,     /* FieldValueForbidden: Forbidden: why */
    FIELD_TOO_LONG,      /* FieldValueTooLong: Too long: may not be more than 5 bytes */
    FIELD_TOO_MANY,      /* FieldValueTooMany: Too many: 3: must have at most 2 items */
    FIELD_INTERNAL,      /* InternalError: Internal error: why */
    FIELD_TYPE_INVALID,  /* FieldValueTypeInvalid: Invalid value: "x": why */
};

struct field_error {
    enum field_error_type type;
    struct str path;    /* As text. */
    struct str message; /* "Invalid value: ..." without the path. */
};

#define FIELD_ERRORS_MAX 512 /* Further ones are dropped: an answer is bounded. */

struct field_errors {
    struct arena *arena; /* Holds the texts. */
    struct field_error *items;
    size_t count, cap;
};

const char *field_error_reason(enum field_error_type type); /* "FieldValueInvalid" */

/* why is a printf format; NULL leaves it out (": why" too). */
void field_required(struct field_errors *l, const struct field_path *p, const char *why, ...)
    PRINTF_LIKE(3, 4);
void field_forbidden(struct field_errors *l, const struct field_path *p, const char *why, ...)
    PRINTF_LIKE(3, 4);
void field_invalid(struct field_errors *l, const struct field_path *p, struct str value,
                   const char *why, ...)
    PRINTF_LIKE(4, 5); /* The value is a string and is quoted. */
void field_invalid_int(struct field_errors *l, const struct field_path *p, int64_t value,
                       const char *why, ...) PRINTF_LIKE(4, 5);
void field_invalid_bool(struct field_errors *l, const struct field_path *p, bool value,
                        const char *why, ...) PRINTF_LIKE(4, 5);
/* The value as it shall stand in the text: null, [..], {..} or anything else. */
void field_invalid_raw(struct field_errors *l, const struct field_path *p, struct str rendered,
                       const char *why, ...) PRINTF_LIKE(4, 5);
/* The value is a message (see field_value_render); NULL is written null. */
void field_invalid_msg(struct field_errors *l, const struct field_path *p, const struct api_msg *m,
                       const void *msg, const char *why, ...) PRINTF_LIKE(5, 6);
void field_type_invalid(struct field_errors *l, const struct field_path *p, struct str value,
                        const char *why, ...) PRINTF_LIKE(4, 5);
void field_duplicate(struct field_errors *l, const struct field_path *p, struct str value);
void field_duplicate_int(struct field_errors *l, const struct field_path *p, int64_t value);
void field_duplicate_raw(struct field_errors *l, const struct field_path *p, struct str rendered);
void field_not_found(struct field_errors *l, const struct field_path *p, struct str value);
/* supported: values in the order to be listed, ended by NULL. Upstream sorts
 * them where they come from a set: pass them sorted then. */
void field_not_supported(struct field_errors *l, const struct field_path *p, struct str value,
                         const char *const *supported);
void field_not_supported_raw(struct field_errors *l, const struct field_path *p,
                             struct str rendered, const char *const *supported);
void field_too_long(struct field_errors *l, const struct field_path *p, int64_t bytes_max);
void field_too_many(struct field_errors *l, const struct field_path *p, int64_t actual,
                    int64_t max);
void field_internal(struct field_errors *l, const struct field_path *p, const char *why, ...)
    PRINTF_LIKE(3, 4);

/* Adds those of another list, which share its arena. */
void field_errors_append(struct field_errors *l, const struct field_errors *more);

/* A list of strings as it shall stand in the text. */
struct str field_strings_render(struct arena *a, const struct str *list, size_t count);
/* How upstream prints a struct in an error: as JSON of its internal Go type,
 * that is Go's field names, nothing left out, nil as null. Types of meta/v1
 * have no internal form and print as their API JSON. */
struct str field_value_render(struct arena *a, const struct api_msg *m, const void *msg);

/* The same of one member of a message, by its name in JSON. */
struct str field_member_render(struct arena *a, const struct api_msg *m, const void *msg,
                               const char *member);

/* The text of a 422 Status: one error as it is, several as "[a, b]"; equal
 * texts once. */
struct str field_errors_text(struct arena *a, const struct field_errors *l);

#endif
