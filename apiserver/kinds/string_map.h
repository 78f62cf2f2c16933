/* string_map.h - changing sorted string maps (labels, annotations, data). */
#ifndef APISERVER_KINDS_STRING_MAP_H
#define APISERVER_KINDS_STRING_MAP_H

#include "lib/api/schema.h"

struct arena;

/* Sets key to value in a map that may be shared with other objects: the map is
 * copied, so that only *map sees the change. key and value are not copied. */
void string_map_set(struct arena *a, struct api_str_entry **map, size_t *count, struct str key,
                    struct str value);

#endif
