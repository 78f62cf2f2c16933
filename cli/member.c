/* member.c - `trireme member`: who keeps the cluster's data.
 *
 * Of a Kubernetes cluster through its API server; with --endpoints, of a store on its
 * own through etcd's API. */
#include "cli/objects.h"
#include "cli/store.h"
#include "cli/verbs.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/client/sync.h"

#include <stdio.h>
#include <string.h>

#define MEMBERS_PATH "/trireme/v1/members"

static int list(struct arena *a, struct sync_client *c, struct error *err)
{
    struct sync_answer answer = {0};
    struct json *j = NULL;
    int rc = sync_raw(c, &(struct client_raw){.path = STR(MEMBERS_PATH)}, &answer, err);
    if (rc == 0)
        rc = json_parse(a, arena_str(a, answer.body), &j, err);
    sync_answer_done(&answer);
    const struct json *members = rc == 0 ? json_getc(j, "members") : NULL;
    if (members == NULL || members->type != JSON_ARRAY)
        return rc;
    printf("%-18s %-20s %-24s %s\n", "ID", "NAME", "ADDRESS", "ROLE");
    for (size_t i = 0; i < members->array.count; i++) {
        const struct json *m = members->array.items[i];
        printf("%-18.*s %-20.*s %-24.*s " STR_FMT "\n", STR_ARG(json_get_str(m, "id")),
               STR_ARG(json_get_str(m, "name")), STR_ARG(json_get_str(m, "address")),
               STR_ARG(json_get_str(m, "role")));
    }
    return 0;
}

static int run(struct arena *a, struct sync_client *c, const char *const *args, size_t count,
               struct error *err)
{
    if (count == 0 || (count == 1 && strcmp(args[0], "list") == 0))
        return list(a, c, err);
    if (count == 2 && strcmp(args[0], "remove") == 0)
        return sync_raw(c,
                        &(struct client_raw){.method = "DELETE",
                                             .path = arena_printf(a, MEMBERS_PATH "/%s", args[1])},
                        NULL, err);
    if (count == 2 && strcmp(args[0], "lead") == 0)
        return sync_raw(
            c,
            &(struct client_raw){.method = "POST",
                                 .path = arena_printf(a, MEMBERS_PATH "/%s/lead", args[1])},
            NULL, err);
    return error_set(err, E_USAGE,
                     "want list, remove NAME or lead NAME; members are added by `trireme join`, or "
                     "with --endpoints to a store on its own");
}

int verb_member(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct objects o = {0};
    struct etcd_client_config client = {0};
    struct store_member_options store = {0};
    struct flag_set *flags =
        flag_set_new("trireme member list | add NAME | remove NAME | promote NAME | update NAME | "
                     "lead NAME | recover [flags]");
    objects_register_flags(&o, flags);
    etcd_client_flags(&client, flags);
    flag_string(flags, &store.peer_urls, "peer-urls",
                "`URL` of the member for the others, for add, update and recover.");
    flag_bool(flags, &store.learner, "learner", "add: stays without a vote until promoted.");
    flag_string(flags, &store.data_dir, "data-dir",
                "recover: the `directory` to go on alone with.");
    flag_string(flags, &store.name, "name", "recover: the member's name.");
    flag_bool(flags, &store.yes, "yes", "recover: do it; else it is only explained.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        bool of_store =
            flag_changed(flags, "endpoints") || (count > 0 && strcmp(args[0], "recover") == 0);
        int rc = of_store ? store_member(&client, &store, args, count, &err)
                          : objects_connect(a, &o, &err);
        if (rc == 0 && !of_store)
            rc = run(a, o.client, args, count, &err);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    objects_done(&o);
    flag_set_free(flags);
    return exit_code;
}
