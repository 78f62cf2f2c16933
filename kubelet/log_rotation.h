/* log_rotation.h - keeps containers' logs within --container-log-max-size and
 * --container-log-max-files: 0.log, 0.log.<time>, older ones gzipped. */
#ifndef KUBELET_LOG_ROTATION_H
#define KUBELET_LOG_ROTATION_H

#include "lib/base/error.h"

struct kubelet;
struct log_rotation;

/* Fails for a size that is no quantity. */
int log_rotation_start(struct kubelet *k, struct log_rotation **ret, struct error *err);
void log_rotation_stop(struct log_rotation *l); /* NULL is a no-op. */

/* Blocking: rotates path when it is larger than max_bytes and leaves at most
 * max_files. *ret_rotated: the runtime has to reopen its file. */
int log_rotate_file(const char *path, int64_t max_bytes, int64_t max_files, bool *ret_rotated,
                    struct error *err);

#endif
