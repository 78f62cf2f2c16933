/* image_records.h - which images this agent has pulled, and with what: <root>/image_manager.
 *
 *   pulling/sha256-<of the image's name>   a pull that has begun: its image is not a preloaded one
 *   pulled/sha256-<of its reference>       image_record.h
 *
 * Loop-confined; what it knows is in memory, files are written by a job, one after the other, and
 * survive power cuts. A record that cannot be read gives nobody access. */
#ifndef KUBELET_IMAGE_RECORDS_H
#define KUBELET_IMAGE_RECORDS_H

#include "kubelet/image_record.h"

struct image_records;
struct uv_loop_s;

/* Blocking, once at start. */
int image_records_open(struct uv_loop_s *loop, const char *root_dir,
                       const struct image_policy *policy, struct image_records **ret,
                       struct error *err);
void image_records_close(struct image_records *r); /* Nothing is being written. NULL is a no-op. */

/* May a pod use the image, which is here by this reference, with the credentials that its secrets
 * hold for it? */
bool image_records_allow(struct image_records *r, struct str image, const char *ref,
                         const struct pull_auth *auths, size_t count, int64_t now_s);

/* Before a pull, whose name is with its tag; done runs once, later, with err.code 0 when it may
 * begin. One of the two below follows. */
void image_records_begin(struct image_records *r, struct str image,
                         void (*done)(const struct error *err, void *arg), void *arg);
/* It succeeded with auth; NULL: without any. done runs once, later; failures are logged. */
void image_records_pulled(struct image_records *r, struct str image, const char *ref,
                          const struct pull_auth *auth, int64_t now_s,
                          void (*done)(const struct error *err, void *arg), void *arg);
void image_records_failed(struct image_records *r, struct str image);

/* What the runtime has: pulls of an earlier run that ended well get records, and records of images
 * that are gone are dropped, unless they are newer than before_s. */
struct image_on_node {
    const char *ref;
    const char *const *names; /* With tags, or digests. */
    size_t name_count;
};
void image_records_settle(struct image_records *r, const struct image_on_node *list, size_t count,
                          int64_t before_s, int64_t now_s);

#endif
