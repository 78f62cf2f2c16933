/* field_presence.h - whether a field stands in its object's JSON: left out by
 * omitempty and omitzero, null, or there. What managedFields speak of is the
 * JSON, so the encoder's rules decide about structs as well. */
#ifndef API_FIELD_PRESENCE_H
#define API_FIELD_PRESENCE_H

#include "lib/api/codec.h"
#include "lib/api/walk.h"

enum field_presence { FIELD_ABSENT, FIELD_NULL, FIELD_PRESENT };

enum field_presence field_presence_slow(const struct api_field *f, const void *base);

/* base: the struct that holds the field; NULL: there is none. */
static inline enum field_presence field_presence(const struct api_field *f, const void *base)
{
    if (base == NULL)
        return FIELD_ABSENT;
    bool omit = (f->flags & API_F_OMITEMPTY) != 0;
    if (f->label != API_SINGULAR) {
        if (field_count(base, f) != 0)
            return FIELD_PRESENT;
        return omit ? FIELD_ABSENT : field_items(base, f) == NULL ? FIELD_NULL : FIELD_PRESENT;
    }
    if (f->type == API_MESSAGE)
        return field_presence_slow(f, base);
    if (f->has_offset != UINT32_MAX)
        return field_has(base, f) ? FIELD_PRESENT : omit ? FIELD_ABSENT : FIELD_NULL;
    if (omit)
        return field_scalar_empty(f, field_at_const(base, f)) ? FIELD_ABSENT : FIELD_PRESENT;
    if (f->type == API_BYTES && ((const struct str *)field_at_const(base, f))->data == NULL)
        return FIELD_NULL;
    return FIELD_PRESENT;
}

#endif
