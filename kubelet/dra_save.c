/* dra_save.c - <root>/dra_manager_state: writes that come while one is under way are one more. */
#include "kubelet/dra_internal.h"

#include "kubelet/job.h"
#include "kubelet/kubelet.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"

struct saver {
    struct list link;
    bool covered; /* By the write under way. */
    void (*saved)(struct dra_op *op, int code, const struct error *err);
    struct dra_op *op;
};

struct save {
    struct dra *dra;
    struct buf text;
    int code;
    struct error err;
};

static void save_start(struct dra *d);

static void run_save(void *arg)
{
    struct save *s = arg;
    s->code = file_write_atomic(s->dra->path, s->text.data, s->text.len, 0600, &s->err);
}

static void on_saved(void *arg)
{
    struct save *s = arg;
    struct dra *d = s->dra;
    struct list ready;
    list_init(&ready);
    d->saving = false;
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
        x->saved(x->op, s->code, &s->err);
        free(x);
    }
    buf_done(&s->text);
    free(s);
}

static void save_start(struct dra *d)
{
    struct save *s = xzalloc(sizeof(*s));
    s->dra = d;
    dra_state_write(&d->state, &s->text);
    d->saving = true;
    LIST_FOREACH (it, &d->savers)
        LIST_ENTRY(it, struct saver, link)->covered = true;
    job_start(d->k->loop, run_save, on_saved, s);
}

void dra_save(struct dra_op *op,
              void (*saved)(struct dra_op *op, int code, const struct error *err))
{
    struct dra *d = op->dra;
    struct saver *x = xzalloc(sizeof(*x));
    *x = (struct saver){.saved = saved, .op = op};
    list_push_back(&d->savers, &x->link);
    if (!d->saving)
        save_start(d);
}
