/* convert.h - objects from one encoding into another. Pure. */
#ifndef CLI_CONVERT_H
#define CLI_CONVERT_H

#include "lib/base/str.h"

struct api_warnings;
struct arena;
struct buf;
struct error;

enum convert_format { CONVERT_JSON, CONVERT_YAML, CONVERT_PROTOBUF };

/* "json", "yaml", "protobuf". E_INVALID. */
int convert_format(const char *name, enum convert_format *ret, struct error *err);
/* Appends the converted input. YAML may hold several documents; protobuf holds
 * one object in its envelope. Unknown and duplicate fields are left out and
 * added to warnings (NULL: forgotten), in memory of warnings_arena. */
int convert_bytes(enum convert_format from, enum convert_format to, struct str input,
                  struct buf *out, struct arena *warnings_arena, struct api_warnings *warnings,
                  struct error *err);

#endif
