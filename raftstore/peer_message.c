/* peer_message.c - the bytes of the messages between members. */
#include "raftstore/peer_message.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/wire.h"

#define ENTRY_HEADER 13 /* term(8) type(1) size(4) */

/* --- encoding --- */

static void put_append(const struct consensus_message *m, struct buf *out)
{
    buf_put_le64(out, m->append.prev_index);
    buf_put_le64(out, m->append.prev_term);
    buf_put_le64(out, m->append.commit);
    buf_put_le32(out, m->append.count);
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct entry *e = m->append.entries[i];
        buf_put_le64(out, e->term);
        buf_putc(out, (char)e->type);
        buf_put_le32(out, e->size);
        buf_append(out, e->data, e->size);
    }
}

static void put_core(const struct peer_message *pm, struct buf *out)
{
    const struct consensus_message *m = &pm->core.msg;
    buf_put_le64(out, m->term);
    switch (m->type) {
    case CONSENSUS_APPEND:
        put_append(m, out);
        break;
    case CONSENSUS_APPEND_RESULT:
        buf_put_le64(out, m->append_result.rejected);
        buf_put_le64(out, m->append_result.last_index);
        break;
    case CONSENSUS_VOTE:
        buf_put_le64(out, m->vote.last_index);
        buf_put_le64(out, m->vote.last_term);
        buf_putc(out, m->vote.pre_vote);
        buf_putc(out, m->vote.disrupt_leader);
        break;
    case CONSENSUS_VOTE_RESULT:
        buf_putc(out, m->vote_result.granted);
        buf_putc(out, m->vote_result.pre_vote);
        break;
    case CONSENSUS_INSTALL:
        buf_put_le64(out, m->install.index);
        buf_put_le64(out, m->install.snapshot_term);
        buf_put_le64(out, pm->core.transfer);
        wire_put_str(out, pm->core.meta);
        break;
    case CONSENSUS_TIMEOUT_NOW:
        buf_put_le64(out, m->timeout_now.last_index);
        buf_put_le64(out, m->timeout_now.last_term);
        break;
    }
}

/* What the large ones take at most: growing step by step would copy them again and again. */
static size_t size_of(const struct peer_message *m)
{
    size_t n = 64;
    if (m->type == PEER_FORWARD)
        n += m->forward.batch.len;
    else if (m->type == PEER_CHUNK)
        n += m->chunk.bytes.len;
    else if (m->type == CONSENSUS_APPEND)
        for (uint32_t i = 0; i < m->core.msg.append.count; i++)
            n += ENTRY_HEADER + m->core.msg.append.entries[i]->size;
    return n;
}

void peer_message_encode(const struct peer_message *m, struct buf *out)
{
    buf_reserve(out, size_of(m));
    buf_putc(out, PEER_MESSAGE_VERSION);
    buf_putc(out, (char)m->type);
    switch (m->type) {
    case PEER_FORWARD:
        buf_append_str(out, m->forward.batch);
        break;
    case PEER_REFUSED:
        buf_put_le64(out, m->refused.boot);
        buf_put_le64(out, m->refused.term);
        break;
    case PEER_HEARTBEAT:
    case PEER_HEARTBEAT_ACK:
        buf_put_le64(out, m->heartbeat.term);
        buf_put_le64(out, m->heartbeat.round);
        break;
    case PEER_READ:
    case PEER_READ_REPLY:
        buf_put_le64(out, m->read.boot);
        buf_put_le64(out, m->read.id);
        buf_put_le64(out, m->read.index);
        break;
    case PEER_CHANGE:
        buf_put_le64(out, m->change.boot);
        buf_put_le64(out, m->change.id);
        buf_putc(out, (char)m->change.change);
        buf_putc(out, m->change.again);
        buf_put_le64(out, m->change.target);
        wire_put_str(out, m->change.address);
        break;
    case PEER_CHANGE_REPLY:
        buf_put_le64(out, m->change_reply.boot);
        buf_put_le64(out, m->change_reply.id);
        buf_put_le32(out, (uint32_t)m->change_reply.code);
        break;
    case PEER_CHUNK:
        buf_put_le64(out, m->chunk.transfer);
        buf_put_le64(out, m->chunk.index);
        buf_put_le64(out, m->chunk.term);
        buf_put_le64(out, m->chunk.offset);
        buf_putc(out, m->chunk.last);
        buf_append_str(out, m->chunk.bytes);
        break;
    case PEER_CHUNK_ACK:
        buf_put_le64(out, m->chunk_ack.transfer);
        buf_put_le64(out, m->chunk_ack.attempt);
        buf_put_le64(out, m->chunk_ack.offset);
        buf_putc(out, m->chunk_ack.done);
        break;
    default:
        put_core(m, out);
    }
}

/* --- decoding --- */

static struct entry *get_entry(struct wire *w, uint64_t index)
{
    uint64_t term = wire_u64(w);
    uint8_t type = wire_u8(w);
    uint32_t size = wire_u32(w);
    if (size > ENTRY_BYTES_MAX || type < ENTRY_COMMANDS || type > ENTRY_MEMBERS)
        w->bad = true;
    const uint8_t *data = wire_take(w, size);
    if (data == NULL)
        return NULL;
    struct entry *e = entry_new((enum entry_type)type, index, term, size);
    if (e == NULL) {
        w->bad = true;
        return NULL;
    }
    memcpy(e->data, data, size);
    return e;
}

static void get_append(struct wire *w, struct peer_message *pm)
{
    struct consensus_message *m = &pm->core.msg;
    m->append.prev_index = wire_u64(w);
    m->append.prev_term = wire_u64(w);
    m->append.commit = wire_u64(w);
    m->append.count = wire_u32(w);
    if (m->append.count > w->left / ENTRY_HEADER ||
        m->append.prev_index > UINT64_MAX - m->append.count - 1)
        w->bad = true;
    if (w->bad || m->append.count == 0)
        return;
    pm->entries = xmalloc(m->append.count * sizeof(pm->entries[0]));
    for (uint32_t i = 0; i < m->append.count; i++) {
        struct entry *e = get_entry(w, m->append.prev_index + 1 + i);
        if (e == NULL)
            return;
        pm->entries[pm->entry_count++] = e;
    }
    m->append.entries = pm->entries;
}

static void get_core(struct wire *w, struct peer_message *pm)
{
    struct consensus_message *m = &pm->core.msg;
    m->type = (enum consensus_message_type)pm->type;
    m->term = wire_u64(w);
    switch (m->type) {
    case CONSENSUS_APPEND:
        get_append(w, pm);
        break;
    case CONSENSUS_APPEND_RESULT:
        m->append_result.rejected = wire_u64(w);
        m->append_result.last_index = wire_u64(w);
        break;
    case CONSENSUS_VOTE:
        m->vote.last_index = wire_u64(w);
        m->vote.last_term = wire_u64(w);
        m->vote.pre_vote = wire_bool(w);
        m->vote.disrupt_leader = wire_bool(w);
        break;
    case CONSENSUS_VOTE_RESULT:
        m->vote_result.granted = wire_bool(w);
        m->vote_result.pre_vote = wire_bool(w);
        break;
    case CONSENSUS_INSTALL:
        m->install.index = wire_u64(w);
        m->install.snapshot_term = wire_u64(w);
        pm->core.transfer = wire_u64(w);
        pm->core.meta = wire_str(w, REPLICA_META_MAX);
        break;
    case CONSENSUS_TIMEOUT_NOW:
        m->timeout_now.last_index = wire_u64(w);
        m->timeout_now.last_term = wire_u64(w);
        break;
    default:
        w->bad = true;
    }
}

static struct str get_rest(struct wire *w)
{
    size_t n = w->left;
    return str_n((const char *)wire_take(w, n), n);
}

static void get_own(struct wire *w, struct peer_message *m)
{
    switch (m->type) {
    case PEER_FORWARD:
        m->forward.batch = get_rest(w);
        break;
    case PEER_REFUSED:
        m->refused.boot = wire_u64(w);
        m->refused.term = wire_u64(w);
        break;
    case PEER_HEARTBEAT:
    case PEER_HEARTBEAT_ACK:
        m->heartbeat.term = wire_u64(w);
        m->heartbeat.round = wire_u64(w);
        break;
    case PEER_READ:
    case PEER_READ_REPLY:
        m->read.boot = wire_u64(w);
        m->read.id = wire_u64(w);
        m->read.index = wire_u64(w);
        break;
    case PEER_CHANGE:
        m->change.boot = wire_u64(w);
        m->change.id = wire_u64(w);
        m->change.change = wire_u8(w);
        m->change.again = wire_bool(w);
        m->change.target = wire_u64(w);
        m->change.address = wire_str(w, MEMBER_ADDRESS_MAX);
        break;
    case PEER_CHANGE_REPLY:
        m->change_reply.boot = wire_u64(w);
        m->change_reply.id = wire_u64(w);
        m->change_reply.code = (int32_t)wire_u32(w);
        break;
    case PEER_CHUNK:
        m->chunk.transfer = wire_u64(w);
        m->chunk.index = wire_u64(w);
        m->chunk.term = wire_u64(w);
        m->chunk.offset = wire_u64(w);
        m->chunk.last = wire_bool(w);
        m->chunk.bytes = get_rest(w);
        break;
    case PEER_CHUNK_ACK:
        m->chunk_ack.transfer = wire_u64(w);
        m->chunk_ack.attempt = wire_u64(w);
        m->chunk_ack.offset = wire_u64(w);
        m->chunk_ack.done = wire_bool(w);
        break;
    default:
        w->bad = true;
    }
}

int peer_message_decode(struct str bytes, struct peer_message *ret, struct error *err)
{
    struct wire w = wire_of(bytes);
    struct peer_message m = {0};
    uint8_t version = wire_u8(&w);
    m.type = wire_u8(&w);
    if (bytes.len > REPLICA_MESSAGE_MAX || version != PEER_MESSAGE_VERSION)
        return error_set(err, E_INVALID, "peer message: version %u of %zu bytes, want %d", version,
                         bytes.len, PEER_MESSAGE_VERSION);
    if (m.type >= PEER_FORWARD)
        get_own(&w, &m);
    else
        get_core(&w, &m);
    if (!wire_end(&w)) {
        peer_message_done(&m);
        return error_set(err, E_INVALID, "peer message: type %u not in the expected form", m.type);
    }
    *ret = m;
    return 0;
}

void peer_message_done(struct peer_message *m)
{
    for (uint32_t i = 0; i < m->entry_count; i++)
        entry_unref(m->entries[i]);
    free(m->entries);
    m->entries = NULL;
    m->entry_count = 0;
}
