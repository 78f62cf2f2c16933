/* command.c - the encoding of commands. Decoding is bounded by the input: a
 * count or length beyond it is refused before anything is allocated. */
#include "raftstore/command.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/wire.h"

/* The lowest format with the type. */
static uint8_t format_of(enum command_type type)
{
    return type > COMMAND_ALARM ? 2 : 1;
}

void command_encode_txn(const struct txn *t, struct buf *out)
{
    bool extended = txn_is_extended(t);
    buf_putc(out, extended ? 2 : 1);
    buf_putc(out, COMMAND_TXN);
    if (extended)
        buf_put_varint(out, t->auth_rev);
    txn_encode(t, out);
}

void command_encode(const struct command *c, struct buf *out)
{
    if (c->type == COMMAND_TXN) {
        command_encode_txn(&c->txn, out);
        return;
    }
    buf_putc(out, (char)format_of(c->type));
    buf_putc(out, (char)c->type);
    switch (c->type) {
    case COMMAND_TXN:
        break;
    case COMMAND_COMPACT:
        wire_put_signed(out, c->rev);
        break;
    case COMMAND_LEASE_GRANT:
        wire_put_signed(out, c->id);
        wire_put_signed(out, c->ttl_s);
        break;
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
        wire_put_signed(out, c->id);
        break;
    case COMMAND_LEASE_EXPIRE:
        wire_put_signed(out, c->id);
        buf_put_varint(out, c->renewals);
        break;
    case COMMAND_CONFIG:
    case COMMAND_AUTH:
        buf_append_str(out, c->config);
        break;
    case COMMAND_VERIFY:
        wire_put_signed(out, c->rev);
        buf_put_varint(out, c->hash);
        break;
    case COMMAND_ALARM_CHANGE:
        buf_put_varint(out, c->member);
        buf_put_varint(out, c->alarms);
        buf_putc(out, c->set);
        break;
    case COMMAND_ALARM:
        buf_put_varint(out, c->member);
        buf_put_varint(out, c->alarms);
        break;
    }
}

/* False: a type that this version does not know. */
static bool decode_fields(struct wire *r, uint8_t format, struct command *c)
{
    if (format < format_of(c->type))
        return false;
    switch (c->type) {
    case COMMAND_TXN:
        if (format >= 2)
            c->txn.auth_rev = wire_varint(r);
        return true; /* The rest is decoded by the caller. */
    case COMMAND_COMPACT:
        c->rev = wire_signed(r);
        return true;
    case COMMAND_LEASE_GRANT:
        c->id = wire_signed(r);
        c->ttl_s = wire_signed(r);
        return true;
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
        c->id = wire_signed(r);
        return true;
    case COMMAND_LEASE_EXPIRE:
        c->id = wire_signed(r);
        c->renewals = wire_varint(r);
        return true;
    case COMMAND_CONFIG:
    case COMMAND_AUTH:
        c->config = wire_rest(r, COMMAND_CONFIG_MAX);
        return true;
    case COMMAND_ALARM:
        c->member = wire_varint(r);
        c->alarms = wire_count(r, UINT32_MAX);
        return true;
    case COMMAND_VERIFY:
        c->rev = wire_signed(r);
        c->hash = wire_varint(r);
        return true;
    case COMMAND_ALARM_CHANGE: {
        c->member = wire_varint(r);
        c->alarms = wire_count(r, UINT32_MAX);
        uint8_t set = wire_u8(r);
        c->set = set != 0;
        if (set > 1)
            wire_fail(r);
        return true;
    }
    }
    return false;
}

int command_decode(struct arena *a, struct str bytes, struct command *ret, struct error *err)
{
    if (bytes.len > COMMAND_BYTES_MAX)
        return error_set(err, E_INVALID, "command of %zu bytes: at most %u are allowed", bytes.len,
                         COMMAND_BYTES_MAX);
    struct wire r = wire_of(bytes);
    uint8_t format = wire_u8(&r), type = wire_u8(&r);
    if (r.bad)
        return error_set(err, E_INVALID, "command of %zu bytes is cut short", bytes.len);
    if (format < 1 || format > COMMAND_FORMAT)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "command of format %u: this member knows formats 1 to %u", format,
                         COMMAND_FORMAT);
    struct command c = {.type = (enum command_type)type};
    if (!decode_fields(&r, format, &c))
        return error_set(err, E_NOT_IMPLEMENTED, "command of type %u is unknown to this member",
                         type);
    if (c.type == COMMAND_TXN) {
        uint64_t auth_rev = c.txn.auth_rev;
        int rc = txn_decode(a, str_n((const char *)r.p, wire_left(&r)), &c.txn, err);
        if (rc != 0)
            return rc;
        c.txn.auth_rev = auth_rev;
    } else if (!wire_end(&r)) {
        return error_set(err, E_INVALID, "command of type %u does not decode", type);
    }
    *ret = c;
    return 0;
}
