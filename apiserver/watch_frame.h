/* watch_frame.h - watch events as bytes, made once per event and form and
 * shared by all watchers that want the same. Loop-confined. */
#ifndef APISERVER_WATCH_FRAME_H
#define APISERVER_WATCH_FRAME_H

#include "apiserver/content.h"
#include "apiserver/registry.h"
#include "apiserver/table.h"

struct error;
struct net_bytes;

/* How one watcher wants its events. */
struct watch_form {
    const struct resource *res;
    struct accepted accept;
    enum include_object include;
};

/* The frames of one event. */
#define FRAMES_MAX 8
struct frame_cache {
    struct {
        struct watch_form form;
        const char *type;
        bool columns;
        struct net_bytes *bytes;
    } items[FRAMES_MAX];
    size_t count;
};
void frame_cache_clear(struct frame_cache *c);

/* type is a static string: "ADDED". value is the stored object, rev its
 * version. columns: tables say their columns (a watcher's first event). The
 * reference is the caller's; cache may be NULL. NULL on damage, logged. */
struct net_bytes *frame_object(struct frame_cache *c, const struct watch_form *f, const char *type,
                               struct str value, int64_t rev, bool columns, int64_t now_ns);
/* A BOOKMARK; initial_end marks the end of the initial events. */
struct net_bytes *frame_bookmark(const struct watch_form *f, int64_t rev, bool initial_end,
                                 bool columns);
/* In front of each frame of protobuf: how long it is. */
#define FRAME_LENGTH_BYTES ((size_t)4)

/* An ERROR with a Status. */
struct net_bytes *frame_error(const struct watch_form *f, const struct meta_v1_status *s);

#endif
