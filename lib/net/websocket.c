/* websocket.c - see websocket.h. */
#include "lib/net/websocket.h"

#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <openssl/evp.h>

#define FIN 0x80u
#define RESERVED 0x70u
#define OPCODE 0x0fu
#define MASKED 0x80u
#define LENGTH_MAX (UINT64_C(1) << 62) /* The top bit must be clear; far less will ever come. */
#define PIECE_BYTES 4096

/* --- heads --------------------------------------------------------------------------- */

/* Bytes of this head, as far as its second byte tells; 2 before that. */
static size_t head_size(const struct ws_parser *p)
{
    if (p->head_len < 2)
        return 2;
    unsigned len = p->head[1] & 0x7fu;
    return 2 + (len == 126 ? 2u : len == 127 ? 8u : 0u) + 4u;
}

static uint64_t payload_len(const struct ws_parser *p)
{
    uint64_t len = p->head[1] & 0x7fu;
    if (len < 126)
        return len;
    size_t n = len == 126 ? 2 : 8;
    len = 0;
    for (size_t i = 0; i < n; i++)
        len = len << 8 | p->head[2 + i];
    return len;
}

static const uint8_t *mask_of(const struct ws_parser *p)
{
    return p->head + head_size(p) - 4;
}

static bool is_control(const struct ws_parser *p)
{
    return (p->head[0] & OPCODE) >= WS_CLOSE;
}

static int check_head(const struct ws_parser *p, struct error *err)
{
    unsigned opcode = p->head[0] & OPCODE;
    if ((p->head[0] & RESERVED) != 0)
        return error_set(err, E_INVALID, "websocket: reserved bits are set");
    if ((p->head[1] & MASKED) == 0)
        return error_set(err, E_INVALID, "websocket: a client's frame is not masked");
    if (opcode > WS_PONG || (opcode > WS_BINARY && opcode < WS_CLOSE))
        return error_set(err, E_INVALID, "websocket: unknown opcode %u", opcode);
    if (is_control(p)) {
        if ((p->head[0] & FIN) == 0 || p->left > WS_CONTROL_MAX)
            return error_set(err, E_INVALID, "websocket: a control frame is split or too long");
        return 0;
    }
    if ((opcode == WS_CONTINUE) != p->in_message)
        return error_set(err, E_INVALID, "websocket: a message begins within another, or nowhere");
    if (p->left > LENGTH_MAX)
        return error_set(err, E_INVALID, "websocket: malformed length");
    return 0;
}

static int begin_frame(struct ws_parser *p, struct error *err)
{
    p->left = payload_len(p);
    int rc = check_head(p, err);
    if (rc != 0)
        return rc;
    p->in_payload = true;
    p->mask_at = 0;
    p->control_len = 0;
    if (!is_control(p)) {
        if ((p->head[0] & OPCODE) != WS_CONTINUE)
            p->begun = false;
        p->in_message = (p->head[0] & FIN) == 0;
    }
    return 0;
}

/* --- payloads ------------------------------------------------------------------------- */

static int end_control(struct ws_parser *p, const struct ws_events *events, void *arg,
                       struct error *err)
{
    unsigned opcode = p->head[0] & OPCODE;
    if (opcode == WS_PING)
        events->on_ping(arg, p->control, p->control_len);
    if (opcode != WS_CLOSE)
        return 0;
    if (p->control_len == 1)
        return error_set(err, E_INVALID, "websocket: malformed close frame");
    p->closed = true;
    events->on_close(arg, p->control_len >= 2 ? p->control[0] << 8 | p->control[1] : 0);
    return 0;
}

static void unmask(struct ws_parser *p, const uint8_t *from, size_t n, uint8_t *to)
{
    const uint8_t *mask = mask_of(p);
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] ^ mask[(p->mask_at + i) & 3];
    p->mask_at = (uint8_t)((p->mask_at + n) & 3);
    p->left -= n;
}

/* Takes what there is of the payload; returns the bytes used. */
static size_t take_payload(struct ws_parser *p, const uint8_t *data, size_t len,
                           const struct ws_events *events, void *arg)
{
    uint8_t piece[PIECE_BYTES];
    size_t n = (size_t)MIN_OF((uint64_t)MIN_OF(len, sizeof(piece)), p->left);
    if (is_control(p)) {
        unmask(p, data, n, p->control + p->control_len);
        p->control_len = (uint8_t)(p->control_len + n);
        return n;
    }
    unmask(p, data, n, piece);
    bool last = p->left == 0 && !p->in_message;
    if (n > 0 || last) {
        bool first = !p->begun;
        p->begun = true;
        events->on_data(arg, piece, n, first, last);
    }
    return n;
}

int ws_parser_feed(struct ws_parser *p, const uint8_t *data, size_t len,
                   const struct ws_events *events, void *arg, struct error *err)
{
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && !p->closed) {
        if (!p->in_payload) {
            if (at == len)
                return 0;
            p->head[p->head_len++] = data[at++];
            if (p->head_len < 2 || p->head_len < head_size(p))
                continue;
            rc = begin_frame(p, err);
            if (rc != 0)
                return rc;
        }
        /* An empty payload is complete without another byte. */
        if (p->left > 0 && at == len)
            return 0;
        at += take_payload(p, data + at, len - at, events, arg);
        if (p->left > 0)
            continue;
        p->in_payload = false;
        p->head_len = 0;
        if (is_control(p))
            rc = end_control(p, events, arg, err);
    }
    return rc;
}

/* --- writing --------------------------------------------------------------------------- */

size_t ws_head(enum ws_opcode opcode, uint64_t len, uint8_t ret[WS_HEADER_MAX])
{
    ret[0] = (uint8_t)(FIN | opcode);
    if (len < 126) {
        ret[1] = (uint8_t)len;
        return 2;
    }
    size_t n = len <= UINT16_MAX ? 2 : 8;
    ret[1] = n == 2 ? 126 : 127;
    for (size_t i = 0; i < n; i++)
        ret[2 + i] = (uint8_t)(len >> (8 * (n - 1 - i)));
    return 2 + n;
}

void ws_accept(struct str key, char ret[WS_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3. */
    AUTO_BUF b = BUF_INIT;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    buf_append_str(&b, key);
    buf_puts(&b, guid);
    int ok = EVP_Digest(b.data, b.len, digest, &n, EVP_sha1(), NULL);
    ASSERT(ok == 1 && n == 20);
    base64_encode_to(BASE64_STD, digest, n, ret);
    ret[WS_ACCEPT_LEN] = '\0';
}
