/* kms_plugin.c - a KMS v2 plugin for tests: keys are turned over, not encrypted.
 * The file says under which key, and how it is: "KEY_ID HEALTH VERSION", read
 * anew for every call. Every call is a line in its output.
 *
 *   wrapped: KEY_ID, ':', the bytes each XORed with 0x5a
 *
 * usage: kms-plugin SOCKET FILE */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"

#include <stdio.h>
#include <uv.h>

#define NOTE "version.encryption.example.com"

static const char *file;

struct state {
    char key[64], health[64], version[16];
};

static struct state look(void)
{
    struct state s = {"", "", ""};
    FILE *f = fopen(file, "re");
    if (f == NULL || fscanf(f, "%63s %63s %15s", s.key, s.health, s.version) != 3)
        fprintf(stderr, "%s is not as it should be\n", file);
    if (f != NULL)
        fclose(f);
    return s;
}

static void say(const char *what, const char *key)
{
    printf("%s %s\n", what, key);
    fflush(stdout);
}

/* --- messages: all fields are bytes ------------------------------------------------------------
 */
static void put(struct buf *b, uint32_t number, const void *p, size_t n)
{
    buf_put_varint(b, number << 3 | 2);
    buf_put_varint(b, n);
    buf_append(b, p, n);
}

static size_t varint(struct str *in)
{
    size_t v = 0;
    for (unsigned shift = 0; in->len > 0 && shift < 28; shift += 7) {
        uint8_t c = (uint8_t)in->data[0];
        *in = str_sub(*in, 1, in->len);
        v |= (size_t)(c & 0x7f) << shift;
        if (c < 0x80)
            break;
    }
    return v;
}

static struct str get(struct str message, uint32_t number)
{
    struct str found = STR_NULL;
    while (message.len > 0) {
        size_t tag = varint(&message), len = varint(&message);
        if ((tag & 7) != 2 || len > message.len)
            break;
        if (tag >> 3 == number)
            found = str_sub(message, 0, len);
        message = str_sub(message, len, message.len);
    }
    return found;
}

static void put_note(struct buf *b, uint32_t number)
{
    AUTO_BUF entry = BUF_INIT;
    put(&entry, 1, NOTE, sizeof(NOTE) - 1);
    put(&entry, 2, "1", 1);
    put(b, number, entry.data, entry.len);
}

static void reply(struct grpc_stream *s, const struct buf *b)
{
    struct net_bytes *bytes = net_bytes_copy(b->data, b->len);
    grpc_stream_reply(s, bytes);
    net_bytes_unref(bytes);
}

/* --- calls -------------------------------------------------------------------------------------
 */
static void on_status(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg), UNUSED(message);
    struct state now = look();
    AUTO_BUF b = BUF_INIT;
    put(&b, 1, now.version, strlen(now.version));
    put(&b, 2, now.health, strlen(now.health));
    put(&b, 3, now.key, strlen(now.key));
    say("Status", now.key);
    reply(s, &b);
}

static void turn(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++)
        buf_putc(out, (char)(in.data[i] ^ 0x5a));
}

static void on_encrypt(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct state now = look();
    AUTO_BUF b = BUF_INIT;
    AUTO_BUF wrapped = BUF_INIT;
    buf_printf(&wrapped, "%s:", now.key);
    turn(get(message, 1), &wrapped);
    put(&b, 1, wrapped.data, wrapped.len);
    put(&b, 2, now.key, strlen(now.key));
    put_note(&b, 3);
    say("Encrypt", now.key);
    reply(s, &b);
}

static void on_decrypt(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct str wrapped = get(message, 1), key = get(message, 3), of, sealed;
    AUTO_BUF plain = BUF_INIT;
    AUTO_BUF b = BUF_INIT;
    bool fits = str_cut(wrapped, ':', &of, &sealed) && str_eq(of, key) &&
                str_eqc(get(get(message, 4), 1), NOTE) && get(message, 2).len == 36;
    say(fits ? "Decrypt" : "Refused", str_c(arena_str(grpc_stream_arena(s), key)));
    if (!fits) {
        grpc_stream_finish(s, GRPC_INVALID_ARGUMENT, "no key of mine");
        return;
    }
    turn(sealed, &plain);
    put(&b, 1, plain.data, plain.len);
    reply(s, &b);
}

static void on_headers(struct http_request *r, void *arg)
{
    grpc_server_handle(arg, r);
}

/* All requests are gRPC. */
static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 404, STR_NULL);
}

int main(int argc, char **argv)
{
    static const struct grpc_method methods[] = {
        {.path = "/v2.KeyManagementService/Status", .on_unary = on_status},
        {.path = "/v2.KeyManagementService/Encrypt", .on_unary = on_encrypt},
        {.path = "/v2.KeyManagementService/Decrypt", .on_unary = on_decrypt},
    };
    if (argc != 3) {
        fprintf(stderr, "usage: kms-plugin SOCKET FILE\n");
        return EXIT_FAILURE;
    }
    file = argv[2];
    struct grpc_server *g = grpc_server_new();
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        grpc_server_add(g, &methods[i]);
    struct http_server_config config = {
        .name = "kms", .on_headers = on_headers, .on_request = on_request, .arg = g};
    AUTO_FREE char *address = xasprintf("unix:%s", argv[1]);
    struct net_listen_config where = {.address = address};
    struct http_server *server;
    struct error err;
    if (http_server_new(uv_default_loop(), &config, &server, &err) != 0 ||
        http_server_listen(server, &where, &err) != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], error_message(&err));
        return EXIT_FAILURE;
    }
    say("listening", "");
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
