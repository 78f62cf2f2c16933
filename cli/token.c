/* token.c - `trireme token`: the administrator's bearer token, and join tokens. */
#include "cli/init.h"

#include "cli/cluster_pki.h"
#include "cli/host.h"
#include "cli/local.h"
#include "cli/verbs.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include <stdio.h>
#include <string.h>

/* dir is that of `init`, or of `up`: then the first host counts. */
static int load_host(struct arena *a, const char *dir, struct host *ret, struct error *err)
{
    const char *etc = dir;
    if (file_exists(arena_printf(a, "%s/cluster.json", dir).data))
        etc = arena_printf(a, "%s/hosts/cp-1/etc", dir).data;
    int rc = host_load(a, etc, ret, err);
    if (rc == E_NOT_FOUND)
        return error_set(err, rc, "--dir: %s is no folder of `trireme init` or `trireme up`", dir);
    return rc;
}

static int create(struct arena *a, const struct host *h, bool control_plane, int64_t ttl_ns,
                  struct error *err)
{
    struct join_token t;
    struct str hash;
    int rc = init_token(a, h, control_plane, ttl_ns / 1000000000, &t, err);
    if (rc == 0)
        rc = cluster_pki_ca_hash(a, h, &hash, err);
    if (rc == 0)
        printf("trireme join --%s %s --token " STR_FMT " --ca-hash " STR_FMT "%s\n",
               control_plane ? "control-plane" : "worker", host_endpoint(a, h),
               STR_ARG(join_token_text(a, &t)), STR_ARG(hash), host_join_flags(a, h));
    return rc;
}

int verb_token(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    const char *dir = "/etc/trireme";
    bool control_plane = false;
    int64_t ttl_ns = (int64_t)24 * 3600 * 1000000000;
    struct flag_set *flags = flag_set_new("trireme token [create] --dir DIR [flags]");
    flag_string(flags, &dir, "dir", "`Folder` of `init` or `up`.");
    flag_bool(flags, &control_plane, "control-plane", "create: a token for another control plane.");
    flag_duration(flags, &ttl_ns, "ttl", "create: how long the token is good for; 0 for ever.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        struct host h;
        struct str token;
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = 0;
        if (count > 1 || (count == 1 && strcmp(args[0], "create") != 0))
            rc = error_set(&err, E_USAGE, "unexpected argument: %s; want nothing or create",
                           args[count - 1]);
        else if (ttl_ns < 0 || (ttl_ns > 0 && ttl_ns < 1000000000))
            rc = error_set(&err, E_USAGE, "--ttl: want at least 1s, or 0 for ever");
        if (rc == 0)
            rc = load_host(a, dir, &h, &err);
        if (rc == 0 && count == 0) {
            rc = cluster_pki_admin_token(a, h.dir, &token, &err);
            if (rc == 0)
                printf(STR_FMT "\n", STR_ARG(token));
        } else if (rc == 0) {
            rc = create(a, &h, control_plane, ttl_ns, &err);
        }
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}
