/* fuzz_peer_message.c - messages of a member gone wrong, and what a replica that
 * follows, leads or installs does with them. */
#include "lib/base/buf.h"
#include "raftstore/batch.h"
#include "raftstore/peer_message.h"
#include "raftstore/replica_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* What decodes encodes to the same bytes again. */
static void check_round_trip(struct str in)
{
    AUTO_BUF out = BUF_INIT;
    struct peer_message m;
    if (peer_message_decode(in, &m, NULL) != 0)
        return;
    peer_message_encode(&m, &out);
    struct peer_message again;
    ASSERT(peer_message_decode(buf_str(&out), &again, NULL) == 0);
    ASSERT_CMP(again.type, ==, m.type);
    peer_message_done(&again);
    peer_message_done(&m);
}

static void check_decoders(struct str in)
{
    struct members m;
    struct applied a;
    uint32_t count;
    if (members_decode(in, &m, NULL) == 0)
        members_done(&m);
    if (applied_decode(in, 9, 3, &a, NULL) == 0)
        applied_done(&a);
    batch_valid(in, 0, &count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_n((const char *)data, size);
    check_round_trip(in);
    check_decoders(in);
    return 0;
}

static void seed_message(unsigned i, struct buf *out)
{
    struct peer_message m = {0};
    struct entry *e = entry_new(ENTRY_COMMANDS, 8, 3, 4);
    memcpy(e->data, "abcd", 4);
    m.type = (uint8_t)(i < 6 ? i + 1 : PEER_FORWARD + i - 6);
    m.core.msg.type = (enum consensus_message_type)m.type;
    if (i < 6) {
        m.core.msg.term = 3;
        m.core.meta = STR("meta");
    }
    if (m.type == CONSENSUS_APPEND) {
        m.core.msg.append.prev_index = 7;
        m.core.msg.append.prev_term = 3;
        m.core.msg.append.count = 1;
        m.core.msg.append.entries = &e;
    }
    if (m.type == PEER_FORWARD || m.type == PEER_CHUNK)
        m.forward.batch = STR_NULL;
    peer_message_encode(&m, out);
    entry_unref(e);
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    AUTO_BUF out = BUF_INIT;
    if (i < 16) {
        seed_message(i, &out);
    } else if (i == 16) {
        struct batch_writer w;
        batch_begin(&w, &out);
        for (uint64_t seq = 5; seq < 9; seq++)
            batch_add(&w, &(struct batch_command){2, 7, seq, STR("command")});
        batch_add(&w, &(struct batch_command){3, 1, 1, STR("")});
    } else if (i == 17) {
        struct applied a = {.members_index = 4};
        members_add(&a.members, 1, MEMBER_VOTER, "a:1");
        members_add(&a.members, 2, MEMBER_STANDBY, "b:1");
        applied_encode(&a, &out);
        applied_done(&a);
    } else {
        return 0;
    }
    size_t n = MIN_OF(out.len, cap);
    memcpy(p, out.data, n);
    return n;
}
