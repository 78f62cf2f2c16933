/* main.c - trireme-scheduler: the flags and the frame around scheduler.c. */
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/component.h"
#include "scheduler/config.h"
#include "scheduler/config_write.h"
#include "scheduler/extender.h"
#include "scheduler/scheduler.h"

#define CONFIG_BYTES_MAX (1u << 20)

static struct scheduler *running;
static struct sched_config *sched_config;
static struct flag_set *flag_table;

/* What the file says stands for the flag of the same meaning. */
static int use_as_flag(const char *flag, const char *value, struct error *err)
{
    return value != NULL ? flag_set_value(flag_table, flag, value, err) : 0;
}

static int use_as_flags(const struct sched_config *c, struct error *err)
{
    const char *const pairs[][2] = {
        {"kubeconfig", c->kubeconfig},
        {"kube-api-qps", c->qps},
        {"kube-api-burst", c->burst},
        {"leader-elect", c->leader_elect},
        {"leader-elect-lease-duration", c->lease_duration},
        {"leader-elect-renew-deadline", c->renew_deadline},
        {"leader-elect-retry-period", c->retry_period},
        {"leader-elect-resource-name", c->lease_name},
        {"leader-elect-resource-namespace", c->lease_namespace},
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(pairs); i++)
        rc = use_as_flag(pairs[i][0], pairs[i][1], err);
    return rc;
}

static int read_config(const char *path, void *arg, struct error *err)
{
    UNUSED(arg);
    AUTO_BUF text = BUF_INIT;
    struct sched_config *c = NULL;
    int rc = file_read(path, CONFIG_BYTES_MAX, &text, err);
    if (rc == 0)
        rc = sched_config_parse(buf_str(&text), &c, err);
    if (rc == 0)
        rc = extenders_check(c, err);
    if (rc != 0) {
        sched_config_free(c);
        return error_prefix(err, "%s", path);
    }
    sched_config_free(sched_config);
    sched_config = c;
    return use_as_flags(c, err);
}

static void add_flags(struct flag_set *f)
{
    flag_table = f;
    flag_func(f, "config",
              "`File` with a KubeSchedulerConfiguration: profiles, plugins and their arguments. "
              "Flags behind it on the command line override what it says of connection and lease.",
              read_config, NULL);
}

static int prepare(struct error *err)
{
    UNUSED(err);
    if (sched_config == NULL)
        sched_config = sched_config_default();
    return 0;
}

static void tell_config(struct buf *b)
{
    sched_config_write(sched_config, b);
}

static void start(struct client *c)
{
    running = scheduler_start(c, sched_config);
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
        .component = "kube-scheduler",
        .lease_name = "kube-scheduler",
        .secure_port = 10259,
        .qps = 500,
        .burst = 1000,
        .add_flags = add_flags,
        .prepare = prepare,
        .tell_config = tell_config,
        .start = start,
        .stop = stop,
    };
    int status = component_main(&config, argc, argv);
    sched_config_free(sched_config);
    return status;
}
