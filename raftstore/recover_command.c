/* recover_command.c - `trireme-raftstore recover`: the majority is lost for good, and
 * this member's data goes on alone.
 *
 * Does offline, once, what --force-new-cluster does at every start: writes into the
 * log that this is the only member. The program is started as ever afterwards, and no
 * option stays behind that would do it again. */
#include "raftstore/program.h"

#include "lib/base/arena.h"
#include "raftstore/options.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 30000
#define LOOK_US 20000

struct recover_options {
    const char *data_dir, *name, *peer_url;
    bool yes;
};

static const char explanation[] =
    "This makes the member in %s the only one of its cluster. What it has not received\n"
    "is lost; `trireme member recover --endpoints ...` shows which member got furthest.\n"
    "Before: stop this member, and make sure that no other one is ever started with its\n"
    "old data again. After: start this member as usual; move the others' data away, add\n"
    "each with `trireme member add`, and start it with --initial-cluster-state existing.\n";

bool program_holds_member(const char *dir)
{
    bool found = false;
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        found |= strncmp(e->d_name, "log-", 4) == 0;
    if (d != NULL)
        closedir(d);
    return found;
}

static void report(struct store *s, const struct recover_options *o)
{
    struct store_status st;
    store_status(s, &st);
    printf("The member %" PRIx64 " now leads a cluster of its own (%" PRIx64
           "), at revision %" PRId64 " with %" PRIu64 " keys.\n",
           st.id, st.cluster_id, st.rev, st.keys);
    printf("Start trireme-raftstore on %s as usual, without --force-new-cluster. Then, for each\n"
           "other machine: move its old data away, `trireme member add NAME --peer-urls URL`, and\n"
           "start it with --initial-cluster-state existing.\n",
           o->data_dir);
}

static int wait_for_leader(struct store *s, struct error *err)
{
    struct store_status st = {0};
    for (unsigned waited = 0; waited < WAIT_MS; waited += LOOK_US / 1000) {
        store_status(s, &st);
        if (st.is_leader)
            return 0;
        usleep(LOOK_US);
    }
    return error_set(err, E_TIMEOUT, "the member did not become leader of its own cluster");
}

static int recover(const struct recover_options *o, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct options_url url = {0};
    struct store *s = NULL;
    if (o->data_dir == NULL || o->peer_url == NULL)
        return error_set(err, E_INVALID,
                         "--data-dir and --initial-advertise-peer-urls are needed: whose data, and "
                         "how new members reach it");
    int rc = options_url_parse(a, "initial-advertise-peer-urls", o->peer_url, false, &url, err);
    if (rc < 0)
        return rc;
    if (!program_holds_member(o->data_dir)) /* A new cluster must not be founded by mistake. */
        return error_set(err, E_NOT_FOUND, "%s holds no member's data", o->data_dir);
    if (!o->yes) {
        printf(explanation, o->data_dir);
        return error_set(err, E_INVALID, "nothing was changed: add --yes to do it");
    }
    struct store_config config = {
        .data_dir = o->data_dir,
        .name = o->name,
        .advertise_address = url.address,
        .force_new_cluster = true,
        .history_ms = UINT64_C(1000) * 3600 * 24 * 36500,
        .quota_bytes = INT64_MAX / 16,
    };
    rc = store_open(&config, &s, err);
    if (rc == 0)
        rc = wait_for_leader(s, err);
    if (rc == 0)
        report(s, o);
    store_close(s);
    return rc;
}

int program_recover(int argc, char **argv)
{
    struct recover_options o = {0};
    struct error err = {0};
    size_t count = 0;
    int exit_code = 0;
    struct flag_set *f =
        flag_set_new("trireme-raftstore recover --data-dir DIR --initial-advertise-peer-urls URL");
    flag_string(f, &o.data_dir, "data-dir", "`Directory` of the member that goes on alone.");
    flag_string(f, &o.name, "name", "Its name, as it is started with.");
    flag_string(f, &o.peer_url, "initial-advertise-peer-urls",
                "`URL` at which new members will reach it.");
    flag_bool(f, &o.yes, "yes", "Do it; else it is only explained.");
    int rc = flag_set_parse(f, argc, argv, &err);
    if (rc == E_EOF) {
        flag_set_print_help(f);
    } else {
        flag_set_args(f, &count);
        if (rc == 0 && count > 0)
            rc = error_set(&err, E_INVALID, "recover takes flags only");
        if (rc == 0)
            rc = recover(&o, &err);
        if (rc < 0) {
            fprintf(stderr, "Error: %s\n", error_message(&err));
            exit_code = 1;
        }
    }
    flag_set_free(f);
    return exit_code;
}
