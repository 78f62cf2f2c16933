/* pki_names.c - X.509 names, alternative names, usages and times, both ways. */
#include "lib/net/pki_internal.h"

#include "lib/base/arena.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <time.h>

/* One certificate cannot make us hold more names than this of one kind. */
#define PKI_NAMES_MAX 1000

struct name_list {
    struct str *items;
    size_t count, cap;
};

static void name_list_add(struct arena *a, struct name_list *l, const void *data, size_t len)
{
    if (l->count >= PKI_NAMES_MAX)
        return;
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = arena_str(a, str_n(data, len));
}

static void name_list_add_asn1(struct arena *a, struct name_list *l, const ASN1_STRING *s)
{
    unsigned char *text = NULL;
    int len = ASN1_STRING_to_UTF8(&text, s);
    if (len < 0)
        return;
    name_list_add(a, l, text, (size_t)len);
    OPENSSL_free(text);
}

const struct str *pki_name_values(struct arena *a, const X509_NAME *name, int nid,
                                  size_t *ret_count)
{
    struct name_list l = {0};
    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;)
        name_list_add_asn1(a, &l, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    *ret_count = l.count;
    return l.items;
}

void pki_name_read(struct arena *a, const X509_NAME *name, struct pki_subject *ret)
{
    size_t count = 0;
    const struct str *names = pki_name_values(a, name, NID_commonName, &count);
    /* Of several the last counts, as in Go. */
    ret->common_name = count > 0 ? names[count - 1] : STR("");
    ret->organizations = pki_name_values(a, name, NID_organizationName, &ret->organization_count);
}

static void pki_address_read(struct arena *a, struct name_list *l, const ASN1_OCTET_STRING *ip)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(ip);
    int family = len == 4 ? AF_INET : len == 16 ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC ||
        inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof(text)) == NULL)
        return;
    name_list_add(a, l, text, strlen(text));
}

void pki_alt_names_read(struct arena *a, const GENERAL_NAMES *names, struct pki_subject *ret)
{
    struct name_list dns = {0}, ip = {0}, uri = {0}, email = {0};
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        switch (n->type) {
        case GEN_DNS:
            name_list_add_asn1(a, &dns, n->d.dNSName);
            break;
        case GEN_IPADD:
            pki_address_read(a, &ip, n->d.iPAddress);
            break;
        case GEN_URI:
            name_list_add_asn1(a, &uri, n->d.uniformResourceIdentifier);
            break;
        case GEN_EMAIL:
            name_list_add_asn1(a, &email, n->d.rfc822Name);
            break;
        default:
            break;
        }
    }
    ret->dns_names = dns.items;
    ret->dns_name_count = dns.count;
    ret->ip_addresses = ip.items;
    ret->ip_address_count = ip.count;
    ret->uris = uri.items;
    ret->uri_count = uri.count;
    ret->emails = email.items;
    ret->email_count = email.count;
}

unsigned pki_usages_read(const EXTENDED_KEY_USAGE *usage)
{
    unsigned usages = 0;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usage); i++) {
        int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(usage, i));
        if (nid == NID_server_auth)
            usages |= PKI_USAGE_SERVER;
        else if (nid == NID_client_auth)
            usages |= PKI_USAGE_CLIENT;
        else
            usages |= PKI_USAGE_OTHER;
    }
    return usages;
}

unsigned pki_key_usages_read(const ASN1_BIT_STRING *bits)
{
    unsigned usages = 0;
    /* Bit numbers of RFC 5280 are those of PKI_KU_*; 7 and 8 (encipherOnly,
     * decipherOnly) have no use here but must not vanish. */
    for (int i = 0; i < 9; i++)
        if (ASN1_BIT_STRING_get_bit(bits, i))
            usages |= 1u << i;
    return usages;
}

int64_t pki_time_read(const ASN1_TIME *t)
{
    struct tm tm = {0};
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

struct str pki_serial_read(struct arena *a, const ASN1_INTEGER *serial)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *text = number != NULL ? BN_bn2dec(number) : NULL;
    struct str s = arena_strc(a, text != NULL ? text : "0");
    OPENSSL_free(text);
    BN_free(number);
    return s;
}

struct str pki_der_of_x509(struct arena *a, const X509 *x509)
{
    int len = i2d_X509(x509, NULL);
    ASSERT(len > 0);
    unsigned char *der = arena_alloc(a, (size_t)len);
    unsigned char *p = der;
    i2d_X509(x509, &p);
    return str_n((const char *)der, (size_t)len);
}

/* --- building --- */

static bool pki_is_printable(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || strchr(" '()+,-./:=?", c) == NULL))
            return false;
    }
    return true;
}

/* Not by MBSTRING_UTF8: that enforces X.520's 64 characters, which the name of
 * a node may exceed and which Go does not enforce either. */
static void pki_name_add(X509_NAME *name, int nid, struct str value)
{
    int type = pki_is_printable(value) ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING;
    int done = X509_NAME_add_entry_by_NID(name, nid, type, (const unsigned char *)str_c(value),
                                          (int)value.len, -1, 0);
    ASSERT(done == 1);
}

X509_NAME *pki_name_build(const struct pki_subject *subject)
{
    X509_NAME *name = X509_NAME_new();
    ASSERT(name != NULL);
    for (size_t i = 0; i < subject->organization_count; i++)
        pki_name_add(name, NID_organizationName, subject->organizations[i]);
    if (!str_empty(subject->common_name))
        pki_name_add(name, NID_commonName, subject->common_name);
    return name;
}

static void pki_alt_name_add(GENERAL_NAMES *names, int type, struct str value)
{
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_STRING *s =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    ASSERT(n != NULL && s != NULL);
    ASN1_STRING_set(s, str_c(value), (int)value.len);
    GENERAL_NAME_set0_value(n, type, s);
    sk_GENERAL_NAME_push(names, n);
}

static bool pki_alt_address_add(GENERAL_NAMES *names, struct str text)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t address[16];
    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, str_c(text), text.len);
    copy[text.len] = '\0';
    size_t len = inet_pton(AF_INET, copy, address) == 1    ? 4
                 : inet_pton(AF_INET6, copy, address) == 1 ? 16
                                                           : 0;
    if (len == 0)
        return false;
    pki_alt_name_add(names, GEN_IPADD, str_n((const char *)address, len));
    return true;
}

GENERAL_NAMES *pki_alt_names_build(const struct pki_subject *subject, struct str *ret_bad)
{
    *ret_bad = STR_NULL;
    if (subject->dns_name_count + subject->ip_address_count + subject->uri_count +
            subject->email_count ==
        0)
        return NULL;
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    ASSERT(names != NULL);
    for (size_t i = 0; i < subject->dns_name_count; i++)
        pki_alt_name_add(names, GEN_DNS, subject->dns_names[i]);
    for (size_t i = 0; i < subject->ip_address_count; i++) {
        if (!pki_alt_address_add(names, subject->ip_addresses[i])) {
            *ret_bad = subject->ip_addresses[i];
            sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
            return NULL;
        }
    }
    for (size_t i = 0; i < subject->uri_count; i++)
        pki_alt_name_add(names, GEN_URI, subject->uris[i]);
    for (size_t i = 0; i < subject->email_count; i++)
        pki_alt_name_add(names, GEN_EMAIL, subject->emails[i]);
    return names;
}
