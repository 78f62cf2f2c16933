/* addresses.c - see addresses.h. */
#include "kubelet/proxy/addresses.h"

#include "kubelet/proxy/endpoints.h"

#include "lib/base/flags.h"
#include "lib/base/log.h"

#include <netinet/in.h>
#include <uv.h>

static bool parse_cidr(const char *text, enum proxy_family *ret_family, uint8_t ret[16],
                       uint64_t *ret_bits)
{
    struct str address, bits;
    if (!str_cut(str_of(text), '/', &address, &bits) || !str_to_u64(bits, ret_bits))
        return false;
    for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++)
        if (proxy_parse_address(address, f, ret)) {
            *ret_family = f;
            return *ret_bits <= (f == PROXY_V6 ? 128u : 32u);
        }
    return false;
}

int proxy_addresses_check(const struct flag_list *ranges, struct error *err)
{
    enum proxy_family f;
    uint8_t address[16];
    uint64_t bits;
    for (size_t i = 0; i < ranges->count; i++)
        if (strcmp(ranges->items[i], "primary") != 0 &&
            !parse_cidr(ranges->items[i], &f, address, &bits))
            return error_set(err, E_INVALID,
                             "--nodeport-addresses: \"%s\" must be \"primary\" or a range like "
                             "192.168.0.0/16",
                             ranges->items[i]);
    return 0;
}

static bool lies_in(const uint8_t *address, const uint8_t *range, uint64_t bits)
{
    for (size_t i = 0; i < 16 && bits > 8 * i; i++) {
        uint64_t left = bits - 8 * i;
        uint8_t mask = (uint8_t)(left >= 8 ? 0xffu : 0xff00u >> left);
        if (((address[i] ^ range[i]) & mask) != 0)
            return false;
    }
    return true;
}

static void add(struct proxy_addresses *l, enum proxy_family f, const uint8_t address[16])
{
    size_t at = 0, n = l->counts[f];
    while (at < n && memcmp(l->items[f][at], address, 16) < 0)
        at++;
    if (at < n && memcmp(l->items[f][at], address, 16) == 0)
        return;
    if (n == PROXY_ADDRESSES_MAX) {
        log_warning("node ports are served on %d addresses of a family at most",
                    PROXY_ADDRESSES_MAX);
        return;
    }
    memmove(l->items[f][at + 1], l->items[f][at], (n - at) * 16);
    memcpy(l->items[f][at], address, 16);
    l->counts[f]++;
    if (f == PROXY_V4 && address[0] == 127)
        l->loopback = true;
}

static void add_primary(struct proxy_addresses *l, const char *const *ips, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++) {
            uint8_t address[16] = {0};
            if (proxy_parse_address(str_of(ips[i]), f, address))
                add(l, f, address);
        }
}

static void add_matching(struct proxy_addresses *l, const char *cidr)
{
    uv_interface_address_t *list;
    int count;
    enum proxy_family f;
    uint8_t range[16] = {0};
    uint64_t bits;
    if (!parse_cidr(cidr, &f, range, &bits) || uv_interface_addresses(&list, &count) != 0)
        return;
    for (int i = 0; i < count; i++) {
        const struct sockaddr_in *v4 = &list[i].address.address4;
        const struct sockaddr_in6 *v6 = &list[i].address.address6;
        uint8_t address[16] = {0};
        if (v4->sin_family == AF_INET)
            memcpy(address, &v4->sin_addr, 4);
        else if (v4->sin_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) &&
                 !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr))
            memcpy(address, &v6->sin6_addr, 16);
        else
            continue;
        if ((v4->sin_family == AF_INET6) == (f == PROXY_V6) && lies_in(address, range, bits))
            add(l, f, address);
    }
    uv_free_interface_addresses(list, count);
}

void proxy_addresses_read(const struct flag_list *ranges, const char *const *host_ips,
                          size_t host_ip_count, struct proxy_addresses *ret)
{
    *ret = (struct proxy_addresses){0};
    if (ranges->count == 0)
        add_primary(ret, host_ips, host_ip_count);
    for (size_t i = 0; i < ranges->count; i++) {
        if (strcmp(ranges->items[i], "primary") == 0)
            add_primary(ret, host_ips, host_ip_count);
        else
            add_matching(ret, ranges->items[i]);
    }
}
