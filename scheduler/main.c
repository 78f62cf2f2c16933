/* main.c - trireme-scheduler: the flags and the frame around scheduler.c. */
#include "lib/base/flags.h"
#include "lib/client/component.h"
#include "scheduler/scheduler.h"

static struct scheduler *running;

static void add_flags(struct flag_set *f)
{
    flag_ignored(f, "config", true, "the default profile is used");
}

static void start(struct client *c)
{
    running = scheduler_start(c);
}

static void stop(void)
{
    scheduler_stop(running);
    running = NULL;
}

int main(int argc, char **argv)
{
    static const struct component_config config = {
        .name = "trireme-scheduler",
        .lease_name = "kube-scheduler",
        .secure_port = 10259,
        .qps = 500,
        .burst = 1000,
        .add_flags = add_flags,
        .start = start,
        .stop = stop,
    };
    return component_main(&config, argc, argv);
}
