/* range.h - KV.Range, see range.c. */
#ifndef RAFTSTORE_ETCD_RANGE_H
#define RAFTSTORE_ETCD_RANGE_H

#include "raftstore/etcd/server_internal.h"
#include "raftstore/tree.h"

void etcd_range(struct etcd_call *c, struct str message); /* A method's on_call ... */
void etcd_range_gone(struct etcd_call *c);                /* ... and on_gone. */

#endif
