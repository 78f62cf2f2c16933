/* test_proxy_chains.c - chains that are made on demand, and rules as messages. */
#include "kubelet/nft_rule.h"
#include "kubelet/proxy/affinity.h"
#include "kubelet/proxy/chains.h"

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include "test/unit/unit.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

static struct proxy_chains chains;
static struct buf text, rules;

static bool next(void)
{
    buf_clear(&text);
    buf_clear(&rules);
    return proxy_chains_next(&chains, "t", &text, &rules);
}

static bool writes(const char *what)
{
    return str_find_str(buf_str(&text), str_of(what)) >= 0;
}

/* All that is wanted is loaded together, once. */
START_TEST(test_together)
{
    proxy_chains_init(&chains);
    ck_assert(!next());
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 20), CHAIN_WANTED);
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 20), CHAIN_WANTED);
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_LEARN, 20), CHAIN_WANTED);
    ck_assert(next());
    ck_assert(writes("lb-20") && writes("learn-20") && rules.len > 0);
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 20), CHAIN_LOADING);
    ck_assert(!proxy_chains_loaded(&chains, true, 0));
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 20), CHAIN_THERE);
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_LEARN, 20), CHAIN_THERE);
    ck_assert(!next());
    proxy_chains_want(&chains, CHAIN_COUNT, 21);
    ck_assert(next());
    ck_assert(!writes("lb-20") && rules.len == 0);
    proxy_chains_loaded(&chains, true, 0);
    proxy_chains_forget(&chains);
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 20), CHAIN_WANTED);
    proxy_chains_done(&chains);
}
END_TEST

/* One that cannot be made holds up no other, and is tried again later. */
START_TEST(test_broken)
{
    proxy_chains_init(&chains);
    for (int64_t n = 20; n < 30; n++)
        proxy_chains_want(&chains, CHAIN_COUNT, n);
    ck_assert(next());
    ck_assert(!proxy_chains_loaded(&chains, false, 1000));
    int loads = 0, broke = 0;
    while (next()) {
        bool bad = writes("lb-25");
        ck_assert(!(bad && writes("lb-26")));
        broke += proxy_chains_loaded(&chains, !bad, 1000);
        loads++;
    }
    ck_assert_int_eq(loads, 10);
    ck_assert_int_eq(broke, 1);
    for (int64_t n = 20; n < 30; n++)
        ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, n),
                         n == 25 ? CHAIN_BROKEN : CHAIN_THERE);
    ck_assert(!proxy_chains_retry(&chains, 1000 + CHAINS_RETRY_MS - 1));
    ck_assert(proxy_chains_retry(&chains, 1000 + CHAINS_RETRY_MS));
    ck_assert(next());
    ck_assert(writes("lb-25"));
    ck_assert(!proxy_chains_loaded(&chains, true, 0));
    ck_assert_int_eq(proxy_chains_want(&chains, CHAIN_COUNT, 25), CHAIN_THERE);
    proxy_chains_done(&chains);
}
END_TEST

static struct nlmsghdr header_at(size_t at)
{
    struct nlmsghdr h;
    ck_assert_uint_le(at + sizeof(h), rules.len);
    memcpy(&h, rules.data + at, sizeof(h));
    return h;
}

/* Only the last message of a batch asks for an answer, and lengths lead from one to the next. */
START_TEST(test_messages)
{
    struct nft_batch b;
    buf_clear(&rules);
    nft_batch_begin(&b, &rules);
    affinity_write_remembered(&b, "t");
    affinity_write_learn(&b, "t", 60);
    nft_batch_end(&b);
    unsigned types[8], count = 0, answers = 0, last_answer = 0;
    for (size_t at = 0; at < rules.len; at += NLMSG_ALIGN(header_at(at).nlmsg_len)) {
        struct nlmsghdr h = header_at(at);
        ck_assert_uint_ge(h.nlmsg_len, sizeof(h));
        ck_assert_uint_lt(count, ARRAY_SIZE(types));
        if ((h.nlmsg_flags & NLM_F_ACK) != 0) {
            answers++;
            last_answer = count;
        }
        types[count++] = h.nlmsg_type & 0xffu;
    }
    ck_assert_uint_eq(count, 6); /* Begin, two of a flush and a rule each, end. */
    ck_assert_uint_eq(types[1], NFT_MSG_DELRULE);
    ck_assert_uint_eq(types[2], NFT_MSG_NEWRULE);
    ck_assert_uint_eq(types[4], NFT_MSG_NEWRULE);
    ck_assert_uint_eq(answers, 1);
    ck_assert_uint_eq(last_answer, 4);
    buf_done(&rules);
    buf_done(&text);
}
END_TEST

UNIT_MAIN("proxy chains", {
    UNIT_TEST(test_together);
    UNIT_TEST(test_broken);
    UNIT_TEST(test_messages);
})
