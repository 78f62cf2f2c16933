/* selector.c - see selector.h. */
#include "apiserver/selector.h"

#include "apiserver/wire.h"
#include "lib/api/schema.h"

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

/* Everyone writes maps in the order of their keys, but the format does not ask for it. */
static void put_in_order(struct api_str_entry *labels, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (by_key(&labels[i - 1], &labels[i]) > 0) {
            qsort(labels, count, sizeof(*labels), by_key);
            return;
        }
    }
}

bool selector_matches_stored(const struct api_label_selector *s, struct str object)
{
    if (s->count == 0 && !s->nothing)
        return true;
    struct api_str_entry labels[WIRE_LABELS_MAX];
    size_t count = wire_labels(object, labels, WIRE_LABELS_MAX);
    put_in_order(labels, count);
    return api_label_selector_matches(s, labels, count);
}
