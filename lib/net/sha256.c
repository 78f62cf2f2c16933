/* sha256.c - a hash of bytes, without the rest of OpenSSL.
 *
 * SHA256() looks its algorithm up, which reads OpenSSL's configuration and loads its
 * providers: two megabytes and some milliseconds for a program that serves without
 * TLS and only names its members by a hash. The functions below do nothing but hash;
 * they are called deprecated in favour of the lookup. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "lib/net/pki.h"

#include <openssl/sha.h>

void net_sha256(const void *data, size_t len, uint8_t ret[32])
{
    SHA256_CTX c;
    SHA256_Init(&c);
    SHA256_Update(&c, data, len);
    SHA256_Final(ret, &c);
}
