/* string_map.c - see string_map.h. Pure. */
#include "apiserver/kinds/string_map.h"

#include "lib/base/arena.h"

void string_map_set(struct arena *a, struct api_str_entry **map, size_t *count, struct str key,
                    struct str value)
{
    size_t n = *count, at = 0;
    while (at < n && str_cmp((*map)[at].key, key) < 0)
        at++;
    bool present = at < n && str_eq((*map)[at].key, key);
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i < at || present ? i : i + 1] = (*map)[i];
    list[at] = (struct api_str_entry){key, value};
    *map = list;
    *count = present ? n : n + 1;
}
