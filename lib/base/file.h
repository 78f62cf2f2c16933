/* file.h - whole files: read with a limit, write durably. Blocking: not for
 * loop callbacks, except at start-up. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

#include <sys/types.h>

struct buf;

/* Appends the content. E_NOT_FOUND, E_TOO_LARGE, E_IO; b is unchanged then. */
int file_read(const char *path, size_t max, struct buf *b, struct error *err);
/* Readers see the old content or the new, also after a power cut: a temporary
 * file beside it, fsync, rename, fsync of the folder. */
int file_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct error *err);
/* Every missing folder of path. An existing one is success. */
int file_mkdir_p(const char *path, mode_t mode, struct error *err);
int file_sync_dir(const char *path, struct error *err);
/* E_NOT_FOUND is success. */
int file_remove(const char *path, struct error *err);
/* A folder and all in it, without following symbolic links. Absent is success. */
int file_remove_tree(const char *path, struct error *err);
bool file_exists(const char *path);

#endif
