/* worker.c - see worker.h. */
#include "raftstore/worker.h"

#include <time.h>

static struct timespec deadline_in(uint64_t ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(ms / 1000);
    ts.tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

/* Waits for work, at most wait_ms. Moves it to *ret. False: stop, all is done. */
static bool next_turn(struct worker *w, uint64_t wait_ms, struct list *ret)
{
    struct timespec until = deadline_in(wait_ms == WORKER_NO_WAKE ? 0 : wait_ms);
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (list_empty(&w->queue) && !w->stopping && rc == 0)
        rc = wait_ms == WORKER_NO_WAKE ? pthread_cond_wait(&w->wake, &w->lock)
                                       : pthread_cond_timedwait(&w->wake, &w->lock, &until);
    bool go_on = !list_empty(&w->queue) || !w->stopping;
    list_splice(ret, &w->queue);
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    uint64_t wait_ms = WORKER_NO_WAKE;
    struct list works;
    list_init(&works);
    while (next_turn(w, wait_ms, &works)) {
        for (struct list *n; (n = list_pop_front(&works)) != NULL;) {
            struct work *work = LIST_ENTRY(n, struct work, link);
            work->run(work);
        }
        wait_ms = w->on_turn != NULL ? w->on_turn(w->arg) : WORKER_NO_WAKE;
    }
    return NULL;
}

void worker_start(struct worker *w, const char *name, uint64_t (*on_turn)(void *arg), void *arg)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    list_init(&w->queue);
    w->stopping = false;
    w->on_turn = on_turn;
    w->arg = arg;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
        PANIC("cannot start the thread %s", name);
    pthread_setname_np(w->thread, name);
    w->started = true;
}

void worker_post_list(struct worker *w, struct list *works)
{
    if (list_empty(works))
        return;
    pthread_mutex_lock(&w->lock);
    list_splice(&w->queue, works);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake); /* Not locked: else the woken thread would wait for us. */
}

void worker_post(struct worker *w, struct work *work)
{
    struct list one;
    list_init(&one);
    list_push_back(&one, &work->link);
    worker_post_list(w, &one);
}

void worker_stop(struct worker *w)
{
    if (!w->started)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    w->started = false;
}

bool worker_stopping(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

void worker_sleep(struct worker *w, uint64_t ms)
{
    struct timespec until = deadline_in(ms);
    pthread_mutex_lock(&w->lock);
    while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&w->lock);
}
