/* main.c - the trireme command: finds the verb and runs it. */
#include "cli/verbs.h"

#include "lib/base/base.h"
#include "lib/base/log.h"
#include "lib/base/program.h"
#include "lib/base/version.h"

#include <stdio.h>
#include <string.h>

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct verb verbs[] = {
    {"init", verb_init, "Make this machine the first of a new cluster"},
    {"join", verb_join, "Add this machine to a cluster, as control plane or worker"},
    {"token", verb_token, "Print the administrator's token, or manage join tokens"},
    {"member", verb_member, "List, add and remove members of the store"},
    {"snapshot", verb_snapshot, "Back a store up, and restore it"},
    {"migrate", verb_migrate, "Copy an etcd's data into a store, or a store's into an etcd"},
    {"up", verb_up, "Run a whole cluster on this machine"},
    {"down", verb_down, "End what `up` started"},
    {"host", verb_host, "Stop, kill, start, cut off or heal one host of `up`"},
    {"get", verb_get, "Show objects"},
    {"create", verb_create, "Create objects from files"},
    {"apply", verb_apply, "Create or change objects from files"},
    {"delete", verb_delete, "Delete objects"},
    {"describe", verb_describe, "Show one object in detail, with its events"},
    {"logs", verb_logs, "Print a container's output"},
    {"edges", verb_edges, "Show what workloads declare to reach, reach, and were refused"},
    {"simulate", verb_simulate, "Ask the scheduler where pods would go, without a cluster"},
    {"why", verb_why, "Tell why a pod waits, by plugin and number of nodes"},
    {"convert", cli_convert, "Convert objects between JSON, YAML and protobuf"},
};

static void usage(FILE *to)
{
    fputs("trireme - a Kubernetes-compatible cluster\n\nusage: trireme VERB [flags]\n\n", to);
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fputs("\n`trireme VERB --help` tells its flags, `trireme --version` the version. kubectl works "
          "with every\ncluster, too.\n",
          to);
}

int main(int argc, char **argv)
{
    program_begin();
    log_setup("trireme", LOG_WARNING);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return program_end(0);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("trireme " TRIREME_VERSION "\nKubernetes API " KUBERNETES_VERSION);
        return program_end(0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, argv[1]) == 0)
            return program_end(verbs[i].run(argc - 1, argv + 1));
    fprintf(stderr, "error: unknown verb \"%s\"; `trireme help` lists them\n", argv[1]);
    return 2;
}
