/* fuzz_auth.c - arbitrary bytes as a state of users and roles, and as a change of one. */
#include "lib/base/buf.h"
#include "raftstore/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static const struct auth_change seeds[] = {
    {.type = AUTH_USER_ADD, .user = {"root", 4}, .password_hash = {"$2a$10$x", 8}},
    {.type = AUTH_USER_GRANT, .user = {"root", 4}, .role = {"root", 4}},
    {.type = AUTH_ROLE_ADD, .role = {"r", 1}},
    {.type = AUTH_ROLE_GRANT, .role = {"r", 1}, .key = {"a", 1}, .range_end = {"b", 1}},
    {.type = AUTH_ROLE_GRANT, .role = {"r", 1}, .key = {"b", 1}, .range_end = {"", 1}},
    {.type = AUTH_USER_GRANT, .user = {"root", 4}, .role = {"r", 1}},
};

/* A state with the seeds' changes. */
static struct auth_state *seeded(void)
{
    struct auth_state *a = auth_state_new();
    for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
        struct auth_state *next = NULL;
        ASSERT_CMP(auth_apply(a, &seeds[i], &next), ==, AUTH_REFUSED_NOT);
        auth_state_unref(a);
        a = next;
    }
    return a;
}

/* What was decoded encodes to a fixed point, and takes a change or refuses it. */
static void fuzz_state(struct str bytes)
{
    AUTO_BUF one = BUF_INIT, two = BUF_INIT;
    struct auth_state *a = NULL, *b = NULL;
    if (auth_state_decode(bytes, &a, NULL) != 0)
        return;
    auth_state_encode(a, &one);
    int rc = auth_state_decode(buf_str(&one), &b, NULL);
    ASSERT_CMP(rc, ==, 0);
    auth_state_encode(b, &two);
    ASSERT(str_eq(buf_str(&one), buf_str(&two)));
    size_t n;
    const struct auth_user *const *users = auth_users(a, &n);
    for (size_t i = 0; i < n; i++)
        auth_may(a, users[i]->name, AUTH_READWRITE, STR("a"), STR("c"));
    auth_state_unref(a);
    auth_state_unref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n((const char *)data, size);
    fuzz_state(bytes);
    struct auth_change c;
    if (auth_change_decode(bytes, &c, NULL) != 0)
        return 0;
    struct auth_state *a = seeded(), *next = NULL;
    if (auth_apply(a, &c, &next) == AUTH_REFUSED_NOT)
        auth_state_unref(next);
    auth_state_unref(a);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    AUTO_BUF out = BUF_INIT;
    if (i < ARRAY_SIZE(seeds)) {
        auth_change_encode(&seeds[i], &out);
    } else if (i == ARRAY_SIZE(seeds)) {
        struct auth_state *a = seeded();
        auth_state_encode(a, &out);
        auth_state_unref(a);
    } else {
        return 0;
    }
    memcpy(p, out.data, MIN_OF(out.len, cap));
    return out.len;
}
