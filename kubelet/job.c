/* job.c - see job.h. */
#include "kubelet/job.h"

#include "lib/base/base.h"

#include <uv.h>

struct job {
    uv_work_t work;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_run(uv_work_t *work)
{
    struct job *j = CONTAINER_OF(work, struct job, work);
    j->run(j->arg);
}

static void on_done(uv_work_t *work, int status)
{
    struct job *j = CONTAINER_OF(work, struct job, work);
    UNUSED(status);
    j->done(j->arg);
    free(j);
}

void job_start(struct uv_loop_s *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
    struct job *j = xzalloc(sizeof(*j));
    j->run = run;
    j->done = done;
    j->arg = arg;
    /* Fails only without a run function. */
    if (uv_queue_work(loop, &j->work, on_run, on_done) != 0)
        PANIC("uv_queue_work");
}
