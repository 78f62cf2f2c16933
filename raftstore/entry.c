/* entry.c - log entries and the list of members. */
#include "raftstore/entry.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/wire.h"

#include <stdatomic.h>

struct entry *entry_new(enum entry_type type, uint64_t index, uint64_t term, uint32_t size)
{
    ASSERT_CMP(size, <=, ENTRY_BYTES_MAX);
    struct entry *e = malloc(sizeof(*e) + size);
    if (e == NULL)
        return NULL;
    atomic_init(&e->refs, 1);
    e->type = type;
    e->index = index;
    e->term = term;
    e->size = size;
    return e;
}

struct entry *entry_ref(struct entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void entry_unref(struct entry *e)
{
    if (e == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before == 1)
        free(e);
}

void members_done(struct members *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        free(m->items[i].address);
    free(m->items);
    *m = (struct members){0};
}

void members_copy(struct members *to, const struct members *from)
{
    struct members copy = {0};
    for (uint32_t i = 0; i < from->count; i++)
        members_add(&copy, from->items[i].id, from->items[i].role, from->items[i].address);
    *to = copy;
}

void members_add(struct members *m, uint64_t id, enum member_role role, const char *address)
{
    m->items = xrealloc(m->items, (m->count + 1) * sizeof(m->items[0]));
    m->items[m->count++] = (struct member){id, role, xstrdup(address)};
}

void members_remove(struct members *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->items[i].id != id)
            continue;
        free(m->items[i].address);
        memmove(&m->items[i], &m->items[i + 1], (m->count - i - 1) * sizeof(m->items[0]));
        m->count--;
        return;
    }
}

struct member *members_get(const struct members *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].id == id)
            return &m->items[i];
    return NULL;
}

uint32_t members_voters(const struct members *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->count; i++)
        n += m->items[i].role == MEMBER_VOTER;
    return n;
}

/* count | { id(8) role(1) address length and bytes } ... */
void members_encode(const struct members *m, struct buf *out)
{
    buf_put_varint(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct member *it = &m->items[i];
        buf_put_le64(out, it->id);
        buf_putc(out, (char)it->role);
        wire_put_str(out, str_of(it->address));
    }
}

static bool decode_member(struct wire *w, struct members *m)
{
    uint64_t id = wire_u64(w);
    uint8_t role = wire_u8(w);
    struct str address = wire_str(w, MEMBER_ADDRESS_MAX);
    if (w->bad || id == 0 || role < MEMBER_VOTER || role > MEMBER_LEARNER ||
        members_get(m, id) != NULL || memchr(str_c(address), 0, address.len) != NULL)
        return false;
    char *copy = xstrndup(str_c(address), address.len);
    members_add(m, id, (enum member_role)role, copy);
    free(copy);
    return true;
}

int members_decode(struct str bytes, struct members *ret, struct error *err)
{
    struct wire w = wire_of(bytes);
    struct members m = {0};
    uint64_t count = wire_varint(&w);
    bool ok = !w.bad && count <= MEMBERS_MAX;
    for (uint64_t i = 0; ok && i < count; i++)
        ok = decode_member(&w, &m);
    if (!ok || !wire_end(&w)) {
        members_done(&m);
        return error_set(err, E_INVALID, "list of members: not in the expected form");
    }
    *ret = m;
    return 0;
}
