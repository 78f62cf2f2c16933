/* consensus_internal.h - what the cores behind the seam share. */
#ifndef RAFTSTORE_CONSENSUS_INTERNAL_H
#define RAFTSTORE_CONSENSUS_INTERNAL_H

#include "raftstore/consensus.h"

/* E_INVALID unless `next` differs from `now` in exactly one member, keeps the
 * order of the others and has a voter. */
int consensus_check_step(const struct members *now, const struct members *next, struct error *err);
/* E_INVALID when the leader would lose its vote by the change. So a list with
 * one voter always names the member that led when it was made. */
int consensus_check_shrink(const struct members *next, uint64_t leader, struct error *err);

#endif
