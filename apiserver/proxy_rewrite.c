/* proxy_rewrite.c - see proxy_rewrite.h. */
#include "apiserver/proxy_rewrite.h"

#include "lib/base/buf.h"

#include <strings.h>

#define TAG_BYTES_MAX (64u << 10)

/* --- URLs ---------------------------------------------------------------------------------- */

static bool is_scheme_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '-' || c == '.';
}

/* Splits "scheme://authority/path...", "//authority/path..." and "/path...".
 * False for what is none of these: "mailto:x", "javascript:/x/". */
static bool split_url(struct str url, struct str *ret_authority, struct str *ret_path)
{
    size_t at = 0;
    *ret_authority = STR_NULL;
    while (at < url.len && is_scheme_char(url.data[at]))
        at++;
    bool scheme = at > 0 && at < url.len && url.data[at] == ':';
    if (scheme)
        url = str_sub(url, at + 1, url.len);
    if (str_has_prefix(url, STR("//"))) {
        size_t end = 2;
        while (end < url.len && url.data[end] != '/' && url.data[end] != '?' &&
               url.data[end] != '#')
            end++;
        *ret_authority = str_sub(url, 2, end - 2);
        url = str_sub(url, end, url.len);
    } else if (scheme) {
        return false;
    }
    *ret_path = url;
    return url.len > 0 && url.data[0] == '/';
}

void proxy_rewrite_url(const struct proxy_view *v, struct str url, struct buf *b)
{
    struct str authority, path;
    bool absolute = split_url(url, &authority, &path);
    bool own = str_eq(authority, v->request_host);
    if (!absolute || (!str_empty(authority) && !own && !str_eq(authority, v->server_host))) {
        buf_append_str(b, url);
        return;
    }
    if (own && !str_empty(authority))
        buf_append_str(b, str_sub(url, 0, url.len - path.len));
    if (!str_has_prefix(path, v->prefix)) /* Else it is right already. */
        buf_append_str(b, v->prefix);
    buf_append_str(b, path);
}

/* --- HTML ------------------------------------------------------------------------------------- */

enum html_state {
    HTML_TEXT,
    HTML_TAG,     /* Behind '<': gathered in tag. */
    HTML_COMMENT, /* Until "-->" */
    HTML_RAW,     /* Within an element like script, until its end tag. */
    HTML_SKIP,    /* An overlong tag, until '>'. */
};

struct html_rewriter {
    const struct proxy_view *view;
    enum html_state state;
    struct buf tag;   /* From '<' on. */
    char quote;       /* Open in the tag; 0: none. */
    char raw[12];     /* The element of HTML_RAW, in lower case. */
    unsigned matched; /* Characters of "-->" or of "</name" seen in a row. */
};

struct html_rewriter *html_rewriter_new(const struct proxy_view *v)
{
    struct html_rewriter *h = xzalloc(sizeof(*h));
    h->view = v;
    return h;
}

void html_rewriter_free(struct html_rewriter *h)
{
    if (h == NULL)
        return;
    buf_done(&h->tag);
    free(h);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool name_is(struct str name, const char *what)
{
    return name.len == strlen(what) && strncasecmp(name.data, what, name.len) == 0;
}

/* Does this attribute of this element hold a URL? */
static bool holds_url(struct str element, struct str attribute)
{
    static const struct {
        const char *element;
        const char *attributes[5];
    } table[] = {{"a", {"href"}},
                 {"applet", {"codebase"}},
                 {"area", {"href"}},
                 {"audio", {"src"}},
                 {"base", {"href"}},
                 {"blockquote", {"cite"}},
                 {"body", {"background"}},
                 {"button", {"formaction"}},
                 {"command", {"icon"}},
                 {"del", {"cite"}},
                 {"embed", {"src"}},
                 {"form", {"action"}},
                 {"frame", {"longdesc", "src"}},
                 {"head", {"profile"}},
                 {"html", {"manifest"}},
                 {"iframe", {"longdesc", "src"}},
                 {"img", {"longdesc", "src", "usemap"}},
                 {"input", {"src", "usemap", "formaction"}},
                 {"ins", {"cite"}},
                 {"link", {"href"}},
                 {"object", {"classid", "codebase", "data", "usemap"}},
                 {"q", {"cite"}},
                 {"script", {"src"}},
                 {"source", {"src"}},
                 {"video", {"poster", "src"}}};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (!name_is(element, table[i].element))
            continue;
        for (size_t k = 0; table[i].attributes[k] != NULL; k++)
            if (name_is(attribute, table[i].attributes[k]))
                return true;
    }
    return false;
}

/* Takes the characters up to a space, '>' or one of stop off *rest. */
static struct str take_word(struct str *rest, const char *stop)
{
    size_t n = 0;
    while (n < rest->len && !is_space((uint8_t)rest->data[n]) && rest->data[n] != '>' &&
           strchr(stop, rest->data[n]) == NULL)
        n++;
    struct str word = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->len);
    return word;
}

static void copy(struct str *rest, size_t n, struct buf *b)
{
    buf_append_str(b, str_sub(*rest, 0, n));
    *rest = str_sub(*rest, n, rest->len);
}

static void copy_while(struct str *rest, bool (*wanted)(uint8_t c), struct buf *b)
{
    size_t n = 0;
    while (n < rest->len && wanted((uint8_t)rest->data[n]))
        n++;
    copy(rest, n, b);
}

static bool is_gap(uint8_t c)
{
    return is_space(c) || c == '/';
}

/* The value of an attribute, behind '='. */
static void rewrite_value(struct html_rewriter *h, bool url, struct str *rest, struct buf *b)
{
    struct str value;
    char quote =
        rest->len > 0 && (rest->data[0] == '"' || rest->data[0] == '\'') ? rest->data[0] : 0;
    if (quote != 0) {
        ptrdiff_t end = str_find(*rest, quote, 1);
        size_t n = end < 0 ? rest->len : (size_t)end;
        copy(rest, 1, b);
        value = str_sub(*rest, 0, n - 1);
        *rest = str_sub(*rest, n - 1, rest->len);
    } else {
        value = take_word(rest, "");
    }
    if (url)
        proxy_rewrite_url(h->view, value, b);
    else
        buf_append_str(b, value);
    if (quote != 0)
        copy(rest, MIN_OF(rest->len, (size_t)1), b);
}

/* A start tag, "<name ...>". */
static struct str rewrite_tag(struct html_rewriter *h, struct buf *b)
{
    struct str rest = buf_str(&h->tag);
    copy(&rest, 1, b);
    struct str element = take_word(&rest, "/");
    buf_append_str(b, element);
    for (;;) {
        copy_while(&rest, is_gap, b);
        if (rest.len == 0 || rest.data[0] == '>')
            break;
        struct str attribute = take_word(&rest, "=/");
        if (attribute.len == 0) { /* A stray '='. */
            copy(&rest, 1, b);
            continue;
        }
        buf_append_str(b, attribute);
        copy_while(&rest, is_space, b);
        if (rest.len == 0 || rest.data[0] != '=')
            continue;
        copy(&rest, 1, b);
        copy_while(&rest, is_space, b);
        rewrite_value(h, holds_url(element, attribute), &rest, b);
    }
    buf_append_str(b, rest);
    return element;
}

static void end_tag(struct html_rewriter *h, struct buf *b)
{
    /* What these hold is text, whatever it looks like. */
    static const char *const raw[] = {"iframe", "noembed", "noframes", "noscript", "plaintext",
                                      "script", "style",   "textarea", "title",    "xmp"};
    h->state = HTML_TEXT;
    uint8_t second = h->tag.len > 1 ? h->tag.data[1] : 0;
    if ((second | 0x20) < 'a' || (second | 0x20) > 'z') {
        buf_append(b, h->tag.data, h->tag.len); /* End tags, declarations. */
    } else {
        struct str element = rewrite_tag(h, b);
        for (size_t i = 0; i < ARRAY_SIZE(raw); i++)
            if (name_is(element, raw[i])) {
                memcpy(h->raw, raw[i], strlen(raw[i]) + 1);
                h->state = HTML_RAW;
                h->matched = 0;
            }
    }
    buf_clear(&h->tag);
}

/* One more character behind '<'. */
static void in_tag(struct html_rewriter *h, uint8_t c, struct buf *b)
{
    buf_putc(&h->tag, (char)c);
    if (h->tag.len == 2 && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '/' && c != '!' &&
        c != '?') {
        buf_append(b, h->tag.data, h->tag.len); /* A '<' that means itself. */
        buf_clear(&h->tag);
        h->state = HTML_TEXT;
    } else if (h->tag.len == 4 && memcmp(h->tag.data, "<!--", 4) == 0) {
        buf_append(b, h->tag.data, h->tag.len);
        buf_clear(&h->tag);
        h->state = HTML_COMMENT;
        h->matched = 2; /* "<!-->" is a whole comment. */
    } else if (h->quote != 0) {
        if (c == (uint8_t)h->quote)
            h->quote = 0;
    } else if (c == '>') {
        end_tag(h, b);
    } else if ((c == '"' || c == '\'') && h->tag.data[1] != '/' && h->tag.data[1] != '!') {
        /* Only a value can be quoted: the character before it, spaces aside, is '='. */
        size_t i = h->tag.len - 1;
        while (i > 0 && is_space(h->tag.data[i - 1]))
            i--;
        if (i > 0 && h->tag.data[i - 1] == '=')
            h->quote = (char)c;
    }
    if (h->tag.len > TAG_BYTES_MAX) {
        buf_append(b, h->tag.data, h->tag.len);
        buf_clear(&h->tag);
        h->quote = 0;
        h->state = HTML_SKIP;
    }
}

static void in_comment(struct html_rewriter *h, uint8_t c)
{
    if (c == '>' && h->matched >= 2)
        h->state = HTML_TEXT;
    h->matched = c == '-' ? h->matched + 1 : 0;
}

/* Waits for "</name". */
static void in_raw(struct html_rewriter *h, uint8_t c)
{
    size_t len = strlen(h->raw);
    uint8_t want = h->matched == 0 ? '<' : h->matched == 1 ? '/' : (uint8_t)h->raw[h->matched - 2];
    if (h->matched == len + 2) { /* The name must end here. */
        if (is_gap(c) || c == '>')
            h->state = c == '>' ? HTML_TEXT : HTML_SKIP;
        h->matched = c == '<';
    } else if (c == want || (h->matched >= 2 && (c | 0x20) == want)) {
        h->matched++;
    } else {
        h->matched = c == '<';
    }
}

void html_rewriter_push(struct html_rewriter *h, const void *data, size_t len, struct buf *b)
{
    const uint8_t *p = data;
    size_t plain = 0; /* Where the bytes begin that are copied as they are. */
    for (size_t i = 0; i < len; i++) {
        if (h->state == HTML_TAG) {
            in_tag(h, p[i], b);
            plain = i + 1;
            continue;
        }
        switch (h->state) {
        case HTML_TEXT:
            if (p[i] == '<') {
                buf_append(b, p + plain, i - plain);
                buf_putc(&h->tag, '<');
                h->state = HTML_TAG;
                h->quote = 0;
            }
            break;
        case HTML_COMMENT:
            in_comment(h, p[i]);
            break;
        case HTML_RAW:
            in_raw(h, p[i]);
            break;
        default:
            if (p[i] == '>')
                h->state = HTML_TEXT;
            break;
        }
    }
    if (h->state != HTML_TAG)
        buf_append(b, p + plain, len - plain);
}

void html_rewriter_end(struct html_rewriter *h, struct buf *b)
{
    buf_append(b, h->tag.data, h->tag.len);
    buf_clear(&h->tag);
}
