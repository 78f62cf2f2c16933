/* state_file.h - what the files of the CPU and the memory manager have in common: the checksum, and
 * how they are kept. */
#ifndef KUBELET_STATE_FILE_H
#define KUBELET_STATE_FILE_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct buf;

/* FNV-1a of 32 bits, of what Go prints of the structure that holds the file's contents. */
uint32_t state_checksum(struct str printed);

/* Blocking. E_NOT_FOUND: there is none. Other errors name the file, and what to do. manager: "CPU".
 */
int state_file_read(const char *path, const char *manager, struct buf *out, struct error *err);
/* What the parser did not like, with what to do. */
int state_file_bad(struct error *err, const char *path, const char *manager);

#endif
