/* mvcc_snapshot_internal.h - the format of snapshot streams.
 *
 *   stream = chunk(HEADER) chunk(DATA)* chunk(END)
 *   chunk  = le32 type, le32 payload bytes, le32 raw bytes, le32 crc, payload
 *            crc: CRC-32C of the twelve bytes before it and the payload, going on
 *            from the previous chunk's (0 at first). payload: an LZ4 frame.
 *   HEADER = varints: format, rev, compacted, applied; config (length, bytes);
 *            alarms: count, (member, alarms)...
 *            Format 2 differs in that AUTH records may come; a state without users
 *            and roles is written in format 1.
 *   DATA   = records, each whole within its chunk: a tag, then
 *     AUTH     length, bytes: the next piece of auth_state_encode()'s (first of all)
 *     LEASE    signed id, signed ttl_s, renewals       (all before the keys)
 *     KEY      key, version       the oldest version of the next key
 *     VERSION  version            the next one of the same key
 *     version = mod_rev, version; unless that is 0 create_rev, signed lease,
 *               value; then sub
 *   END    = leases, keys with a version, versions */
#ifndef RAFTSTORE_MVCC_SNAPSHOT_INTERNAL_H
#define RAFTSTORE_MVCC_SNAPSHOT_INTERNAL_H

#include "raftstore/command.h"

#define SNAPSHOT_FORMAT 2
#define SNAPSHOT_AUTH_PIECE (256u << 10)
#define SNAPSHOT_AUTH_MAX (256u << 20)
#define SNAPSHOT_CHUNK_HEAD 16
#define SNAPSHOT_CHUNK_BYTES (256u << 10) /* A chunk ends with the record that exceeds it. */
/* The longest record on top of a chunk just not full. */
#define SNAPSHOT_RAW_MAX (SNAPSHOT_CHUNK_BYTES + COMMAND_BYTES_MAX + KV_KEY_MAX + 256)
/* LZ4 frames of incompressible data grow by less than this. */
#define SNAPSHOT_PAYLOAD_MAX (SNAPSHOT_RAW_MAX + SNAPSHOT_RAW_MAX / 64 + 4096)

enum snapshot_chunk { /* "TR" and a number: a stream is told from noise at once. */
                      SNAPSHOT_HEADER = 0x54520001,
                      SNAPSHOT_DATA = 0x54520002,
                      SNAPSHOT_END = 0x54520003,
};

enum snapshot_record { RECORD_LEASE = 1, RECORD_KEY = 2, RECORD_VERSION = 3, RECORD_AUTH = 4 };

#endif
