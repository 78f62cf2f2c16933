/* pod_record.h - placed pods at rest, in some 150 bytes each.
 *
 * Pods of one template differ by name, uid, node, version and times. All else, labels, requests,
 * affinity and so on, is their shape: kept once, as a pod, for as long as one of them is there. A
 * record is a way of packing (lib/api/pack.h), with which nothing is lost, so that an informer's
 * cache and the snapshot hold the same one. A pod with claims has a shape of its own, in which
 * its name and uid stand too: those who look for claims ask for them.
 *
 * One thread. */
#ifndef SCHEDULER_POD_RECORD_H
#define SCHEDULER_POD_RECORD_H

#include "lib/base/str.h"

struct api_object;
struct api_packer;
struct core_v1_pod;
struct meta_v1_time;
struct pod_needs;
struct pod_record;
struct pod_shapes;

struct pod_shapes *pod_shapes_new(void);
void pod_shapes_unref(struct pod_shapes *t); /* Its records keep it, too. NULL is a no-op. */
/* Packs pods as records; for one owner, who frees it. Takes a reference. */
struct api_packer *pod_shapes_packer(struct pod_shapes *t);
size_t pod_shapes_count(const struct pod_shapes *t);

/* The pod's record, made unless it was packed before; one reference for the caller. */
struct pod_record *pod_record_of(struct pod_shapes *t, struct api_object *pod);
struct pod_record *pod_record_ref(struct pod_record *r);
void pod_record_unref(struct pod_record *r); /* NULL is a no-op. */

/* Borrowed as long as the record is held. */
const struct core_v1_pod *pod_record_shared(const struct pod_record *r); /* The shape. */
const struct pod_needs *pod_record_needs(const struct pod_record *r);
struct str pod_record_uid(const struct pod_record *r);
struct str pod_record_name(const struct pod_record *r);
const struct meta_v1_time *pod_record_start(const struct pod_record *r); /* NULL: not yet. */
/* The whole pod; one reference. */
struct api_object *pod_record_object(struct pod_record *r);

#endif
