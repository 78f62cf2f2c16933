/* http1_parser.c - see http1_parser.h. llhttp is http-parser's successor: Debian
 * has the one until bookworm, the other since trixie. */
#include "lib/net/http1_parser.h"

#include <string.h>

#if __has_include(<llhttp.h>)
#include <llhttp.h>
#define HTTP1_LLHTTP 1
typedef llhttp_t http1_engine;
typedef llhttp_settings_t http1_settings;
#else
#include <http_parser.h>
#define HTTP1_LLHTTP 0
typedef http_parser http1_engine;
typedef http_parser_settings http1_settings;
#endif

struct http1_parser {
    http1_engine engine;
    http1_settings settings;
    struct http1_parser_callbacks callbacks;
    void *arg;
    bool requests;
    bool pausing; /* http1_parser_pause() was called in this feed. */
    bool refused; /* A callback wants to stop. */
    bool bad_version;
};

static int http1_check(struct http1_parser *p, int rc)
{
    if (rc == 0)
        return 0;
    p->refused = true;
    return -1;
}

static int http1_on_target(http1_engine *e, const char *at, size_t n)
{
    struct http1_parser *p = e->data;
    return http1_check(p, p->callbacks.on_target(p->arg, at, n));
}

static int http1_on_field(http1_engine *e, const char *at, size_t n)
{
    struct http1_parser *p = e->data;
    return http1_check(p, p->callbacks.on_field(p->arg, at, n));
}

static int http1_on_value(http1_engine *e, const char *at, size_t n)
{
    struct http1_parser *p = e->data;
    return http1_check(p, p->callbacks.on_value(p->arg, at, n));
}

static int http1_on_body(http1_engine *e, const char *at, size_t n)
{
    struct http1_parser *p = e->data;
    return http1_check(p, p->callbacks.on_body(p->arg, at, n));
}

#if HTTP1_LLHTTP
#define HTTP1_HAS_LENGTH(e) (((e)->flags & F_CONTENT_LENGTH) != 0)
#define HTTP1_KEEP_ALIVE(e) (llhttp_should_keep_alive(e) == 1)
#define HTTP1_METHOD_NAME(e) llhttp_method_name((llhttp_method_t)(e)->method)
#else
#define HTTP1_HAS_LENGTH(e)                                                                        \
    ((e)->content_length != UINT64_MAX && ((e)->flags & F_CONTENTLENGTH) != 0)
#define HTTP1_KEEP_ALIVE(e) (http_should_keep_alive(e) != 0)
#define HTTP1_METHOD_NAME(e) http_method_str((enum http_method)(e)->method)
#endif

static int http1_on_headers_complete(http1_engine *e)
{
    struct http1_parser *p = e->data;
    if (e->http_major != 1) {
        p->bad_version = true;
        return -1;
    }
    struct http1_head head = {
        .minor = e->http_minor,
        .content_length =
            HTTP1_HAS_LENGTH(e) && e->content_length <= INT64_MAX ? (int64_t)e->content_length : -1,
        .chunked = (e->flags & F_CHUNKED) != 0,
        .keep_alive = HTTP1_KEEP_ALIVE(e),
        .upgrade = e->upgrade != 0,
    };
    if (p->requests)
        head.method = str_of(HTTP1_METHOD_NAME(e));
    else
        head.status = (int)e->status_code;
    int rc = p->callbacks.on_head(p->arg, &head);
    if (rc == HTTP1_NO_BODY)
        return 1;
    return http1_check(p, rc);
}

static int http1_on_complete(http1_engine *e)
{
    struct http1_parser *p = e->data;
    int rc = http1_check(p, p->callbacks.on_complete(p->arg));
#if HTTP1_LLHTTP
    /* llhttp pauses by what the callback returns. */
    if (rc == 0 && p->pausing)
        return HPE_PAUSED;
#endif
    return rc;
}

struct http1_parser *http1_parser_new(bool requests, const struct http1_parser_callbacks *callbacks,
                                      void *arg)
{
    struct http1_parser *p = xzalloc(sizeof(*p));
    p->callbacks = *callbacks;
    p->arg = arg;
    p->requests = requests;
#if HTTP1_LLHTTP
    llhttp_settings_init(&p->settings);
#else
    http_parser_settings_init(&p->settings);
    /* Callers count the bytes of heads, per message and with their own limit. */
    http_parser_set_max_header_size(UINT32_MAX);
#endif
    p->settings.on_url = http1_on_target;
    p->settings.on_header_field = http1_on_field;
    p->settings.on_header_value = http1_on_value;
    p->settings.on_headers_complete = http1_on_headers_complete;
    p->settings.on_body = http1_on_body;
    p->settings.on_message_complete = http1_on_complete;
#if HTTP1_LLHTTP
    llhttp_init(&p->engine, requests ? HTTP_REQUEST : HTTP_RESPONSE, &p->settings);
#else
    http_parser_init(&p->engine, requests ? HTTP_REQUEST : HTTP_RESPONSE);
#endif
    p->engine.data = p;
    return p;
}

void http1_parser_free(struct http1_parser *p)
{
    free(p);
}

#if HTTP1_LLHTTP

static enum http1_result http1_result_of(struct http1_parser *p, llhttp_errno_t rc)
{
    if (p->refused)
        return HTTP1_STOPPED;
    if (rc == HPE_OK)
        return HTTP1_MORE;
    if (rc == HPE_PAUSED)
        return HTTP1_PAUSED;
    if (rc == HPE_PAUSED_UPGRADE || rc == HPE_PAUSED_H2_UPGRADE) {
        llhttp_resume_after_upgrade(&p->engine);
        return HTTP1_UPGRADE;
    }
    return HTTP1_ERROR;
}

enum http1_result http1_parser_feed(struct http1_parser *p, const uint8_t *data, size_t len,
                                    size_t *ret_used)
{
    p->pausing = false;
    llhttp_errno_t rc = llhttp_execute(&p->engine, (const char *)data, len);
    const char *at = rc == HPE_OK ? NULL : llhttp_get_error_pos(&p->engine);
    *ret_used = at != NULL ? (size_t)(at - (const char *)data) : len;
    return http1_result_of(p, rc);
}

enum http1_result http1_parser_finish(struct http1_parser *p)
{
    return http1_result_of(p, llhttp_finish(&p->engine));
}

void http1_parser_resume(struct http1_parser *p)
{
    llhttp_resume(&p->engine);
}

const char *http1_parser_error(const struct http1_parser *p)
{
    const char *reason = llhttp_get_error_reason(&p->engine);
    return p->bad_version                        ? "unsupported HTTP version"
           : reason != NULL && reason[0] != '\0' ? reason
                                                 : "malformed HTTP";
}

#else

static enum http1_result http1_result_now(struct http1_parser *p, bool all_used)
{
    if (p->refused)
        return HTTP1_STOPPED;
    enum http_errno rc = HTTP_PARSER_ERRNO(&p->engine);
    if (rc == HPE_PAUSED)
        return HTTP1_PAUSED;
    if (rc != HPE_OK)
        return HTTP1_ERROR;
    if (p->engine.upgrade != 0 && !all_used)
        return HTTP1_UPGRADE;
    return all_used ? HTTP1_MORE : HTTP1_ERROR;
}

enum http1_result http1_parser_feed(struct http1_parser *p, const uint8_t *data, size_t len,
                                    size_t *ret_used)
{
    p->pausing = false;
    *ret_used = http_parser_execute(&p->engine, &p->settings, (const char *)data, len);
    return http1_result_now(p, *ret_used == len);
}

enum http1_result http1_parser_finish(struct http1_parser *p)
{
    /* Zero bytes mean the end of the connection to http-parser. */
    http_parser_execute(&p->engine, &p->settings, "", 0);
    return http1_result_now(p, true);
}

void http1_parser_resume(struct http1_parser *p)
{
    if (HTTP_PARSER_ERRNO(&p->engine) == HPE_PAUSED)
        http_parser_pause(&p->engine, 0);
}

const char *http1_parser_error(const struct http1_parser *p)
{
    return p->bad_version ? "unsupported HTTP version"
                          : http_errno_description(HTTP_PARSER_ERRNO(&p->engine));
}

#endif

void http1_parser_pause(struct http1_parser *p)
{
    p->pausing = true;
#if !HTTP1_LLHTTP
    http_parser_pause(&p->engine, 1);
#endif
}
