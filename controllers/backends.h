/* backends.h - which pods stand behind a Service, at which ports. Pure; shared
 * by the Endpoints and the EndpointSlice controllers. */
#ifndef CONTROLLERS_BACKENDS_H
#define CONTROLLERS_BACKENDS_H

#include "lib/base/str.h"

struct api_kind;
struct api_object;
struct arena;
struct controller_run;
struct core_v1_pod;
struct core_v1_service;
struct meta_v1_object_meta;

#define LABEL_SERVICE_NAME "kubernetes.io/service-name"
#define LABEL_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define TRIGGER_TIME "endpoints.kubernetes.io/last-change-trigger-time"
#define LABEL_HEADLESS "service.kubernetes.io/headless"

/* A Service's port as one pod serves it. */
struct backend_port {
    struct str name;
    struct str protocol;
    struct str app_protocol;
    bool has_app_protocol;
    int32_t port;
};

struct backend {
    const struct core_v1_pod *pod;
    struct str ip;
    bool ready;   /* To be used. */
    bool serving; /* Ready, whether or not it is going. */
    bool terminating;
    struct str hostname; /* Empty without. */
    struct backend_port *ports;
    size_t port_count;
};

/* The pods that the Service selects. */
struct api_object **service_pods(struct arena *a, const struct core_v1_service *s,
                                 struct api_object *const *pods, size_t count, size_t *ret_count);

struct backend_query {
    bool v6;
    bool with_terminating; /* Those that are going, too; */
    bool with_portless;    /* and those that have none of the Service's ports. */
};
/* The pods the Service selects that have an address of the family, sorted by address. */
struct backend *service_backends(struct arena *a, const struct core_v1_service *s,
                                 struct api_object *const *pods, size_t pod_count,
                                 struct backend_query query, size_t *ret_count);
bool backend_ports_equal(const struct backend_port *x, size_t x_count, const struct backend_port *y,
                         size_t y_count);
bool service_is_headless(const struct core_v1_service *s);
/* Labels of what is made for a Service: its own, without those that are ours. */
struct api_str_entry *service_labels(struct arena *a, const struct core_v1_service *s,
                                     const struct api_str_entry *ours, size_t ours_count,
                                     size_t *ret_count);

/* Sets an annotation; an empty value takes it off. */
void annotation_set(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                    struct str value);

/* EndpointSlices, and whose of the controllers that make them one is. */
const struct api_kind *slice_kind(void);
bool slice_managed_by(const struct meta_v1_object_meta *m, const char *manager);
/* Queues the Service of a slice of that manager; a new one is taken off what was expected. */
void touch_service_of_slice(struct controller_run *r, struct api_object *old, struct api_object *o,
                            const char *manager);

/* Does a change of a pod leave what stands behind Services as it is? */
bool pod_serves_alike(const struct core_v1_pod *x, const struct core_v1_pod *y);
/* Queues the Services that select a pod, before or after a change that matters to them. */
void touch_services_of_pod(struct controller_run *r, struct api_object *old, struct api_object *o);

#endif
