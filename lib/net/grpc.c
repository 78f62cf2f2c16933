/* grpc.c - gRPC's framing, statuses and texts. Pure. The wire format is
 * PROTOCOL-HTTP2.md of the grpc project. */
#include "lib/net/grpc_internal.h"

#include "lib/base/arena.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct grpc_status_info {
    const char *text;
    int code;
} STATUS_INFO[] = {
    [GRPC_OK] = {"OK", 0},
    [GRPC_CANCELLED] = {"Canceled", E_CANCELED},
    [GRPC_UNKNOWN] = {"Unknown", E_INTERNAL},
    [GRPC_INVALID_ARGUMENT] = {"InvalidArgument", E_INVALID},
    [GRPC_DEADLINE_EXCEEDED] = {"DeadlineExceeded", E_TIMEOUT},
    [GRPC_NOT_FOUND] = {"NotFound", E_NOT_FOUND},
    [GRPC_ALREADY_EXISTS] = {"AlreadyExists", E_EXISTS},
    [GRPC_PERMISSION_DENIED] = {"PermissionDenied", E_FORBIDDEN},
    [GRPC_RESOURCE_EXHAUSTED] = {"ResourceExhausted", E_TOO_MANY},
    [GRPC_FAILED_PRECONDITION] = {"FailedPrecondition", E_CONFLICT},
    [GRPC_ABORTED] = {"Aborted", E_CONFLICT},
    [GRPC_OUT_OF_RANGE] = {"OutOfRange", E_INVALID},
    [GRPC_UNIMPLEMENTED] = {"Unimplemented", E_NOT_IMPLEMENTED},
    [GRPC_INTERNAL] = {"Internal", E_INTERNAL},
    [GRPC_UNAVAILABLE] = {"Unavailable", E_UNAVAILABLE},
    [GRPC_DATA_LOSS] = {"DataLoss", E_CORRUPT},
    [GRPC_UNAUTHENTICATED] = {"Unauthenticated", E_UNAUTHORIZED},
};

const char *grpc_status_text(enum grpc_status s)
{
    return (size_t)s < ARRAY_SIZE(STATUS_INFO) ? STATUS_INFO[s].text : "Unknown";
}

int grpc_status_to_error(enum grpc_status s)
{
    return (size_t)s < ARRAY_SIZE(STATUS_INFO) ? STATUS_INFO[s].code : E_INTERNAL;
}

enum grpc_status grpc_status_from_error(int code)
{
    switch (code) {
    case 0:
        return GRPC_OK;
    case E_TOO_LARGE:
    case E_NO_MEMORY:
    case E_NO_SPACE:
        return GRPC_RESOURCE_EXHAUSTED;
    case E_CONFLICT:
        return GRPC_FAILED_PRECONDITION;
    case E_EXPIRED:
    case E_FUTURE_REV:
        return GRPC_OUT_OF_RANGE;
    case E_CLOSED:
    case E_AGAIN:
    case E_NOT_LEADER:
    case E_UNKNOWN_OUTCOME:
        return GRPC_UNAVAILABLE;
    case E_INTERNAL:
        return GRPC_INTERNAL;
    default:
        break;
    }
    for (size_t i = 0; i < ARRAY_SIZE(STATUS_INFO); i++)
        if (STATUS_INFO[i].code == code)
            return (enum grpc_status)i;
    return GRPC_UNKNOWN;
}

/* --- framing --- */

void grpc_prefix(uint8_t prefix[GRPC_PREFIX_BYTES], size_t len)
{
    ASSERT(len <= UINT32_MAX);
    prefix[0] = 0;
    prefix[1] = (uint8_t)(len >> 24);
    prefix[2] = (uint8_t)(len >> 16);
    prefix[3] = (uint8_t)(len >> 8);
    prefix[4] = (uint8_t)len;
}

void grpc_reader_init(struct grpc_reader *r, size_t message_max)
{
    r->partial = BUF_INIT;
    r->message_max = message_max;
    r->announced = 0;
}

void grpc_reader_done(struct grpc_reader *r)
{
    buf_done(&r->partial);
}

bool grpc_reader_is_empty(const struct grpc_reader *r)
{
    return r->partial.len == 0;
}

static size_t grpc_prefix_length(const uint8_t *p)
{
    return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

/* Moves bytes from *data until the partial message has `want` of them. */
static bool grpc_reader_fill(struct grpc_reader *r, struct str *data, size_t want)
{
    size_t n = r->partial.len < want ? MIN_OF(want - r->partial.len, data->len) : 0;
    buf_append(&r->partial, data->data, n);
    *data = str_sub(*data, n, data->len);
    return r->partial.len >= want;
}

static enum grpc_read_result grpc_prefix_judge(struct grpc_reader *r, const uint8_t *p)
{
    if (p[0] != 0)
        return GRPC_READ_MALFORMED;
    r->announced = grpc_prefix_length(p);
    return r->announced > r->message_max ? GRPC_READ_TOO_LARGE : GRPC_READ_MESSAGE;
}

enum grpc_read_result grpc_reader_next(struct grpc_reader *r, struct str *data,
                                       struct str *ret_message)
{
    /* The message returned last time. */
    if (r->partial.len >= GRPC_PREFIX_BYTES &&
        r->partial.len == GRPC_PREFIX_BYTES + grpc_prefix_length(r->partial.data))
        buf_done(&r->partial);
    if (r->partial.len == 0 && data->len >= GRPC_PREFIX_BYTES) {
        /* Whole in one piece: no copy. */
        const uint8_t *p = (const uint8_t *)data->data;
        enum grpc_read_result result = grpc_prefix_judge(r, p);
        size_t len = grpc_prefix_length(p);
        if (result != GRPC_READ_MESSAGE)
            return result;
        if (data->len - GRPC_PREFIX_BYTES >= len) {
            *ret_message = str_sub(*data, GRPC_PREFIX_BYTES, len);
            *data = str_sub(*data, GRPC_PREFIX_BYTES + len, data->len);
            return GRPC_READ_MESSAGE;
        }
    }
    if (!grpc_reader_fill(r, data, GRPC_PREFIX_BYTES))
        return GRPC_READ_MORE;
    enum grpc_read_result result = grpc_prefix_judge(r, r->partial.data);
    if (result != GRPC_READ_MESSAGE)
        return result;
    size_t len = grpc_prefix_length(r->partial.data);
    if (!grpc_reader_fill(r, data, GRPC_PREFIX_BYTES + len))
        return GRPC_READ_MORE;
    *ret_message = str_sub(buf_str(&r->partial), GRPC_PREFIX_BYTES, len);
    return GRPC_READ_MESSAGE;
}

/* --- texts --- */

void grpc_message_encode(struct buf *b, const char *message)
{
    static const char HEX[] = "0123456789ABCDEF";
    for (const char *p = message; *p != '\0'; p++) {
        if (*p >= ' ' && *p <= '~' && *p != '%') {
            buf_putc(b, *p);
            continue;
        }
        buf_putc(b, '%');
        buf_putc(b, HEX[(uint8_t)*p >> 4]);
        buf_putc(b, HEX[(uint8_t)*p & 15]);
    }
}

static int grpc_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The protocol wants malformed escapes left as they are. */
struct str grpc_message_decode(struct arena *a, struct str message)
{
    char *out = arena_alloc(a, message.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < message.len; i++) {
        int high = i + 2 < message.len ? grpc_hex(message.data[i + 1]) : -1;
        int low = i + 2 < message.len ? grpc_hex(message.data[i + 2]) : -1;
        if (message.data[i] == '%' && high >= 0 && low >= 0) {
            out[len++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[len++] = message.data[i];
        }
    }
    out[len] = '\0';
    return str_n(out, len);
}

void grpc_timeout_print(uint64_t timeout_ms, char ret[16])
{
    if (timeout_ms < 100000000)
        snprintf(ret, 16, "%" PRIu64 "m", timeout_ms);
    else
        snprintf(ret, 16, "%" PRIu64 "S", MIN_OF(timeout_ms / 1000, (uint64_t)99999999));
}

uint64_t grpc_timeout_parse(struct str s)
{
    uint64_t v;
    if (s.len < 2 || s.len > 9 || !str_to_u64(str_sub(s, 0, s.len - 1), &v))
        return 0;
    switch (s.data[s.len - 1]) {
    case 'H':
        return v * 3600 * 1000;
    case 'M':
        return v * 60 * 1000;
    case 'S':
        return v * 1000;
    case 'm':
        return v;
    case 'u':
        return v / 1000 + 1;
    case 'n':
        return v / 1000000 + 1;
    default:
        return 0;
    }
}
