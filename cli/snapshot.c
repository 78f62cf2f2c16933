/* snapshot.c - `trireme snapshot`: backups of a store, and what is made of them.
 *
 * save asks a running member; status and restore work on files, which is the
 * store's own program's business. */
#include "cli/store.h"
#include "cli/verbs.h"

#include "lib/base/flags.h"

#include <string.h>

static int save(int argc, char **argv)
{
    struct etcd_client_config client = {0};
    struct flag_set *flags = flag_set_new("trireme snapshot save FILE --endpoints URLS [flags]");
    etcd_client_flags(&client, flags);
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = count == 1 ? etcd_client_save(&client, args[0], &err)
                            : error_set(&err, E_USAGE, "want the file to save into");
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}

int verb_snapshot(int argc, char **argv)
{
    struct error err = {0};
    if (argc > 1 && strcmp(argv[1], "save") == 0)
        return save(argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "status") == 0 || strcmp(argv[1], "restore") == 0 ||
                     strcmp(argv[1], "--help") == 0)) {
        char **other = xzalloc(((size_t)argc + 2) * sizeof(*other));
        memcpy(other + 1, argv, (size_t)argc * sizeof(*other));
        store_exec(other, &err);
        free(other);
        return verb_fail(&err);
    }
    error_set(&err, E_USAGE,
              "want save FILE, status FILE or restore FILE; --help tells their flags");
    return verb_fail(&err);
}
