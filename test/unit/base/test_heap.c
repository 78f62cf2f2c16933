/* test_heap.c - order, removal and updates of the intrusive heap. */
#include "lib/base/heap.h"

#include "test/unit/unit.h"

struct item {
    struct heap_node node;
    int key;
};

static bool item_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, const struct item, node)->key <
           HEAP_ENTRY(b, const struct item, node)->key;
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* Items come out in order, whatever the order of pushing, updating and removing. */
START_TEST(keeps_order)
{
    static struct item items[500];
    unsigned state = 42;
    struct heap h;
    heap_init(&h, item_before, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        items[i] = (struct item){.key = (int)(next_random(&state) % 100)};
        heap_push(&h, &items[i].node);
        heap_check(&h);
    }
    for (size_t i = 0; i < ARRAY_SIZE(items); i += 3) {
        items[i].key = (int)(next_random(&state) % 200) - 50;
        heap_update(&h, &items[i].node);
        heap_check(&h);
    }
    for (size_t i = 1; i < ARRAY_SIZE(items); i += 3) {
        heap_remove(&h, &items[i].node);
        ck_assert(!heap_has(&items[i].node));
        heap_check(&h);
    }
    int last = -1000;
    size_t popped = 0;
    for (struct heap_node *n; (n = heap_pop(&h)) != NULL; popped++) {
        int key = HEAP_ENTRY(n, struct item, node)->key;
        ck_assert_int_ge(key, last);
        last = key;
    }
    ck_assert_uint_eq(popped, 333);
    ck_assert_ptr_null(heap_peek(&h));
    heap_done(&h);
}
END_TEST

UNIT_MAIN("heap", UNIT_TEST(keeps_order))
