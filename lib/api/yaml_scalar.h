/* yaml_scalar.h - what a plain YAML scalar means: the YAML 1.1 rules of go-yaml
 * v2, which Kubernetes reads and writes YAML with. */
#ifndef API_YAML_SCALAR_H
#define API_YAML_SCALAR_H

#include "lib/base/str.h"

struct arena;
struct json;

/* The value of plain text: null, true, 017, 1_000, 0x1f, .5, or a string. */
struct json *yaml_scalar_resolve(struct arena *a, struct str text);
/* Whether plain text reads back as the string it is: if not, it needs quotes. */
bool yaml_scalar_is_string(struct str text);

#endif
