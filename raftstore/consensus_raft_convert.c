/* consensus_raft_convert.c - entries and members as libraft wants them. */
#include "raftstore/consensus_raft_internal.h"

#include "lib/base/error.h"

#include <inttypes.h>
#include <stdio.h>

int core_role(enum member_role role)
{
    switch (role) {
    case MEMBER_VOTER:
        return RAFT_VOTER;
    case MEMBER_STANDBY:
    case MEMBER_LEARNER:
        return RAFT_STANDBY;
    case MEMBER_SPARE:
        break;
    }
    return RAFT_SPARE;
}

void core_must(int rv)
{
    if (rv != 0)
        PANIC("libraft: %s", raft_strerror(rv));
}

struct entry *core_new_entry(enum entry_type type, uint64_t index, uint64_t term, size_t size)
{
    struct entry *e = entry_new(type, index, term, (uint32_t)size);
    if (e == NULL)
        PANIC("out of memory: %zu bytes", size);
    return e;
}

/* The list as the core sees it; its memory is the core's to free. */
void core_members(const struct members *m, struct raft_configuration *ret)
{
    raft_configuration_init(ret);
    for (uint32_t i = 0; i < m->count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%" PRIu64, m->items[i].id);
        core_must(raft_configuration_add(ret, m->items[i].id, name, core_role(m->items[i].role)));
    }
}

void *core_malloc(size_t n)
{
    void *p = raft_malloc(n);
    if (p == NULL)
        PANIC("out of memory: %zu bytes", n);
    return p;
}

/* Encodes the payload of an ENTRY_MEMBERS the core's way. */
int core_change(struct str payload, struct raft_buffer *ret, struct error *err)
{
    struct members m = {0};
    struct raft_configuration conf;
    if (members_decode(payload, &m, err) != 0)
        return E_INVALID;
    if (m.count == 0)
        return error_set(err, E_INVALID, "list of members: empty");
    core_members(&m, &conf);
    core_must(raft_configuration_encode(&conf, ret));
    raft_configuration_close(&conf);
    members_done(&m);
    return 0;
}

enum raft_entry_type core_type(enum entry_type type)
{
    return type == ENTRY_COMMANDS ? RAFT_COMMAND : type == ENTRY_NOOP ? RAFT_BARRIER : RAFT_CHANGE;
}

/* Entries as the core wants them: all in one raft_malloc'ed block that hangs on
 * the first entry's batch. Changes stand in that block, commands are empty. */
struct raft_entry *core_entries(struct entry *const *entries, uint32_t count, struct error *err)
{
    struct raft_entry *list = xmalloc(count * sizeof(*list));
    size_t bytes = 8;
    for (uint32_t i = 0; i < count; i++) {
        list[i] =
            (struct raft_entry){.term = entries[i]->term, .type = core_type(entries[i]->type)};
        if (entries[i]->type != ENTRY_MEMBERS)
            continue;
        if (core_change(entry_str(entries[i]), &list[i].buf, err) != 0) {
            for (uint32_t j = 0; j < i; j++)
                raft_free(list[j].buf.base);
            free(list);
            return NULL;
        }
        bytes += list[i].buf.len;
    }
    char *block = core_malloc(bytes), *at = block + 8;
    for (uint32_t i = 0; i < count; i++) {
        list[i].batch = block;
        if (list[i].buf.base == NULL) {
            list[i].buf.base = block;
            continue;
        }
        memcpy(at, list[i].buf.base, list[i].buf.len);
        raft_free(list[i].buf.base);
        list[i].buf.base = at;
        at += list[i].buf.len;
    }
    return list;
}
