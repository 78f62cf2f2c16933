/* event_recorder.h - Events about objects, aggregated and rate limited.
 *
 * Loop-confined; best effort: an Event that cannot be written is dropped after
 * a few tries. Equal events within 10 minutes become one with a rising count;
 * more than 10 similar ones (same but for the message) become one "(combined
 * from similar events)"; per object 25 may come at once and one per 5 minutes
 * then, as upstream's correlator does. */
#ifndef CLIENT_EVENT_RECORDER_H
#define CLIENT_EVENT_RECORDER_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_kind;
struct api_object;
struct client;
struct event_recorder;

#define EVENT_NORMAL "Normal"
#define EVENT_WARNING "Warning"

/* What an Event is about. Borrowed for the call. */
struct event_object {
    struct str api_version;
    struct str kind;
    struct str namespace_name; /* Empty for cluster scope: the Event goes to "default". */
    struct str name;
    struct str uid;
    struct str resource_version;
    struct str field_path; /* "spec.containers{web}"; may be empty. */
};

/* component: source.component and reportingController, such as
 * "kubelet"; instance: source.host, may be NULL. Both copied. */
struct event_recorder *event_recorder_new(struct client *c, const char *component,
                                          const char *instance);
/* Events not yet written are dropped. NULL is a no-op. */
void event_recorder_close(struct event_recorder *r);

struct event_object event_object_of(const struct api_object *o);
struct event_object event_object_from(const struct api_kind *kind, const void *msg);

/* type: EVENT_NORMAL or EVENT_WARNING. Messages are cut at 1,024 bytes. A NULL
 * recorder is a no-op (tests). */
void event_record(struct event_recorder *r, const struct event_object *about, const char *type,
                  const char *reason, const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The same, for events.k8s.io fields: action may be NULL. */
void event_record_action(struct event_recorder *r, const struct event_object *about,
                         const char *type, const char *reason, const char *action, const char *fmt,
                         ...) PRINTF_LIKE(6, 7);

#endif
