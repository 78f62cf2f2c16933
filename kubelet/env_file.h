/* env_file.h - files of variables that a container of the pod has written (fileKeyRef, KEP-3721).
 *
 * Pure. Each variable is NAME='value': the value in single quotes, which may span lines and knows
 * no escapes. Blank lines, and those that start with '#', say nothing. */
#ifndef KUBELET_ENV_FILE_H
#define KUBELET_ENV_FILE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct error;

#define ENV_FILE_BYTES_MAX (64u << 10) /* As upstream's. */

/* The file of one fileKeyRef, read before variables are put together. */
struct env_file {
    struct str volume, path;
    struct str text;
    int code; /* 0, or why it could not be read. */
    const char *message;
};

/* *ret_found is false when the key is not there. The last of several counts. E_INVALID names the
 * line. */
int env_file_get(struct str text, struct str key, struct str *ret, bool *ret_found,
                 struct error *err);

#endif
