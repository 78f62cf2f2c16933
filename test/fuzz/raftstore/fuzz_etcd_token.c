/* fuzz_etcd_token.c - arbitrary bytes as tokens: as they are, and signed, so that what is behind
 * the signature is read too. Whoever they name is a user of the state. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/file.h"
#include "lib/net/jwt.h"
#include "lib/net/pki.h"
#include "raftstore/etcd/token.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

#define KEY "0123456789abcdef0123456789abcdef"
#define SECRET "secret"

static struct auth_state *state;
static struct etcd_tokens *simple, *jwt;

static void change(const struct auth_change *c)
{
    struct auth_state *next = NULL;
    ASSERT_CMP(auth_apply(state, c, &next), ==, AUTH_REFUSED_NOT);
    auth_state_unref(state);
    state = next;
}

static void set_up(void)
{
    static const struct auth_change changes[] = {
        {.type = AUTH_USER_ADD, .user = {"root", 4}},
        {.type = AUTH_USER_GRANT, .user = {"root", 4}, .role = {"root", 4}},
        {.type = AUTH_USER_ADD, .user = {"u", 1}},
        {.type = AUTH_ENABLE},
        {.type = AUTH_TOKEN_KEY, .token_key = {KEY, sizeof(KEY) - 1}},
    };
    state = auth_state_new();
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        change(&changes[i]);
    char file[] = "/tmp/fuzz-etcd-token-XXXXXX", spec[128];
    int fd = mkstemp(file);
    ASSERT_CMP(fd, >=, 0);
    ASSERT_CMP(write(fd, SECRET, sizeof(SECRET) - 1), ==, sizeof(SECRET) - 1);
    close(fd);
    snprintf(spec, sizeof(spec), "jwt,sign-method=HS256,priv-key=%s", file);
    ASSERT_CMP(etcd_tokens_new(&(struct etcd_tokens_config){0}, &simple, NULL), ==, 0);
    ASSERT_CMP(etcd_tokens_new(&(struct etcd_tokens_config){.spec = spec}, &jwt, NULL), ==, 0);
    unlink(file);
}

/* Simple tokens name users that there are; JWTs are believed. */
static void ask(struct etcd_tokens *t, struct str token)
{
    AUTO_ARENA *a = arena_new(0);
    struct etcd_caller c;
    if (etcd_caller_find(t, state, token, STR_NULL, a, &c) != NULL)
        return;
    if (t == simple)
        ASSERT(auth_user(state, c.user) != NULL);
    etcd_check_root(&c);
    etcd_check_range(&c, AUTH_READ, STR("a"), STR("b"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n((const char *)data, size);
    AUTO_BUF signed_body = BUF_INIT, signed_claims = BUF_INIT;
    uint8_t mac[32];
    if (state == NULL)
        set_up();
    ask(simple, bytes);
    ask(jwt, bytes);
    net_hmac_sha256(STR(KEY), bytes, mac);
    base64_encode(BASE64_RAW_URL, data, size, &signed_body);
    buf_putc(&signed_body, '.');
    base64_encode(BASE64_RAW_URL, mac, sizeof(mac), &signed_body);
    ask(simple, buf_str(&signed_body));
    if (jwt_hmac_sign(STR(SECRET), "HS256", bytes, &signed_claims, NULL) == 0)
        ask(jwt, buf_str(&signed_claims));
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    AUTO_BUF out = BUF_INIT;
    if (state == NULL)
        set_up();
    if (i == 0)
        etcd_token_make(simple, state, STR("u"), &out, NULL);
    else if (i == 1)
        etcd_token_make(jwt, state, STR("u"), &out, NULL);
    else if (i == 2)
        buf_puts(&out, "{\"exp\":99999999999,\"revision\":4,\"username\":\"u\"}");
    else if (i == 3) /* Version, time, password_rev, random number, user. */
        buf_append(&out,
                   "\x01\x80\x90\xf4\xce\x06\x04"
                   "01234567u",
                   16);
    else
        return 0;
    memcpy(p, out.data, MIN_OF(out.len, cap));
    return out.len;
}
