/* store.c - see store.h. */
#include "cli/store.h"

#include "cli/proc.h"
#include "lib/base/file.h"

#include <errno.h>
#include <unistd.h>

int store_exec(char **argv, struct error *err)
{
    AUTO_FREE char *dir = proc_self_dir();
    AUTO_FREE char *path = xasprintf("%s/trireme-raftstore", dir);
    argv[0] = (char *)(uintptr_t) "trireme-raftstore";
    if (file_exists(path))
        execv(path, argv);
    else
        execvp("trireme-raftstore", argv);
    return error_set_errno(err, E_NOT_FOUND, errno, "cannot run trireme-raftstore (looked in %s)",
                           dir);
}
