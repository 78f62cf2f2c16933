/* batch.c - many commands in one log entry. */
#include "raftstore/batch.h"

void batch_begin(struct batch_writer *w, struct buf *out)
{
    *w = (struct batch_writer){.out = out};
}

static void open_run(struct batch_writer *w, const struct batch_command *c)
{
    buf_put_varint(w->out, c->origin);
    buf_put_varint(w->out, c->boot);
    buf_put_varint(w->out, c->seq);
    w->count_at = w->out->len;
    buf_put_le32(w->out, 0);
    w->count = 0;
    w->origin = c->origin;
    w->boot = c->boot;
}

void batch_add(struct batch_writer *w, const struct batch_command *c)
{
    if (w->count == 0 || c->origin != w->origin || c->boot != w->boot || c->seq != w->next_seq)
        open_run(w, c);
    wire_put_str(w->out, c->bytes);
    w->next_seq = c->seq + 1;
    w->count++;
    for (unsigned i = 0; i < 4; i++)
        w->out->data[w->count_at + i] = (uint8_t)(w->count >> (8 * i));
}

void batch_open(struct batch_reader *r, struct str bytes)
{
    *r = (struct batch_reader){.w = wire_of(bytes)};
}

static void read_run(struct batch_reader *r)
{
    r->origin = wire_varint(&r->w);
    r->boot = wire_varint(&r->w);
    r->seq = wire_varint(&r->w);
    r->left = wire_u32(&r->w);
    if (r->origin == 0 || r->boot == 0 || r->seq == 0 || r->left == 0 ||
        r->seq > UINT64_MAX - r->left)
        r->w.bad = true;
}

bool batch_next(struct batch_reader *r, struct batch_command *ret)
{
    if (r->left == 0) {
        if (r->w.bad || r->w.left == 0)
            return false;
        read_run(r);
    }
    struct str bytes = wire_str(&r->w, SIZE_MAX);
    if (r->w.bad)
        return false;
    *ret = (struct batch_command){r->origin, r->boot, r->seq, bytes};
    r->seq++;
    r->left--;
    return true;
}

bool batch_valid(struct str bytes, uint64_t origin, uint32_t *ret_count)
{
    struct batch_reader r;
    struct batch_command c;
    uint32_t n = 0;
    batch_open(&r, bytes);
    while (batch_next(&r, &c)) {
        if (origin != 0 && c.origin != origin)
            return false;
        n++;
    }
    *ret_count = n;
    return !batch_failed(&r);
}
