/* message.c - see message.h. */
#include "kubelet/dns/message.h"

#include <arpa/inet.h>

#define POINTER 0xc0u
#define OFFSET_MAX 0x3fffu
#define LABEL_MAX 63u
#define OPT_BYTES 11u
#define DNSSEC_OK 0x8000u

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}

static void set_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* --- names -------------------------------------------------------------------------- */

bool dns_name_of(struct str text, struct dns_name *ret)
{
    struct dns_name n = {0};
    if (text.len > 0 && text.data[text.len - 1] == '.')
        text.len--;
    while (text.len > 0) {
        struct str label;
        bool more = str_cut(text, '.', &label, &text);
        if (label.len == 0 || label.len > LABEL_MAX || n.len + label.len + 2 > DNS_NAME_MAX ||
            (more && text.len == 0))
            return false;
        n.wire[n.len++] = (uint8_t)label.len;
        memcpy(n.wire + n.len, label.data, label.len);
        n.len = (uint8_t)(n.len + label.len);
    }
    n.wire[n.len++] = 0;
    *ret = n;
    return true;
}

bool dns_name_under(struct str first, const struct dns_name *rest, struct dns_name *ret)
{
    if (first.len == 0 || first.len > LABEL_MAX || first.len + 1 + rest->len > DNS_NAME_MAX)
        return false;
    ret->wire[0] = (uint8_t)first.len;
    memcpy(ret->wire + 1, first.data, first.len);
    memcpy(ret->wire + 1 + first.len, rest->wire, rest->len);
    ret->len = (uint8_t)(first.len + 1 + rest->len);
    return true;
}

void dns_name_fold(const struct dns_name *n, struct dns_name *ret)
{
    ret->len = n->len;
    /* Lengths are below 'A'. */
    for (size_t i = 0; i < n->len; i++)
        ret->wire[i] = fold(n->wire[i]);
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    bool same = a->len == b->len;
    for (size_t i = 0; same && i < a->len; i++)
        same = fold(a->wire[i]) == fold(b->wire[i]);
    return same;
}

size_t dns_name_labels(const struct dns_name *n, struct str ret[DNS_LABELS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < n->len && n->wire[i] != 0; i += (size_t)n->wire[i] + 1)
        ret[count++] = str_n((const char *)n->wire + i + 1, n->wire[i]);
    return count;
}

void dns_name_text(const struct dns_name *n, char ret[DNS_NAME_MAX + 1])
{
    size_t len = 0, next = n->len > 0 ? (size_t)n->wire[0] + 1 : 0;
    for (size_t i = 1; i < n->len; i++) {
        if (i == next) {
            ret[len++] = '.';
            next += (size_t)n->wire[i] + 1;
        } else {
            ret[len++] = n->wire[i] > ' ' && n->wire[i] < 0x7f ? (char)n->wire[i] : '?';
        }
    }
    if (len == 0)
        ret[len++] = '.';
    ret[len] = '\0';
}

/* Reads the name at *pos and moves behind it. Each pointer must lead before
 * the name that holds it, so that there is no way in circles. */
static bool read_name(const uint8_t *msg, size_t len, size_t *pos, struct dns_name *ret)
{
    size_t at = *pos, limit = *pos, end = 0, n = 0;
    for (;;) {
        if (at >= len)
            return false;
        uint8_t c = msg[at];
        if ((c & POINTER) == POINTER) {
            if (at + 2 > len)
                return false;
            size_t to = get_u16(msg + at) & OFFSET_MAX;
            if (end == 0)
                end = at + 2;
            if (to >= limit)
                return false;
            at = limit = to;
        } else if (c > LABEL_MAX || n + c + 1 > DNS_NAME_MAX || at + 1 + c > len) {
            return false;
        } else {
            memcpy(ret->wire + n, msg + at, (size_t)c + 1);
            n += (size_t)c + 1;
            at += (size_t)c + 1;
            if (c == 0)
                break;
        }
    }
    ret->len = (uint8_t)n;
    *pos = end != 0 ? end : at;
    return true;
}

/* --- reading ------------------------------------------------------------------------- */

static void start_reading(struct dns_reader *r, const uint8_t *msg, size_t len)
{
    *r = (struct dns_reader){.msg = msg, .len = len, .pos = DNS_HEADER_BYTES};
    r->id = get_u16(msg);
    r->flags = get_u16(msg + 2);
    for (size_t i = 0; i < ARRAY_SIZE(r->left); i++)
        r->left[i] = get_u16(msg + 4 + 2 * i);
}

static bool read_question(struct dns_reader *r)
{
    if (r->left[DNS_QUESTION] != 1 || !read_name(r->msg, r->len, &r->pos, &r->name) ||
        r->pos + 4 > r->len)
        return false;
    r->type = get_u16(r->msg + r->pos);
    r->class = get_u16(r->msg + r->pos + 2);
    r->pos += 4;
    r->left[DNS_QUESTION] = 0;
    return true;
}

bool dns_reader_init(struct dns_reader *r, const uint8_t *msg, size_t len)
{
    if (len < DNS_HEADER_BYTES)
        return false;
    start_reading(r, msg, len);
    return (r->flags & DNS_QR) != 0 && (r->flags & 0x7800) == 0 && read_question(r);
}

int dns_reader_next(struct dns_reader *r, struct dns_record *ret)
{
    enum dns_section s = DNS_ANSWER;
    while (s <= DNS_ADDITIONAL && r->left[s] == 0)
        s++;
    if (s > DNS_ADDITIONAL)
        return 0;
    r->left[s]--;
    ret->section = s;
    if (!read_name(r->msg, r->len, &r->pos, &ret->owner) || r->pos + 10 > r->len)
        return -1;
    const uint8_t *p = r->msg + r->pos;
    ret->type = get_u16(p);
    ret->class = get_u16(p + 2);
    ret->ttl = get_u32(p + 4);
    ret->data = r->pos + 10;
    ret->data_len = get_u16(p + 8);
    /* RFC 2181 8: one whose highest bit is set counts as none. */
    if (ret->ttl > INT32_MAX && ret->type != DNS_OPT)
        ret->ttl = 0;
    if (ret->data_len > r->len - ret->data)
        return -1;
    r->pos = ret->data + ret->data_len;
    return 1;
}

static int read_edns(struct dns_query *q, const struct dns_record *rec)
{
    if (q->edns || rec->owner.len != 1)
        return DNS_FORMERR;
    q->edns = true;
    q->payload = rec->class;
    q->dnssec_ok = (rec->ttl & DNSSEC_OK) != 0;
    return (rec->ttl >> 16 & 0xff) == 0 ? 0 : DNS_BADVERS;
}

int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *ret)
{
    struct dns_reader r;
    struct dns_record rec;
    memset(ret, 0, offsetof(struct dns_query, name));
    ret->name.len = ret->folded.len = 0;
    ret->edns = ret->dnssec_ok = false;
    ret->payload = 0;
    if (len < DNS_HEADER_BYTES || (msg[2] & 0x80) != 0)
        return -1;
    start_reading(&r, msg, len);
    ret->id = r.id;
    ret->flags = r.flags;
    if ((r.flags & 0x7800) != 0)
        return DNS_NOTIMP;
    if (!read_question(&r))
        return DNS_FORMERR;
    ret->name = r.name;
    ret->type = r.type;
    ret->class = r.class;
    dns_name_fold(&ret->name, &ret->folded);
    int more, rc = 0;
    while ((more = dns_reader_next(&r, &rec)) > 0) {
        if (rec.type == DNS_OPT && rec.section == DNS_ADDITIONAL)
            rc = read_edns(ret, &rec);
        if (rc == DNS_FORMERR)
            return rc;
    }
    return more < 0 ? DNS_FORMERR : rc;
}

/* --- writing ------------------------------------------------------------------------- */

void dns_put(struct dns_writer *w, const void *p, size_t n)
{
    if (w->full || n > w->cap - w->len) {
        w->full = true;
        return;
    }
    memcpy(w->data + w->len, p, n);
    w->len += n;
}

void dns_put_u16(struct dns_writer *w, uint16_t v)
{
    uint16_t n = htons(v);
    dns_put(w, &n, sizeof(n));
}

void dns_put_u32(struct dns_writer *w, uint32_t v)
{
    uint32_t n = htonl(v);
    dns_put(w, &n, sizeof(n));
}

/* Does the name written at offset `at` read as the wire form at p? */
static bool stands_at(const struct dns_writer *w, size_t at, const uint8_t *p)
{
    for (;;) {
        while ((w->data[at] & POINTER) == POINTER) /* Ours; they lead backwards. */
            at = get_u16(w->data + at) & OFFSET_MAX;
        uint8_t len = w->data[at];
        if (len != p[0])
            return false;
        if (len == 0)
            return true;
        for (size_t i = 1; i <= len; i++)
            if (fold(w->data[at + i]) != fold(p[i]))
                return false;
        at += (size_t)len + 1;
        p += (size_t)len + 1;
    }
}

static bool find_suffix(const struct dns_writer *w, const uint8_t *p, uint16_t *ret)
{
    for (size_t i = 0; i < w->offset_count; i++) {
        if (stands_at(w, w->offsets[i], p)) {
            *ret = w->offsets[i];
            return true;
        }
    }
    return false;
}

void dns_put_name(struct dns_writer *w, const struct dns_name *n, bool compress)
{
    for (size_t i = 0; i < n->len; i += (size_t)n->wire[i] + 1) {
        uint16_t at;
        if (n->wire[i] == 0)
            break;
        if (compress && find_suffix(w, n->wire + i, &at)) {
            dns_put_u16(w, (uint16_t)(POINTER << 8 | at));
            /* What stands before the pointer may be pointed at, now that it is whole. */
            return;
        }
        dns_put(w, n->wire + i, (size_t)n->wire[i] + 1);
    }
    dns_put(w, "", 1);
}

/* Remembers the suffixes of the name that was just written from `start` on. */
static void remember(struct dns_writer *w, size_t start)
{
    size_t at = start;
    while (!w->full && at <= OFFSET_MAX && w->offset_count < DNS_OFFSETS_MAX && w->data[at] != 0 &&
           (w->data[at] & POINTER) != POINTER) {
        w->offsets[w->offset_count++] = (uint16_t)at;
        at += (size_t)w->data[at] + 1;
    }
}

void dns_writer_init(struct dns_writer *w, const struct dns_query *q, uint8_t *data, size_t cap)
{
    *w = (struct dns_writer){.data = data, .cap = cap - (q->edns ? OPT_BYTES : 0)};
    w->len = DNS_HEADER_BYTES;
    w->flags = (uint16_t)(DNS_QR | DNS_RA | (q->flags & (0x7800 | DNS_RD | DNS_CD)));
    if (q->name.len == 0)
        return;
    dns_put_name(w, &q->name, false);
    remember(w, DNS_HEADER_BYTES);
    dns_put_u16(w, q->type);
    dns_put_u16(w, q->class);
    w->counts[DNS_QUESTION] = 1;
}

void dns_record_begin(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
                      uint16_t type, uint32_t ttl)
{
    w->full = false;
    w->record = w->len;
    w->section = s;
    dns_put_name(w, owner, true);
    remember(w, w->record);
    dns_put_u16(w, type);
    dns_put_u16(w, DNS_CLASS_IN);
    dns_put_u32(w, ttl);
    dns_put_u16(w, 0);
    w->record_data = w->len;
}

bool dns_record_end(struct dns_writer *w)
{
    if (w->full) {
        w->full = false;
        w->len = w->record;
        while (w->offset_count > 0 && w->offsets[w->offset_count - 1] >= w->record)
            w->offset_count--;
        w->truncated = w->truncated || w->section == DNS_ANSWER;
        return false;
    }
    set_u16(w->data + w->record_data - 2, (uint16_t)(w->len - w->record_data));
    w->counts[w->section]++;
    return true;
}

/* How many bytes stand before the names of a type's data, and how many names:
 * RFC 3597 4 lets only these be compressed. */
static bool data_names(uint16_t type, size_t *ret_before, size_t *ret_names)
{
    *ret_before = type == DNS_MX ? 2 : type == DNS_SRV ? 6 : 0;
    *ret_names = type == DNS_SOA ? 2 : 1;
    return type == DNS_NS || type == DNS_CNAME || type == DNS_SOA || type == DNS_PTR ||
           type == DNS_MX || type == DNS_SRV || type == 39 /* DNAME */;
}

bool dns_record_copy(struct dns_writer *w, const struct dns_reader *r, const struct dns_record *rec,
                     uint32_t ttl)
{
    size_t pos = rec->data, end = rec->data + rec->data_len, before, names;
    struct dns_name n[2];
    bool has_names = data_names(rec->type, &before, &names);
    if (has_names) {
        if (before > rec->data_len)
            return false;
        pos += before;
        /* Names may point back over the whole message, but end here. */
        for (size_t i = 0; i < names; i++)
            if (!read_name(r->msg, end, &pos, &n[i]))
                return false;
    }
    dns_record_begin(w, rec->section, &rec->owner, rec->type, ttl);
    if (has_names) {
        dns_put(w, r->msg + rec->data, before);
        for (size_t i = 0; i < names; i++)
            dns_put_name(w, &n[i], false);
    }
    dns_put(w, r->msg + pos, end - pos);
    dns_record_end(w);
    return true;
}

static void put_edns(struct dns_writer *w, const struct dns_query *q, int rcode)
{
    uint8_t opt[OPT_BYTES] = {0, 0, DNS_OPT};
    set_u16(opt + 3, DNS_UDP_BYTES_MAX);
    opt[5] = (uint8_t)(rcode >> 4);
    opt[7] = q->dnssec_ok ? DNSSEC_OK >> 8 : 0;
    memcpy(w->data + w->len, opt, sizeof(opt));
    w->len += sizeof(opt);
    w->counts[DNS_ADDITIONAL]++;
}

void dns_writer_end(struct dns_writer *w, const struct dns_query *q, int rcode)
{
    if (q->edns)
        put_edns(w, q, rcode);
    set_u16(w->data, q->id);
    set_u16(w->data + 2, (uint16_t)(w->flags | (w->truncated ? DNS_TC : 0) | (rcode & 15)));
    for (size_t i = 0; i < ARRAY_SIZE(w->counts); i++)
        set_u16(w->data + 4 + 2 * i, w->counts[i]);
}

size_t dns_query_write(uint8_t *data, size_t cap, uint16_t id, const struct dns_query *q)
{
    struct dns_query own = *q;
    struct dns_writer w;
    own.id = id;
    own.edns = true;
    dns_writer_init(&w, &own, data, cap);
    w.flags = (uint16_t)(DNS_RD | (q->flags & (DNS_CD | DNS_AD)));
    dns_writer_end(&w, &own, 0);
    return w.len;
}
