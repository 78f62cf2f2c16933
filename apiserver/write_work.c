/* write_work.c - see write_work.h. */
#include "apiserver/write_work.h"

#include "apiserver/apiserver.h"
#include "apiserver/kind.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

static bool same(const struct api_msg *m, const void *x, const void *y)
{
    return x == NULL || y == NULL ? x == y : api_msg_equal(m, x, y);
}

void write_work_validate(const struct kind_ctx *ctx, const struct api_msg *msg, const void *obj,
                         const void *old, write_work_judge *judge, struct field_errors *errs)
{
    struct write_work *w = ctx->work;
    if (w == NULL) {
        judge(obj, old, errs);
    } else if (w->done && w->judge == judge && same(msg, w->obj, obj) && same(msg, w->old, old)) {
        field_errors_append(errs, &w->errs);
    } else {
        w->wanted = true;
        w->done = false;
        w->msg = msg;
        w->obj = obj;
        w->old = old;
        w->judge = judge;
    }
}

static void on_judged(struct mail *m)
{
    struct write_work *w = CONTAINER_OF(m, struct write_work, mail);
    w->done = true;
    w->resume(w->arg);
}

static void run(struct work *work)
{
    struct write_work *w = CONTAINER_OF(work, struct write_work, work);
    w->judge(w->obj, w->old, &w->errs);
    mailbox_post(&w->thread->mailbox, &w->mail);
}

void write_work_start(struct write_work *w, struct server_thread *t, struct arena *a,
                      void (*resume)(void *arg), void *arg)
{
    w->wanted = false;
    w->thread = t;
    w->errs = (struct field_errors){.arena = a};
    w->resume = resume;
    w->arg = arg;
    w->work.run = run;
    w->mail.run = on_judged;
    worker_post(&t->server->worker, &w->work);
}
