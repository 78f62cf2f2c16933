/* seal.c - see seal.h. OpenSSL has all of it but Salsa20, which is here. */
#include "lib/net/seal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <string.h>

enum { BLOCK = 16, GCM_NONCE = 12, BOX_NONCE = 24, TAG = 16 };

bool seal_key_fits(enum seal_form form, size_t n)
{
    return n == 32 || (form != SEAL_SECRETBOX && (n == 16 || n == 24));
}

/* n bytes more, for the caller to fill. */
static uint8_t *extend(struct buf *b, size_t n)
{
    uint8_t *p = buf_reserve(b, n + 1);
    buf_commit(b, n);
    return p;
}

static void put_random(struct buf *out, size_t n)
{
    if (RAND_bytes(extend(out, n), (int)n) != 1)
        PANIC("no random bytes");
}

/* --- AES ------------------------------------------------------------------------------------- */
static const EVP_CIPHER *aes(enum seal_form form, size_t key_len)
{
    bool gcm = form == SEAL_AES_GCM;
    if (key_len == 16)
        return gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
    if (key_len == 24)
        return gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
    return gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
}

static const uint8_t *bytes(struct str s)
{
    return (const uint8_t *)(s.data != NULL ? s.data : "");
}

static void aes_seal(enum seal_form form, struct str key, struct str text, struct str bound,
                     struct buf *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    size_t nonce_len = form == SEAL_AES_GCM ? GCM_NONCE : BLOCK, from = out->len;
    int n = 0, last = 0;
    put_random(out, nonce_len);
    buf_reserve(out, text.len + 2 * BLOCK);
    uint8_t *at = out->data + out->len;
    bool ok = c != NULL && text.len < INT32_MAX - 64 && bound.len < INT32_MAX &&
              EVP_EncryptInit_ex(c, aes(form, key.len), NULL, bytes(key), out->data + from) == 1;
    if (ok && form == SEAL_AES_GCM)
        ok = EVP_EncryptUpdate(c, NULL, &n, bytes(bound), (int)bound.len) == 1;
    n = 0;
    ok = ok && EVP_EncryptUpdate(c, at, &n, bytes(text), (int)text.len) == 1 &&
         EVP_EncryptFinal_ex(c, at + n, &last) == 1;
    if (!ok)
        PANIC("AES failed");
    out->len += (size_t)n + (size_t)last;
    if (form == SEAL_AES_GCM &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, extend(out, TAG)) != 1)
        PANIC("AES-GCM gave no tag");
    EVP_CIPHER_CTX_free(c);
}

static int aes_unseal(enum seal_form form, struct str key, struct str sealed, struct str bound,
                      struct buf *out, struct error *err)
{
    size_t nonce_len = form == SEAL_AES_GCM ? GCM_NONCE : BLOCK;
    size_t tag_len = form == SEAL_AES_GCM ? TAG : 0;
    if (sealed.len < nonce_len + tag_len)
        return error_set(err, E_INVALID, "the stored data was shorter than the required size");
    size_t len = sealed.len - nonce_len - tag_len, was = out->len;
    if (form == SEAL_AES_CBC && (len % BLOCK != 0 || len == 0))
        return error_set(err, E_INVALID, "the stored data is not a multiple of the block size");
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0, last = 0;
    buf_reserve(out, len + BLOCK);
    uint8_t *at = out->data + was;
    bool ok = c != NULL && len < INT32_MAX && bound.len < INT32_MAX &&
              EVP_DecryptInit_ex(c, aes(form, key.len), NULL, bytes(key), bytes(sealed)) == 1;
    if (ok && form == SEAL_AES_GCM)
        ok = EVP_DecryptUpdate(c, NULL, &n, bytes(bound), (int)bound.len) == 1 &&
             EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG,
                                 (void *)(uintptr_t)(bytes(sealed) + nonce_len + len)) == 1;
    n = 0;
    ok = ok && EVP_DecryptUpdate(c, at, &n, bytes(sealed) + nonce_len, (int)len) == 1 &&
         EVP_DecryptFinal_ex(c, at + n, &last) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!ok)
        return error_set(err, E_INVALID,
                         form == SEAL_AES_GCM ? "cipher: message authentication failed"
                                              : "invalid padding on input");
    out->len += (size_t)n + (size_t)last;
    return 0;
}

/* --- Salsa20 (D. J. Bernstein's specification) ----------------------------------------------- */
static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t rotate(uint32_t v, int n)
{
    return v << n | v >> (32 - n);
}

static void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *b ^= rotate(*a + *d, 7);
    *c ^= rotate(*b + *a, 9);
    *d ^= rotate(*c + *b, 13);
    *a ^= rotate(*d + *c, 18);
}

/* The state: constants on the diagonal, the key around them, in[4] in the middle. */
static void arrange(uint32_t x[16], const uint8_t key[32], const uint8_t in[16])
{
    static const uint8_t sigma[] = "expand 32-byte k";
    for (size_t i = 0; i < 4; i++) {
        x[5 * i] = load(sigma + 4 * i);
        x[1 + i] = load(key + 4 * i);
        x[11 + i] = load(key + 16 + 4 * i);
        x[6 + i] = load(in + 4 * i);
    }
}

static void rounds(uint32_t x[16])
{
    for (int i = 0; i < 10; i++) {
        quarter(&x[0], &x[4], &x[8], &x[12]);
        quarter(&x[5], &x[9], &x[13], &x[1]);
        quarter(&x[10], &x[14], &x[2], &x[6]);
        quarter(&x[15], &x[3], &x[7], &x[11]);
        quarter(&x[0], &x[1], &x[2], &x[3]);
        quarter(&x[5], &x[6], &x[7], &x[4]);
        quarter(&x[10], &x[11], &x[8], &x[9]);
        quarter(&x[15], &x[12], &x[13], &x[14]);
    }
}

/* HSalsa20: the key of one nonce. */
static void derive(const uint8_t key[32], const uint8_t nonce[16], uint8_t ret[32])
{
    static const size_t taken[8] = {0, 5, 10, 15, 6, 7, 8, 9};
    uint32_t x[16];
    arrange(x, key, nonce);
    rounds(x);
    for (size_t i = 0; i < 8; i++)
        store(ret + 4 * i, x[taken[i]]);
    OPENSSL_cleanse(x, sizeof(x));
}

static void stream_block(const uint8_t key[32], const uint8_t nonce[8], uint64_t counter,
                         uint8_t ret[64])
{
    uint32_t x[16], y[16];
    uint8_t in[16];
    memcpy(in, nonce, 8);
    store(in + 8, (uint32_t)counter);
    store(in + 12, (uint32_t)(counter >> 32));
    arrange(x, key, in);
    memcpy(y, x, sizeof(y));
    rounds(y);
    for (size_t i = 0; i < 16; i++)
        store(ret + 4 * i, x[i] + y[i]);
    OPENSSL_cleanse(x, sizeof(x));
    OPENSSL_cleanse(y, sizeof(y));
}

/* --- secretbox ---------------------------------------------------------------------------------
 */
/* Text and stream, behind the 32 bytes of the first block that are Poly1305's key. */
static void box_xor(const uint8_t key[32], const uint8_t nonce[24], const uint8_t *from, size_t len,
                    uint8_t *to, uint8_t ret_mac_key[32])
{
    uint8_t own[32], block[64];
    derive(key, nonce, own);
    stream_block(own, nonce + 16, 0, block);
    memcpy(ret_mac_key, block, 32);
    for (size_t i = 0; i < len; i++) {
        size_t at = (i + 32) % 64;
        if (at == 0)
            stream_block(own, nonce + 16, (i + 32) / 64, block);
        to[i] = from[i] ^ block[at];
    }
    OPENSSL_cleanse(own, sizeof(own));
    OPENSSL_cleanse(block, sizeof(block));
}

static void poly1305(const uint8_t key[32], const uint8_t *p, size_t len, uint8_t ret[TAG])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    EVP_MAC_CTX *c = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    size_t n = 0;
    if (c == NULL || EVP_MAC_init(c, key, 32, NULL) != 1 || EVP_MAC_update(c, p, len) != 1 ||
        EVP_MAC_final(c, ret, &n, TAG) != 1 || n != TAG)
        PANIC("Poly1305 failed");
    EVP_MAC_CTX_free(c);
    EVP_MAC_free(mac);
}

void seal_secretbox(const uint8_t key[32], const uint8_t nonce[24], struct str text,
                    struct buf *out)
{
    uint8_t mac_key[32];
    buf_append(out, nonce, BOX_NONCE);
    uint8_t *tag = extend(out, TAG + text.len);
    box_xor(key, nonce, bytes(text), text.len, tag + TAG, mac_key);
    poly1305(mac_key, tag + TAG, text.len, tag);
    OPENSSL_cleanse(mac_key, sizeof(mac_key));
}

static int box_open(struct str key, struct str sealed, struct buf *out, struct error *err)
{
    uint8_t mac_key[32], tag[TAG];
    if (sealed.len < BOX_NONCE + TAG)
        return error_set(err, E_INVALID, "the stored data was shorter than the required size");
    const uint8_t *nonce = bytes(sealed), *text = nonce + BOX_NONCE + TAG;
    size_t len = sealed.len - BOX_NONCE - TAG, was = out->len;
    box_xor(bytes(key), nonce, text, len, extend(out, len), mac_key);
    poly1305(mac_key, text, len, tag);
    OPENSSL_cleanse(mac_key, sizeof(mac_key));
    if (CRYPTO_memcmp(tag, nonce + BOX_NONCE, TAG) == 0)
        return 0;
    OPENSSL_cleanse(out->data + was, len);
    out->len = was;
    return error_set(err, E_INVALID, "secretbox: message authentication failed");
}

/* --- both
 * ------------------------------------------------------------------------------------------ */
void seal(enum seal_form form, struct str key, struct str text, struct str bound, struct buf *out)
{
    uint8_t nonce[BOX_NONCE];
    ASSERT(seal_key_fits(form, key.len));
    if (form != SEAL_SECRETBOX) {
        aes_seal(form, key, text, bound, out);
        return;
    }
    if (RAND_bytes(nonce, sizeof(nonce)) != 1)
        PANIC("no random bytes");
    seal_secretbox(bytes(key), nonce, text, out);
}

int unseal(enum seal_form form, struct str key, struct str sealed, struct str bound,
           struct buf *out, struct error *err)
{
    ASSERT(seal_key_fits(form, key.len));
    return form == SEAL_SECRETBOX ? box_open(key, sealed, out, err)
                                  : aes_unseal(form, key, sealed, bound, out, err);
}
