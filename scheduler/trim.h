/* trim.h - what the scheduler does not read of an object is dropped before it is kept.
 * Pure. */
#ifndef SCHEDULER_TRIM_H
#define SCHEDULER_TRIM_H

struct api_object;

/* About what is left, with the object's structs: for informer_config.compact_bytes. */
#define TRIM_POD_BYTES 2688
#define TRIM_NODE_BYTES 2048
#define TRIM_OWNER_BYTES 1024

void trim_pod(struct api_object *o);
/* Leaves pods without a node as they are, for extenders to see. */
void trim_pod_placed(struct api_object *o);
void trim_node(struct api_object *o);
void trim_service(struct api_object *o); /* These: the selector is left. */
void trim_replication_controller(struct api_object *o);
void trim_replica_set(struct api_object *o);
void trim_stateful_set(struct api_object *o);

#endif
