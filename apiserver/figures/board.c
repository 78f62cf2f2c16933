/* board.c - see board.h. */
#include "apiserver/figures/board.h"

#include "lib/base/map.h"

#include <pthread.h>
#include <stdlib.h>

struct entry {
    struct figures *figures;
    uint64_t at_ms;
};

struct figure_board {
    pthread_mutex_t lock;
    struct map nodes; /* Name -> struct entry */
};

struct figure_board *figure_board_new(void)
{
    struct figure_board *b = xzalloc(sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
    map_init(&b->nodes);
    return b;
}

void figure_board_free(struct figure_board *b)
{
    if (b == NULL)
        return;
    figure_board_clear(b);
    map_done(&b->nodes);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void entry_free(struct entry *e)
{
    if (e == NULL)
        return;
    figures_unref(e->figures);
    free(e);
}

void figure_board_put(struct figure_board *b, struct str node, struct figures *f, uint64_t at_ms)
{
    struct entry *e = xzalloc(sizeof(*e));
    *e = (struct entry){f, at_ms};
    pthread_mutex_lock(&b->lock);
    struct entry *old = map_set(&b->nodes, node, e);
    pthread_mutex_unlock(&b->lock);
    entry_free(old);
}

void figure_board_drop(struct figure_board *b, struct str node)
{
    pthread_mutex_lock(&b->lock);
    struct entry *old = map_remove(&b->nodes, node);
    pthread_mutex_unlock(&b->lock);
    entry_free(old);
}

void figure_board_clear(struct figure_board *b)
{
    size_t pos = 0;
    void *value;
    pthread_mutex_lock(&b->lock);
    while (map_next(&b->nodes, &pos, NULL, &value))
        entry_free(value);
    map_clear(&b->nodes);
    pthread_mutex_unlock(&b->lock);
}

struct figures *figure_board_get(struct figure_board *b, struct str node, uint64_t since_ms)
{
    pthread_mutex_lock(&b->lock);
    const struct entry *e = map_get(&b->nodes, node);
    struct figures *f = e != NULL && e->at_ms >= since_ms ? figures_ref(e->figures) : NULL;
    pthread_mutex_unlock(&b->lock);
    return f;
}
