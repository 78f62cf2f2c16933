/* init.c - `trireme init`: the first control-plane host of a cluster. */
#include "cli/init.h"

#include "cli/cluster_pki.h"
#include "cli/host.h"
#include "cli/verbs.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"

#include <stdio.h>

#define READY_TIMEOUT_MS 60000
#define TOKEN_TTL_S (24 * 3600)
#define CONTROL_PLANE_TOKEN_TTL_S (2 * 3600)

static int write_host(struct arena *a, struct host *h, struct error *err)
{
    h->initial_cluster = arena_printf(a, "%s=%s", h->name, host_peer_endpoint(a, h)).data;
    int rc = host_make_dirs(h, err);
    if (rc == 0)
        rc = cluster_pki_create(a, h, err);
    const char *server = host_url(a, h);
    if (rc == 0)
        rc = cluster_pki_issue(a, h, server, err);
    if (rc == 0)
        rc = host_write_env(a, h, err);
    if (rc == 0)
        rc = host_save(a, h, err);
    return rc;
}

int init_host(struct arena *a, struct host *h, uint64_t timeout_ms, struct error *err)
{
    int rc = 0;
    host_absolute(a, h);
    h->control_plane = true;
    if (file_exists(host_path(a, h, "host.json"))) {
        rc = host_resume(a, h, err);
    } else {
        rc = host_complete(a, h, err);
        if (rc == 0)
            rc = host_validate(h, err);
        if (rc == 0)
            rc = write_host(a, h, err);
    }
    if (rc == 0)
        rc = host_start(a, h, err);
    if (rc != 0 || h->supervisor == SUPERVISOR_NONE)
        return rc;
    rc = bootstrap_wait_ready(a, h, timeout_ms, err);
    struct sync_client *c = NULL;
    if (rc == 0)
        rc = bootstrap_admin_client(a, h, &c, err);
    if (rc == 0)
        rc = bootstrap_publish(a, h, c, err);
    sync_client_free(c);
    return rc == 0 ? host_check(a, h, err) : rc;
}

int init_token(struct arena *a, const struct host *h, bool control_plane, int64_t ttl_s,
               struct join_token *ret, struct error *err)
{
    join_token_generate(a, control_plane, ret);
    struct sync_client *c = NULL;
    int rc = bootstrap_admin_client(a, h, &c, err);
    if (rc == 0)
        rc = bootstrap_create_token(a, h, c, ret, ttl_s, err);
    sync_client_free(c);
    return rc;
}

static int print_next_steps(struct arena *a, const struct host *h, struct error *err)
{
    struct join_token worker, control_plane;
    struct str hash;
    int rc = init_token(a, h, false, TOKEN_TTL_S, &worker, err);
    if (rc == 0)
        rc = init_token(a, h, true, CONTROL_PLANE_TOKEN_TTL_S, &control_plane, err);
    if (rc == 0)
        rc = cluster_pki_ca_hash(a, h, &hash, err);
    if (rc != 0)
        return rc;
    printf("The control plane on %s is ready: %s\n\n", h->name, host_url(a, h));
    printf("Use it:\n  export KUBECONFIG=%s/admin.kubeconfig\n  kubectl get nodes\n\n", h->dir);
    printf("Add a worker (the token is good for 24 hours):\n"
           "  trireme join --worker %s --token " STR_FMT " --ca-hash " STR_FMT "%s\n\n",
           host_endpoint(a, h), STR_ARG(join_token_text(a, &worker)), STR_ARG(hash),
           host_join_flags(a, h));
    printf("Add a control plane (good for 2 hours; whoever holds this token can become one):\n"
           "  trireme join --control-plane %s --token " STR_FMT " --ca-hash " STR_FMT "%s\n",
           host_endpoint(a, h), STR_ARG(join_token_text(a, &control_plane)), STR_ARG(hash),
           host_join_flags(a, h));
    return 0;
}

int verb_init(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct host h;
    host_defaults(&h);
    int64_t timeout_ns = (int64_t)READY_TIMEOUT_MS * 1000000;
    bool quiet = false;
    struct flag_set *flags = flag_set_new("trireme init [flags]");
    host_register_flags(&h, flags);
    flag_duration(flags, &timeout_ns, "timeout", "How long to wait for the control plane.");
    flag_bool(flags, &quiet, "quiet", "Do not make and print join tokens.");
    int exit_code = 0;
    if (verb_flags_alone(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        uint64_t timeout_ms = 0;
        int rc = verb_timeout(timeout_ns, &timeout_ms, &err);
        if (rc == 0)
            rc = init_host(a, &h, timeout_ms, &err);
        if (rc == 0 && !quiet && h.supervisor != SUPERVISOR_NONE)
            rc = print_next_steps(a, &h, &err);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}
