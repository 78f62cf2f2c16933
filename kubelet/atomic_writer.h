/* atomic_writer.h - a folder of files that readers see change all at once.
 *
 * Upstream's layout, which programs in containers rely on:
 *   ..2026_11_22_00_01_02.123456789/   the files
 *   ..data -> ..2026_...               replaced by rename: the one atomic step
 *   name   -> ..data/name              one for each top-level name
 * Blocking. A crash at any point leaves the old files or the new ones. */
#ifndef KUBELET_ATOMIC_WRITER_H
#define KUBELET_ATOMIC_WRITER_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct payload_file {
    const char *path; /* Relative, without "..": sub-folders are made. */
    struct str data;
    int mode;
    int64_t uid; /* Owner, -1: ours. */
};

struct payload {
    struct payload_file *files;
    size_t count;
    size_t cap;
    int64_t gid; /* fsGroup: group of all files, which it may read; -1: none. */
};

/* True for a path that may stand in a payload. */
bool payload_path_valid(struct str path);

/* dir must exist. ret_changed (may be NULL) tells whether anything was written:
 * equal content is left alone. */
int atomic_writer_write(const char *dir, const struct payload *p, bool *ret_changed,
                        struct error *err);

#endif
