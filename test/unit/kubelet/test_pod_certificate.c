/* test_pod_certificate.c - the life of one podCertificate source. */
#include "kubelet/pod_certificate.h"

#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"
#include "test/unit/unit.h"

#include <string.h>

#define request_object struct certificates_v1beta1_pod_certificate_request

static const char *read_of(const struct pod_certificate *c, int64_t now_s, int *ret_code)
{
    static char text[256];
    AUTO_ARENA *a = arena_new(0);
    struct str key = STR(""), chain = STR("");
    struct error err = {0};
    *ret_code = pod_certificate_read(c, now_s, a, &key, &chain, &err);
    snprintf(text, sizeof(text), STR_FMT "%s", STR_ARG(key),
             *ret_code != 0 ? error_message(&err) : "");
    return text;
}

static request_object decided(struct meta_v1_condition *d, const char *type,
                              struct meta_v1_time *refresh)
{
    static struct meta_v1_time after = {.seconds = 9000};
    *d = (struct meta_v1_condition){
        .type = str_of(type), .status = STR("True"), .reason = STR("Why"), .message = STR("words")};
    request_object r = {.status = {.conditions = d,
                                   .conditions_count = 1,
                                   .begin_refresh_at = refresh,
                                   .not_after = &after}};
    return r;
}

static void ask(struct pod_certificate *c, const char *key, int64_t now_s)
{
    pod_certificate_asked(c, xstrdup("req-1"), xstrdup(key), now_s, 7);
}

/* Asked for once, used when it is issued, renewed in time with the old one in use meanwhile. */
START_TEST(issued_and_renewed)
{
    struct pod_certificate c = {.began_s = 100};
    struct meta_v1_condition d;
    struct meta_v1_time refresh = {.seconds = 5000};
    request_object pending = {0}, issued = decided(&d, "Issued", &refresh);
    AUTO_BUF pem = BUF_INIT;
    int code;
    buf_printf(&pem, "words\n");
    pki_pem_write(&pem, "CERTIFICATE", STR("cert"));
    issued.status.certificate_chain = buf_str(&pem);
    ck_assert(pod_certificate_wants(&c, 100));
    ask(&c, "one", 100);
    ck_assert(!pod_certificate_wants(&c, 101));
    ck_assert_str_eq(read_of(&c, 101, &code), "credential bundle is not issued yet");
    ck_assert_int_eq(code, E_AGAIN);
    read_of(&c, 106, &code);
    ck_assert_int_eq(code, E_NOT_FOUND);
    ck_assert_int_eq(pod_certificate_seen(&c, NULL, 102, 3), CERTIFICATE_SAME);
    ck_assert_int_eq(pod_certificate_seen(&c, &pending, 102, 3), CERTIFICATE_SAME);
    ck_assert_int_eq(pod_certificate_seen(&c, &issued, 102, 3), CERTIFICATE_ISSUED);
    ck_assert_str_eq(read_of(&c, 103, &code), "one");
    ck_assert_int_eq(code, 0);
    ck_assert(strncmp(c.chain, "-----BEGIN CERTIFICATE-----\n", 28) == 0);
    ck_assert(!pod_certificate_wants(&c, 5002));
    ck_assert(pod_certificate_wants(&c, 5003));
    ask(&c, "two", 5003);
    ck_assert_str_eq(read_of(&c, 5004, &code), "one");
    refresh.seconds = 8000;
    ck_assert_int_eq(pod_certificate_seen(&c, &issued, 5005, 0), CERTIFICATE_ISSUED);
    ck_assert_str_eq(read_of(&c, 5006, &code), "two");
    ck_assert(!pod_certificate_wants(&c, 7999));
    pod_certificate_done(&c);
}
END_TEST

/* One that is gone before it was answered is made anew, once it must have been seen. */
START_TEST(deleted)
{
    struct pod_certificate c = {.began_s = 100};
    ask(&c, "one", 100);
    ck_assert_int_eq(pod_certificate_seen(&c, NULL, 706, 0), CERTIFICATE_SAME);
    ck_assert(!pod_certificate_wants(&c, 706));
    ck_assert_int_eq(pod_certificate_seen(&c, NULL, 707, 0), CERTIFICATE_SAME);
    ck_assert(pod_certificate_wants(&c, 707));
    pod_certificate_done(&c);
}
END_TEST

/* A refusal is for good, and told in upstream's words. */
START_TEST(refused)
{
    static const char *const types[] = {"Denied", "Failed"};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct pod_certificate c = {.began_s = 100};
        struct meta_v1_condition d;
        request_object r = decided(&d, types[i], NULL);
        int code;
        ask(&c, "one", 100);
        ck_assert_int_eq(pod_certificate_seen(&c, &r, 101, 0), CERTIFICATE_REFUSED);
        ck_assert(!pod_certificate_wants(&c, 1000000));
        const char *text = read_of(&c, 102, &code);
        ck_assert_int_eq(code, E_INVALID);
        ck_assert_ptr_nonnull(
            strstr(text, i == 0 ? "permanently denied: reason=\"Why\" message=\"words\""
                                : "permanently failed: reason=\"Why\" message=\"words\""));
        pod_certificate_done(&c);
    }
}
END_TEST

UNIT_MAIN("pod_certificate", {
    UNIT_TEST(issued_and_renewed);
    UNIT_TEST(deleted);
    UNIT_TEST(refused);
})
