/* list_token.c - see list_token.h. */
#include "apiserver/list_token.h"

#include "apiserver/status.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"

#include <inttypes.h>

struct str list_token_make(struct arena *a, struct str prefix, int64_t rv, struct str key)
{
    AUTO_BUF b = BUF_INIT;
    AUTO_BUF t = BUF_INIT;
    buf_printf(&b, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%" PRId64 ",\"start\":", rv);
    struct str rest = str_sub(key, prefix.len, key.len);
    AUTO_BUF start = BUF_INIT;
    buf_append_str(&start, rest);
    buf_putc(&start, '\0');
    json_write_string(buf_str(&start), &b);
    buf_putc(&b, '}');
    base64_encode(BASE64_RAW_URL, b.data, b.len, &t);
    return arena_str(a, buf_str(&t));
}

/* The bits of the last character that no byte is made of: Go does not look at
 * them. */
static struct str without_spare_bits(struct arena *a, struct str token)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t spare = token.len % 4 == 2 ? 16 : token.len % 4 == 3 ? 4 : 1;
    const char *at = token.len != 0 ? strchr(digits, token.data[token.len - 1]) : NULL;
    if (at == NULL || *at == '\0')
        return token;
    size_t value = (size_t)(at - digits);
    return arena_printf(a, "%.*s%c", (int)token.len - 1, token.data, digits[value - value % spare]);
}

struct meta_v1_status *list_token_read(struct arena *a, struct str prefix, struct str token,
                                       int64_t *ret_rv, struct str *ret_start)
{
    AUTO_BUF b = BUF_INIT;
    struct json *j;
    struct error err = {0};
    if (base64_decode(BASE64_RAW_URL, without_spare_bits(a, token), &b) != 0)
        return status_bad_request(
            a, "invalid continue token: continue key is not valid: illegal base64 data");
    if (json_parse(a, arena_str(a, buf_str(&b)), &j, &err) != 0)
        return status_bad_request(a, "invalid continue token: continue key is not valid: %s",
                                  error_message(&err));
    struct str start = json_get_str(j, "start");
    int64_t rv = json_get_int(j, "rv", 0);
    if (!str_eqc(json_get_str(j, "v"), "meta.k8s.io/v1") || rv == 0 || start.len == 0)
        return status_bad_request(
            a, "invalid continue token: continue key is not valid: incorrect encoded start "
               "resourceVersion (version meta.k8s.io/v1)");
    if (str_find_str(start, STR("../")) >= 0)
        return status_bad_request(a, "invalid continue token: continue key is not valid: " STR_FMT,
                                  STR_ARG(start));
    *ret_rv = rv;
    /* start holds a NUL, which printf would stop at. */
    char *p = arena_alloc(a, prefix.len + start.len + 1);
    memcpy(p, prefix.data, prefix.len);
    memcpy(p + prefix.len, start.data, start.len);
    *ret_start = str_n(p, prefix.len + start.len);
    return NULL;
}
