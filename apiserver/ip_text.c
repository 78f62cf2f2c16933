/* ip_text.c - see ip_text.h. Pure. */
#include "apiserver/ip_text.h"

#include "apiserver/kind.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <ctype.h>

static const uint8_t mapped_head[12] = {[10] = 0xff, [11] = 0xff};

/* Copies a dotted address without the leading zeros of its numbers; false: too long. */
static bool drop_zeros(struct str s, char *out, size_t size, bool *ret_zeros)
{
    size_t n = 0;
    bool first = true;
    for (size_t i = 0; i < s.len; i++) {
        bool more = i + 1 < s.len && isdigit((unsigned char)s.data[i + 1]);
        if (first && s.data[i] == '0' && more) {
            *ret_zeros = true;
            continue;
        }
        if (n + 1 >= size)
            return false;
        out[n++] = s.data[i];
        first = s.data[i] == '.';
    }
    out[n] = '\0';
    return true;
}

bool ip_text_parse(struct str s, struct ip_text *ret)
{
    char text[INET6_ADDRSTRLEN + 1];
    *ret = (struct ip_text){0};
    size_t head = s.len; /* Where a dotted part begins. */
    while (head > 0 && s.data[head - 1] != ':')
        head--;
    bool dotted = str_find(s, '.', 0) >= 0;
    if (!dotted)
        head = s.len;
    if (s.len == 0 || head >= INET6_ADDRSTRLEN)
        return false;
    memcpy(text, s.data, head);
    if (!drop_zeros(str_sub(s, head, s.len), text + head, sizeof(text) - head, &ret->zeros))
        return false;
    if (head == 0) {
        ret->v4 = true;
        return inet_pton(AF_INET, text, ret->addr) == 1;
    }
    if (inet_pton(AF_INET6, text, ret->addr) != 1)
        return false;
    if (memcmp(ret->addr, mapped_head, sizeof(mapped_head)) == 0) {
        memmove(ret->addr, ret->addr + 12, 4);
        memset(ret->addr + 4, 0, 12);
        ret->v4 = ret->mapped = true;
    }
    return true;
}

bool ip_text_parse_cidr(struct str s, struct ip_text *ret)
{
    struct str ip, bits;
    uint64_t n = 0;
    if (!str_cut(s, '/', &ip, &bits) || !ip_text_parse(ip, ret) || !str_to_u64(bits, &n))
        return false;
    unsigned max = ret->v4 && !ret->mapped ? 32 : 128;
    if (n > max || (ret->mapped && n < 96))
        return false;
    ret->zeros = ret->zeros || (bits.len > 1 && bits.data[0] == '0');
    ret->prefix = (unsigned)n - (ret->mapped ? 96 : 0);
    return true;
}

static void write_v6(const uint8_t addr[16], struct buf *b)
{
    unsigned words[8], best = 8, best_len = 1;
    for (unsigned i = 0; i < 8; i++)
        words[i] = (unsigned)(addr[2 * i] << 8 | addr[2 * i + 1]);
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && words[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            buf_puts(b, "::");
            i += best_len - 1;
            continue;
        }
        buf_printf(b, "%s%x", i == 0 || (best < 8 && i == best + best_len) ? "" : ":", words[i]);
    }
}

struct str ip_text_write(struct arena *a, const struct ip_text *ip)
{
    AUTO_BUF b = BUF_INIT;
    if (ip->v4)
        return arena_printf(a, "%u.%u.%u.%u", ip->addr[0], ip->addr[1], ip->addr[2], ip->addr[3]);
    write_v6(ip->addr, &b);
    return arena_str(a, buf_str(&b));
}

static struct ip_text network_of(const struct ip_text *ip)
{
    struct ip_text net = *ip;
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = ip->prefix <= 8 * i ? 0 : MIN_OF(ip->prefix - 8 * i, 8u);
        net.addr[i] = (uint8_t)(net.addr[i] & (0xff00u >> keep));
    }
    return net;
}

struct str ip_text_write_cidr(struct arena *a, const struct ip_text *ip)
{
    struct ip_text net = network_of(ip);
    return arena_printf(a, STR_FMT "/%u", STR_ARG(ip_text_write(a, &net)), ip->prefix);
}

/* --- rules ------------------------------------------------------------------------- */

/* Is the text an address that every program reads alike? */
static bool check_ip(struct field_errors *errs, const struct field_path *path, struct str value,
                     struct ip_text *ip)
{
    bool good = ip_text_parse(value, ip);
    if (!good) {
        field_invalid(errs, path, value,
                      "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return false;
    }
    if (ip->zeros)
        field_invalid(errs, path, value, "must not have leading 0s");
    else if (ip->mapped)
        field_invalid(errs, path, value, "must not be an IPv4-mapped IPv6 address");
    return !ip->zeros && !ip->mapped;
}

static bool check_cidr(struct field_errors *errs, const struct field_path *path, struct str value,
                       struct ip_text *ip)
{
    const char *why = NULL;
    if (!ip_text_parse_cidr(value, ip)) {
        why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    } else if (ip->zeros) {
        why = "must not have leading 0s in IP or prefix length";
    } else if (ip->mapped) {
        why = "must not have an IPv4-mapped IPv6 address";
    } else {
        struct ip_text net = network_of(ip);
        if (memcmp(net.addr, ip->addr, sizeof(net.addr)) != 0)
            why = "must not have bits set beyond the prefix length";
    }
    if (why != NULL)
        field_invalid(errs, path, value, "%s", why);
    return why == NULL;
}

void validate_ip(struct field_errors *errs, const struct field_path *path, struct str value)
{
    struct ip_text ip;
    check_ip(errs, path, value, &ip);
}

void validate_cidr(struct field_errors *errs, const struct field_path *path, struct str value)
{
    struct ip_text ip;
    check_cidr(errs, path, value, &ip);
}

static void want_form(struct field_errors *errs, const struct field_path *path, struct str value,
                      struct str form)
{
    if (!str_eq(value, form))
        field_invalid(errs, path, value, "must be in canonical form (\"" STR_FMT "\")",
                      STR_ARG(form));
}

void validate_ip_canonical(struct field_errors *errs, const struct field_path *path,
                           struct str value)
{
    struct ip_text ip;
    if (check_ip(errs, path, value, &ip))
        want_form(errs, path, value, ip_text_write(errs->arena, &ip));
}

void validate_cidr_canonical(struct field_errors *errs, const struct field_path *path,
                             struct str value)
{
    struct ip_text ip;
    if (check_cidr(errs, path, value, &ip))
        want_form(errs, path, value, ip_text_write_cidr(errs->arena, &ip));
}

void warn_ip(const struct kind_ctx *ctx, const struct field_path *path, struct str value)
{
    struct ip_text ip;
    if (!ip_text_parse(value, &ip))
        return;
    struct str form = ip_text_write(ctx->arena, &ip);
    if (ip.zeros || ip.mapped)
        kind_warn_field(ctx, path,
                        "non-standard IP address \"" STR_FMT "\" is invalid: use \"" STR_FMT "\"",
                        STR_ARG(value), STR_ARG(form));
    else if (!ip.v4 && !str_eq(form, value))
        kind_warn_field(ctx, path,
                        "IPv6 address \"" STR_FMT
                        "\" should be in RFC 5952 canonical format (\"" STR_FMT "\")",
                        STR_ARG(value), STR_ARG(form));
}

void warn_cidr(const struct kind_ctx *ctx, const struct field_path *path, struct str value)
{
    struct ip_text ip;
    if (!ip_text_parse_cidr(value, &ip))
        return;
    struct ip_text net = network_of(&ip);
    struct str form = ip_text_write_cidr(ctx->arena, &ip);
    bool ambiguous = memcmp(net.addr, ip.addr, sizeof(net.addr)) != 0;
    if (ambiguous)
        kind_warn_field(ctx, path,
                        "CIDR value \"" STR_FMT "\" is ambiguous in this context (should be "
                        "\"" STR_FMT "\" or \"" STR_FMT "/%d\"?)",
                        STR_ARG(value), STR_ARG(form), STR_ARG(ip_text_write(ctx->arena, &ip)),
                        ip.v4 ? 32 : 128);
    if (ip.zeros || ip.mapped)
        kind_warn_field(ctx, path,
                        "non-standard CIDR value \"" STR_FMT "\" is invalid: use \"" STR_FMT "\"",
                        STR_ARG(value), STR_ARG(form));
    else if (!ambiguous && !ip.v4 && !str_eq(form, value))
        kind_warn_field(ctx, path,
                        "IPv6 CIDR value \"" STR_FMT
                        "\" should be in RFC 5952 canonical format (\"" STR_FMT "\")",
                        STR_ARG(value), STR_ARG(form));
}
