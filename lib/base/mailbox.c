/* mailbox.c - see mailbox.h. */
#include "lib/base/mailbox.h"

#include "lib/base/error.h"

static void drain(struct mailbox *mb)
{
    struct list local;
    list_init(&local);
    pthread_mutex_lock(&mb->lock);
    list_splice(&local, &mb->queue);
    pthread_mutex_unlock(&mb->lock);
    for (struct list *n; (n = list_pop_front(&local)) != NULL;) {
        struct mail *m = LIST_ENTRY(n, struct mail, link);
        m->run(m);
    }
}

static void on_async(uv_async_t *async)
{
    drain(CONTAINER_OF(async, struct mailbox, async));
}

int mailbox_init(struct mailbox *mb, uv_loop_t *loop)
{
    list_init(&mb->queue);
    mb->closing = false;
    mb->on_closed = NULL;
    pthread_mutex_init(&mb->lock, NULL);
    return uv_async_init(loop, &mb->async, on_async) == 0 ? 0 : E_IO;
}

void mailbox_unref(struct mailbox *mb)
{
    uv_unref((uv_handle_t *)&mb->async);
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
    pthread_mutex_lock(&mb->lock);
    bool first = list_empty(&mb->queue);
    list_push_back(&mb->queue, &m->link);
    pthread_mutex_unlock(&mb->lock);
    if (first)
        uv_async_send(&mb->async);
}

static void on_close(uv_handle_t *h)
{
    struct mailbox *mb = CONTAINER_OF((uv_async_t *)h, struct mailbox, async);
    pthread_mutex_destroy(&mb->lock);
    if (mb->on_closed != NULL)
        mb->on_closed(mb);
}

void mailbox_close(struct mailbox *mb, void (*on_closed)(struct mailbox *mb))
{
    ASSERT(!mb->closing);
    mb->closing = true;
    drain(mb);
    mb->on_closed = on_closed;
    uv_close((uv_handle_t *)&mb->async, on_close);
}
