/* device_save.c - see device_manager.h: the checkpoint is written; changes that come while a write
 * is under way are one more. */
#include "kubelet/device_manager_internal.h"

#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

struct saver {
    struct list link;
    bool covered; /* By the write under way. */
    void (*saved)(int code, const struct error *err, void *arg);
    void *arg;
};

struct save {
    struct device_manager *devices;
    struct buf text;
    int code;
    struct error err;
};

static void save_start(struct device_manager *d);

static void run_save(void *arg)
{
    struct save *s = arg;
    s->code = file_write_atomic(s->devices->path, s->text.data, s->text.len, 0600, &s->err);
}

static void on_saved(void *arg)
{
    struct save *s = arg;
    struct device_manager *d = s->devices;
    struct list ready;
    list_init(&ready);
    d->saving = false;
    d->save_failed = s->code != 0;
    if (s->code != 0)
        log_error("%s: %s", d->path, error_message(&s->err));
    LIST_FOREACH_SAFE (it, &d->savers) {
        if (!LIST_ENTRY(it, struct saver, link)->covered)
            continue;
        list_remove(it);
        list_push_back(&ready, it);
    }
    if (!list_empty(&d->savers))
        save_start(d);
    for (struct list *n; (n = list_pop_front(&ready)) != NULL;) {
        struct saver *x = LIST_ENTRY(n, struct saver, link);
        x->saved(s->code, &s->err, x->arg);
        free(x);
    }
    buf_done(&s->text);
    free(s);
}

static void save_start(struct device_manager *d)
{
    struct save *s = xzalloc(sizeof(*s));
    s->devices = d;
    device_checkpoint_write(&d->state, &s->text);
    d->saving = true;
    LIST_FOREACH (it, &d->savers)
        LIST_ENTRY(it, struct saver, link)->covered = true;
    job_start(d->k->loop, run_save, on_saved, s);
}

void device_manager_save_then(struct device_manager *d,
                              void (*saved)(int code, const struct error *err, void *arg),
                              void *arg)
{
    struct saver *x = xzalloc(sizeof(*x));
    x->saved = saved;
    x->arg = arg;
    list_push_back(&d->savers, &x->link);
    if (!d->saving)
        save_start(d);
}

static void on_nobody_waits(int code, const struct error *err, void *arg)
{
    UNUSED(code), UNUSED(err), UNUSED(arg);
}

void device_manager_save(struct device_manager *d)
{
    LIST_FOREACH (it, &d->savers)
        if (!LIST_ENTRY(it, struct saver, link)->covered)
            return; /* It will be in the next one. */
    device_manager_save_then(d, on_nobody_waits, NULL);
}
