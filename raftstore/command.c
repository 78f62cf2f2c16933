/* command.c - the encoding of commands. Decoding is bounded by the input: a
 * count or length beyond it is refused before anything is allocated. */
#include "raftstore/command.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/reader.h"

static void put_head(struct buf *out, enum command_type type)
{
    buf_putc(out, COMMAND_VERSION);
    buf_putc(out, (char)type);
}

void command_encode_txn(const struct txn *t, struct buf *out)
{
    put_head(out, COMMAND_TXN);
    txn_encode(t, out);
}

void command_encode(const struct command *c, struct buf *out)
{
    put_head(out, c->type);
    switch (c->type) {
    case COMMAND_TXN:
        txn_encode(&c->txn, out);
        break;
    case COMMAND_COMPACT:
        buf_put_varint(out, signed_code(c->rev));
        break;
    case COMMAND_LEASE_GRANT:
        buf_put_varint(out, signed_code(c->id));
        buf_put_varint(out, signed_code(c->ttl_s));
        break;
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
        buf_put_varint(out, signed_code(c->id));
        break;
    case COMMAND_LEASE_EXPIRE:
        buf_put_varint(out, signed_code(c->id));
        buf_put_varint(out, c->renewals);
        break;
    case COMMAND_CONFIG:
        buf_append_str(out, c->config);
        break;
    case COMMAND_ALARM:
        buf_put_varint(out, c->member);
        buf_put_varint(out, c->alarms);
        break;
    }
}

/* False: a type that this version does not know. */
static bool decode_fields(struct reader *r, struct command *c)
{
    switch (c->type) {
    case COMMAND_TXN:
        return true; /* Decoded by the caller. */
    case COMMAND_COMPACT:
        c->rev = reader_signed(r);
        return true;
    case COMMAND_LEASE_GRANT:
        c->id = reader_signed(r);
        c->ttl_s = reader_signed(r);
        return true;
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
        c->id = reader_signed(r);
        return true;
    case COMMAND_LEASE_EXPIRE:
        c->id = reader_signed(r);
        c->renewals = reader_varint(r);
        return true;
    case COMMAND_CONFIG:
        c->config = str_n((const char *)r->p, reader_left(r));
        if (c->config.len > COMMAND_CONFIG_MAX)
            r->bad = true;
        r->p = r->end;
        return true;
    case COMMAND_ALARM:
        c->member = reader_varint(r);
        c->alarms = reader_count(r, UINT32_MAX);
        return true;
    }
    return false;
}

int command_decode(struct arena *a, struct str bytes, struct command *ret, struct error *err)
{
    if (bytes.len > COMMAND_BYTES_MAX)
        return error_set(err, E_INVALID, "command of %zu bytes: at most %u are allowed", bytes.len,
                         COMMAND_BYTES_MAX);
    struct reader r = reader_of(bytes);
    uint8_t version = reader_u8(&r), type = reader_u8(&r);
    if (r.bad)
        return error_set(err, E_INVALID, "command of %zu bytes is cut short", bytes.len);
    if (version != COMMAND_VERSION)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "command of format %u: this member knows format %u", version,
                         COMMAND_VERSION);
    struct command c = {.type = (enum command_type)type};
    if (!decode_fields(&r, &c))
        return error_set(err, E_NOT_IMPLEMENTED, "command of type %u is unknown to this member",
                         type);
    if (c.type == COMMAND_TXN) {
        int rc = txn_decode(a, str_n((const char *)r.p, reader_left(&r)), &c.txn, err);
        if (rc != 0)
            return rc;
    } else if (!reader_complete(&r)) {
        return error_set(err, E_INVALID, "command of type %u does not decode", type);
    }
    *ret = c;
    return 0;
}
