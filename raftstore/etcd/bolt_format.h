/* bolt_format.h - bbolt's database file, as etcd's snapshots are one.
 *
 *   file   = pages of one size (4096 here); page 0 and 1: meta, the higher txid counts
 *   page   = le64 id, le16 flags, le16 count, le32 overflow (further pages of its own), then
 *     META      le32 magic, le32 version, le32 page size, le32 flags, le64 root page of the root
 *               bucket, le64 its sequence, le64 freelist page, le64 pages in use, le64 txid,
 *               le64 FNV-1a over the fields before it
 *     FREELIST  le64 page ids (count 0xffff: the first id is the count)
 *     LEAF      elements: le32 flags, le32 pos, le32 key bytes, le32 value bytes
 *     BRANCH    elements: le32 pos, le32 key bytes, le64 page
 *               pos counts from the element's own start to its key; the value follows the key.
 *   bucket = a leaf element with flag BUCKET: key is its name, value le64 root page, le64
 *            sequence; root page 0: a page of its own stands behind (inline).
 *
 * What etcd keeps in it:
 *   key         be64 revision, '_', be64 sub ['t': tombstone] -> mvccpb.KeyValue
 *   meta        finishedCompactRev, scheduledCompactRev -> a revision as above
 *   lease       be64 id -> {1: id, 2: ttl seconds}
 *   auth        authEnabled -> 1 byte; authRevision -> be64
 *   authUsers, authRoles  name -> authpb.User, authpb.Role
 *   alarm       etcdserverpb.AlarmMember -> empty
 *   cluster, members, members_removed: of the cluster, replaced by a restore */
#ifndef RAFTSTORE_ETCD_BOLT_FORMAT_H
#define RAFTSTORE_ETCD_BOLT_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define BOLT_MAGIC 0xED0CDAEDu
#define BOLT_VERSION 2
#define BOLT_PAGE_BYTES 4096u
#define BOLT_PAGE_HEAD 16u
#define BOLT_META_BYTES 64u /* With the checksum. */
#define BOLT_LEAF_ELEMENT 16u
#define BOLT_BRANCH_ELEMENT 16u
#define BOLT_BUCKET_BYTES 16u
#define BOLT_COUNT_MAX 0xfffeu /* Elements of a page; 0xffff means another thing. */
#define BOLT_NO_FREELIST UINT64_MAX
#define BOLT_ELEMENT_BUCKET 1u

enum bolt_page_flags {
    BOLT_PAGE_BRANCH = 0x01,
    BOLT_PAGE_LEAF = 0x02,
    BOLT_PAGE_META = 0x04,
    BOLT_PAGE_FREELIST = 0x10,
};

#define BOLT_REV_BYTES 17 /* be64, '_', be64 */
#define BOLT_SUM_BYTES 32 /* etcd's snapshots end with the SHA-256 of what is before. */

static inline uint64_t bolt_fnv1a(const uint8_t *p, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

#endif
