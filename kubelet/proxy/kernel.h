/* kernel.h - carries out what the Services' tables need: reads, writes and
 * repairs them.
 *
 * Loop-confined; the kernel is spoken to in jobs (job.h). One operation at a
 * time: done() follows each, never inside the call. */
#ifndef KUBELET_PROXY_KERNEL_H
#define KUBELET_PROXY_KERNEL_H

#include "kubelet/nft.h"
#include "kubelet/proxy/table.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

struct kernel_result {
    int code;
    struct error err;
    bool there;        /* adopt: the tables stood. */
    struct buf found;  /* adopt: their elements, packed. */
    uint64_t spent_ns; /* At the kernel. */
};

struct proxy_kernel {
    uv_loop_t *loop;
    char table[PROXY_TABLE_NAME_MAX];
    struct nft_load nft;
    struct buf text;
    struct buf rules;   /* Messages that follow it: nft_batch.h. */
    struct buf changes; /* Packed, each behind a byte: add. */
    struct buf stale;   /* See stale.h; a job's while cleaning. */
    bool cleaning;      /* A job is at it. */
    bool clean_later;   /* It is, or it has been a short while ago: its next time is to come. */
    uint64_t cleaning_ns;
    uv_timer_t rest;
    void (*cleaned)(void *arg);
    struct kernel_result result;
    void (*done)(struct kernel_result *r, void *arg);
    void *arg;
    bool busy;
    bool clean; /* Other tables of ours have to go. */
    uint64_t handles[PROXY_FAMILY_COUNT];
    uint32_t uses[PROXY_FAMILY_COUNT];
    uint32_t generation;
    bool foreign; /* Somebody else has changed rules, ours perhaps; set back by its reader. */
};

void kernel_init(struct proxy_kernel *k, uv_loop_t *loop,
                 void (*done)(struct kernel_result *r, void *arg), void (*cleaned)(void *arg),
                 void *arg);
void kernel_done(struct proxy_kernel *k); /* Nothing may be under way. */
/* Looks whether the tables of this name are there, and for what they hold. */
void kernel_adopt(struct proxy_kernel *k, const char *table);
/* Loads k->text, and then k->rules, if any. */
void kernel_load(struct proxy_kernel *k);
/* Writes k->changes in one transaction; once then removes tables of other versions. When they hold,
 * kernel_clean() follows by itself. */
void kernel_commit(struct proxy_kernel *k);
/* Ends what k->stale names, if anything; cleaned() follows. Beside all else: it reads all flows of
 * the machine. At most a tenth of the time goes to it: not while k->clean_later, when k->stale must
 * not be touched either. */
void kernel_clean(struct proxy_kernel *k);
bool kernel_is_cleaning(const struct proxy_kernel *k);
void kernel_stop(struct proxy_kernel *k); /* Nothing is cleaned any more. */
/* Whether the tables still stand as we left them. Cheap; nothing may be under way. */
bool kernel_stands(struct proxy_kernel *k);

#endif
