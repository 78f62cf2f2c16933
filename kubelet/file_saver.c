/* file_saver.c - see file_saver.h. */
#include "kubelet/file_saver.h"

#include "kubelet/job.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include <stdlib.h>

struct waiter {
    struct list link;
    bool covered; /* By the write under way. */
    void (*saved)(int code, const struct error *err, void *arg);
    void *arg;
};

struct save {
    struct file_saver *saver;
    struct buf text;
    int code;
    struct error err;
};

static void save_start(struct file_saver *s);

static void run_save(void *arg)
{
    struct save *x = arg;
    x->code = file_write_atomic(x->saver->path, x->text.data, x->text.len, 0600, &x->err);
}

static void on_saved(void *arg)
{
    struct save *x = arg;
    struct file_saver *s = x->saver;
    struct list ready;
    list_init(&ready);
    s->saving = false;
    s->failed = x->code != 0;
    if (x->code != 0)
        log_error("%s: %s", s->path, error_message(&x->err));
    LIST_FOREACH_SAFE (it, &s->waiting) {
        if (!LIST_ENTRY(it, struct waiter, link)->covered)
            continue;
        list_remove(it);
        list_push_back(&ready, it);
    }
    if (!list_empty(&s->waiting))
        save_start(s);
    for (struct list *n; (n = list_pop_front(&ready)) != NULL;) {
        struct waiter *w = LIST_ENTRY(n, struct waiter, link);
        w->saved(x->code, &x->err, w->arg);
        free(w);
    }
    buf_done(&x->text);
    free(x);
}

static void save_start(struct file_saver *s)
{
    struct save *x = xzalloc(sizeof(*x));
    x->saver = s;
    s->write(s->state, &x->text);
    s->saving = true;
    LIST_FOREACH (it, &s->waiting)
        LIST_ENTRY(it, struct waiter, link)->covered = true;
    job_start(s->loop, run_save, on_saved, x);
}

void file_saver_init(struct file_saver *s, struct uv_loop_s *loop, char *path,
                     void (*write)(const void *state, struct buf *out), const void *state)
{
    *s = (struct file_saver){.loop = loop, .path = path, .write = write, .state = state};
    list_init(&s->waiting);
}

void file_saver_save_then(struct file_saver *s,
                          void (*saved)(int code, const struct error *err, void *arg), void *arg)
{
    struct waiter *w = xzalloc(sizeof(*w));
    w->saved = saved;
    w->arg = arg;
    list_push_back(&s->waiting, &w->link);
    if (!s->saving)
        save_start(s);
}

static void on_nobody_waits(int code, const struct error *err, void *arg)
{
    UNUSED(code), UNUSED(err), UNUSED(arg);
}

void file_saver_save(struct file_saver *s)
{
    LIST_FOREACH (it, &s->waiting)
        if (!LIST_ENTRY(it, struct waiter, link)->covered)
            return; /* It will be in the next one. */
    file_saver_save_then(s, on_nobody_waits, NULL);
}
