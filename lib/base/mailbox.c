/* mailbox.c - see mailbox.h. One write to an eventfd wakes the loop for however
 * many mails; none while the loop is at them already. */
#include "lib/base/mailbox.h"

#include "lib/base/base.h"
#include "lib/base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TURNS_MAX 8 /* Then other handles have their turn. */

static void wake(struct mailbox *mb)
{
    uint64_t one = 1;
    while (write(mb->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* Takes what is queued. False: nothing was, and who posts next wakes the loop. */
static bool take_mails(struct mailbox *mb, struct list *local)
{
    pthread_mutex_lock(&mb->lock);
    list_splice(local, &mb->queue);
    mb->awake = !list_empty(local);
    pthread_mutex_unlock(&mb->lock);
    return !list_empty(local);
}

static void run_mails(struct list *local)
{
    for (struct list *n; (n = list_pop_front(local)) != NULL;) {
        struct mail *m = LIST_ENTRY(n, struct mail, link);
        m->run(m);
    }
}

static void drain(struct mailbox *mb)
{
    struct list local;
    list_init(&local);
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        if (!take_mails(mb, &local))
            return;
        run_mails(&local);
    }
    wake(mb);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct mailbox *mb = CONTAINER_OF(poll, struct mailbox, poll);
    uint64_t count;
    UNUSED(status);
    UNUSED(events);
    if (read(mb->fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
        PANIC("mailbox: %s", strerror(errno));
    drain(mb);
}

int mailbox_init(struct mailbox *mb, uv_loop_t *loop)
{
    list_init(&mb->queue);
    mb->closing = mb->awake = false;
    mb->on_closed = NULL;
    mb->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mb->fd < 0)
        return E_IO;
    if (uv_poll_init(loop, &mb->poll, mb->fd) != 0) {
        close(mb->fd);
        return E_IO;
    }
    uv_poll_start(&mb->poll, UV_READABLE, on_readable);
    pthread_mutex_init(&mb->lock, NULL);
    return 0;
}

void mailbox_unref(struct mailbox *mb)
{
    uv_unref((uv_handle_t *)&mb->poll);
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
    pthread_mutex_lock(&mb->lock);
    bool asleep = list_empty(&mb->queue) && !mb->awake;
    list_push_back(&mb->queue, &m->link);
    pthread_mutex_unlock(&mb->lock);
    if (asleep)
        wake(mb);
}

static void on_close(uv_handle_t *h)
{
    struct mailbox *mb = CONTAINER_OF((uv_poll_t *)h, struct mailbox, poll);
    close(mb->fd);
    pthread_mutex_destroy(&mb->lock);
    if (mb->on_closed != NULL)
        mb->on_closed(mb);
}

void mailbox_close(struct mailbox *mb, void (*on_closed)(struct mailbox *mb))
{
    ASSERT(!mb->closing);
    mb->closing = true;
    struct list local;
    list_init(&local);
    while (take_mails(mb, &local)) /* Also what these post. */
        run_mails(&local);
    mb->on_closed = on_closed;
    uv_close((uv_handle_t *)&mb->poll, on_close);
}
