/* scheme_table.h - the generated part of the registry, for scheme.c alone. */
#ifndef API_SCHEME_TABLE_H
#define API_SCHEME_TABLE_H

#include "lib/api/scheme.h"

extern const struct api_kind api_kind_table[];
extern const size_t api_kind_table_count;

#endif
