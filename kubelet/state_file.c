/* state_file.c - see state_file.h. */
#include "kubelet/state_file.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define STATE_BYTES_MAX (16u << 20)

uint32_t state_checksum(struct str printed)
{
    uint32_t h = 0x811c9dc5u;
    for (size_t i = 0; i < printed.len; i++)
        h = (h ^ (uint8_t)printed.data[i]) * 0x01000193u;
    return h;
}

int state_file_bad(struct error *err, const char *path, const char *manager)
{
    /* The fix comes last: prefixes only go before. */
    struct error why = *err;
    return error_set(
        err, E_INVALID,
        "could not restore state from checkpoint: %s, please drain this node and "
        "delete the %s manager checkpoint file \"%s\" before restarting the node agent",
        error_message(&why), manager, path);
}

int state_file_read(const char *path, const char *manager, struct buf *out, struct error *err)
{
    int rc = file_read(path, STATE_BYTES_MAX, out, err);
    return rc == 0 || rc == E_NOT_FOUND ? rc : state_file_bad(err, path, manager);
}
