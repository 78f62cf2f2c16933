/* main.c - trireme-raftstore: the store as a program of its own, in place of etcd. */
#include "lib/base/file.h"
#include "lib/base/program.h"
#include "lib/base/version.h"
#include "raftstore/etcd/server.h"
#include "raftstore/options.h"
#include "raftstore/program.h"

#include <stdio.h>
#include <string.h>

extern char **environ;

static int fail(const struct error *err, int exit_code)
{
    fprintf(stderr, "trireme-raftstore: %s\n", error_message(err));
    return exit_code;
}

/* etcd's data is not read in place. An empty store beside it, answering in its stead,
 * would look like the loss of everything. */
static int check_first_start(const struct options *o, struct error *err)
{
    AUTO_FREE char *wal = xasprintf("%s/member/wal", o->data_dir);
    if (file_exists(wal))
        return error_set(err, E_EXISTS,
                         "--data-dir %s holds an etcd's data. To go on with it: save a snapshot of "
                         "that etcd (`etcdctl snapshot save FILE`, or its member/snap/db), then "
                         "`trireme-raftstore snapshot restore FILE` into another directory",
                         o->data_dir);
    return options_names_self(o, err);
}

static int serve(int argc, char **argv)
{
    struct options o;
    struct error err = {0};
    int exit_code = 0;
    int rc = options_parse(&o, argc, argv, environ, &err);
    if (rc == E_EOF) {
        flag_set_print_help(o.flags);
        puts("\nAlso: trireme-raftstore snapshot save|status|restore, trireme-raftstore recover");
    } else if (rc == 0 && o.version) {
        puts("trireme-raftstore " TRIREME_VERSION "\netcd API " ETCD_VERSION);
    } else {
        if (rc == 0)
            rc = options_check(&o, &err);
        bool wrong = rc != 0;
        if (rc == 0 && !program_holds_member(o.data_dir))
            rc = check_first_start(&o, &err);
        if (rc == 0) {
            log_setup("raftstore", o.log_level);
            rc = program_serve(&o, &err);
        }
        exit_code = rc == 0 ? 0 : fail(&err, wrong ? EXIT_USAGE : EXIT_FAILURE);
    }
    options_done(&o);
    return exit_code;
}

int main(int argc, char **argv)
{
    program_begin();
    program_open_files_max();
    log_setup("raftstore", LOG_INFO);
    if (argc > 1 && strcmp(argv[1], "snapshot") == 0)
        return program_snapshot(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "recover") == 0)
        return program_recover(argc - 1, argv + 1);
    return serve(argc, argv);
}
