/* elements.h - what should stand in the maps of the Services' tables, against
 * what does.
 *
 * Pure and loop-confined. Services give and take elements; only what differs
 * from the kernel's state is written out. Several Services may give the same
 * element; of two with different data for one key the first one holds.
 *
 *   proxy_elements_give(), _take() -> proxy_elements_write() -> kernel
 *                                     -> proxy_elements_settle() or _forget() */
#ifndef KUBELET_PROXY_ELEMENTS_H
#define KUBELET_PROXY_ELEMENTS_H

#include "lib/base/base.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

struct buf;

/* See table.h for what each of them does. */
enum proxy_set {
    PROXY_SERVICES,
    PROXY_ENDPOINTS,
    PROXY_SHORTCUTS,
    PROXY_STICKY,
    PROXY_RESTRICTED,
    PROXY_ALLOWED,
    PROXY_REFUSED,
    PROXY_DROPPED,
    PROXY_CLUSTER_IPS,
    PROXY_HAIRPIN,
    PROXY_SET_COUNT
};

enum proxy_family { PROXY_V4, PROXY_V6, PROXY_FAMILY_COUNT };

#define PROXY_KEY_MAX 80 /* The two ends of a range in IPv6 are the longest. */
#define PROXY_DATA_MAX 20

/* The key as the kernel takes it; of PROXY_ALLOWED both ends of the range, one behind the other.
 * The data of verdict maps is the name of a chain. */
struct proxy_element {
    enum proxy_family family;
    enum proxy_set set;
    struct str key, data;
};

/* Elements are kept packed in buffers: what a Service gives. */
void proxy_element_pack(struct buf *b, const struct proxy_element *e);
/* Views into the buffer; start with *pos = 0. */
bool proxy_element_next(struct str packed, size_t *pos, struct proxy_element *ret);

struct proxy_elements {
    struct map entries; /* Family, set and key -> struct entry. */
    struct map touched; /* Keys of entries that may differ from the kernel's. */
    struct buf *sent;   /* Packed; what the kernel is about to hold. NULL: nothing under way. */
    size_t refused;     /* Givings that somebody else's element has kept out. */
};

void proxy_elements_init(struct proxy_elements *t);
void proxy_elements_done(struct proxy_elements *t);

/* False: another element has this key; it is not given and must not be taken. */
bool proxy_elements_give(struct proxy_elements *t, const struct proxy_element *e);
void proxy_elements_take(struct proxy_elements *t, const struct proxy_element *e);
/* The data that is wanted for a key, empty when there is none. */
bool proxy_elements_get(const struct proxy_elements *t, const struct proxy_element *key,
                        struct str *ret_data);

/* The kernel holds this element. */
void proxy_elements_found(struct proxy_elements *t, const struct proxy_element *e);
/* Nothing is known of the kernel's state any more. */
void proxy_elements_forget(struct proxy_elements *t);

/* Writes all differences, those that go first: calls put() for each. False: there are none.
 * proxy_elements_settle() or proxy_elements_forget() must follow. */
bool proxy_elements_write(struct proxy_elements *t,
                          void (*put)(bool add, const struct proxy_element *e, void *arg),
                          void *arg);
/* What was written holds. */
void proxy_elements_settle(struct proxy_elements *t);

#endif
