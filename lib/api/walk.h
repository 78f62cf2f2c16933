/* walk.h - how codecs reach a field's memory inside a struct. */
#ifndef API_WALK_H
#define API_WALK_H

#include "lib/api/schema.h"

/* Struct members by offset; the generated tables vouch for type and place. */
static inline void *field_at(void *base, const struct api_field *f)
{
    return (char *)base + f->offset;
}
static inline const void *field_at_const(const void *base, const struct api_field *f)
{
    return (const char *)base + f->offset;
}
/* The array of a list or map. */
static inline void *field_items(const void *base, const struct api_field *f)
{
    void *p;
    memcpy(&p, (const char *)base + f->offset, sizeof(p));
    return p;
}
static inline void field_set_items(void *base, const struct api_field *f, void *p)
{
    memcpy((char *)base + f->offset, &p, sizeof(p));
}
static inline size_t field_count(const void *base, const struct api_field *f)
{
    return *(const size_t *)(const void *)((const char *)base + f->has_offset);
}
static inline void field_set_count(void *base, const struct api_field *f, size_t n)
{
    *(size_t *)(void *)((char *)base + f->has_offset) = n;
}
/* Whether a scalar pointer is set. */
static inline bool field_has(const void *base, const struct api_field *f)
{
    return *(const bool *)(const void *)((const char *)base + f->has_offset);
}
static inline void field_set_has(void *base, const struct api_field *f, bool v)
{
    *(bool *)(void *)((char *)base + f->has_offset) = v;
}
static inline bool field_is_message_pointer(const struct api_field *f)
{
    return f->type == API_MESSAGE && f->label == API_SINGULAR && (f->flags & API_F_POINTER) != 0;
}
static inline bool field_is_scalar_pointer(const struct api_field *f)
{
    return f->label == API_SINGULAR && f->has_offset != UINT32_MAX;
}
/* Two scalars of a field's type; messages are never called equal here. */
static inline bool field_scalar_equal(const struct api_field *f, const void *x, const void *y)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return *(const bool *)x == *(const bool *)y;
    case API_INT32:
        return *(const int32_t *)x == *(const int32_t *)y;
    case API_INT64:
        return *(const int64_t *)x == *(const int64_t *)y;
    case API_DOUBLE:
        return *(const double *)x == *(const double *)y;
    case API_STRING:
    case API_BYTES:
        return str_eq(*(const struct str *)x, *(const struct str *)y);
    case API_MESSAGE:
        break;
    }
    return false;
}
/* What omitempty leaves out of scalars; structs never, whatever they hold. */
static inline bool field_scalar_empty(const struct api_field *f, const void *at)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return !*(const bool *)at;
    case API_INT32:
        return *(const int32_t *)at == 0;
    case API_INT64:
        return *(const int64_t *)at == 0;
    case API_DOUBLE:
        return *(const double *)at == 0;
    case API_STRING:
    case API_BYTES:
        return ((const struct str *)at)->len == 0;
    case API_MESSAGE:
        break;
    }
    return false;
}

#endif
