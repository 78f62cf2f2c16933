/* mailbox.h - the only way for another thread to reach a loop.
 *
 * mailbox_post() may be called from any thread; run() then happens on the
 * loop's thread, in the order of posting. The poster owns the mail's memory
 * until run() is called, the callee after. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "lib/base/list.h"

#include <pthread.h>
#include <uv.h>

struct mail {
    struct list link;
    void (*run)(struct mail *m);
};

struct mailbox {
    uv_poll_t poll;
    int fd; /* An eventfd. uv_async_t would spin while a poster is interrupted. */
    pthread_mutex_t lock;
    struct list queue; /* Guarded by lock, as is the next one. */
    bool awake;        /* The loop looks at the queue again: no need to wake it. */
    bool closing;
    void (*on_closed)(struct mailbox *mb);
};

/* Loop thread. The mailbox keeps the loop alive until closed; call
 * mailbox_unref() to let the loop end without it. 0 or E_*. */
int mailbox_init(struct mailbox *mb, uv_loop_t *loop);
void mailbox_unref(struct mailbox *mb);
void mailbox_post(struct mailbox *mb, struct mail *m);
/* Loop thread. Runs what is queued, then closes; memory may go in on_closed. */
void mailbox_close(struct mailbox *mb, void (*on_closed)(struct mailbox *mb));

#endif
