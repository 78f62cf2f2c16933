/* openapi_params.c - see openapi_params.h.
 *
 * In v2 most are written once and referred to. dryRun and fieldValidation are
 * not: kubectl looks for them among an operation's own parameters. */
#include "apiserver/openapi_params.h"

#include "apiserver/openapi_defs.h"
#include "apiserver/openapi_writer.h"
#include "lib/api/json.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/pki.h"

struct param {
    const char *name, *type, *text;
    bool in_path;
    bool own; /* Never shared. */
};

#define PATH_TEXT "The part of the URL's path that the proxied server is asked for."
#define CONTAINER_TEXT "The container; it may be left out where the pod has only one."

static const struct param params[PARAM_COUNT] = {
    [PARAM_ALLOW_WATCH_BOOKMARKS] =
        {"allowWatchBookmarks", "boolean",
         "Send BOOKMARK events now and then, which tell how far a watch "
         "has come. For watches only."},
    [PARAM_BODY_DELETE] = {"body", NULL, NULL},
    [PARAM_BODY_OBJECT] = {"body", NULL, NULL},
    [PARAM_BODY_PATCH] = {"body", NULL, NULL},
    [PARAM_COMMAND] = {"command", "string",
                       "The command and its arguments, one parameter each. It is not run in a "
                       "shell."},
    [PARAM_CONTAINER_ATTACH] = {"container", "string", "To attach to. " CONTAINER_TEXT},
    [PARAM_CONTAINER_EXEC] = {"container", "string", "To run the command in. " CONTAINER_TEXT},
    [PARAM_CONTAINER_LOG] = {"container", "string", "Whose log to read. " CONTAINER_TEXT},
    [PARAM_CONTINUE] = {"continue", "string",
                        "Where the list before this one ended: its metadata.continue. All else "
                        "must be as in that request. 410 says that the token is too old."},
    [PARAM_DRY_RUN] = {"dryRun", "string",
                       "All: do everything but store the outcome. No other value is known.",
                       .own = true},
    [PARAM_FIELD_MANAGER] = {"fieldManager", "string",
                             "Who makes the change, for metadata.managedFields: printable, at most "
                             "128 characters."},
    [PARAM_FIELD_MANAGER_PATCH] =
        {"fieldManager", "string",
         "Who makes the change, for metadata.managedFields: printable, at "
         "most 128 characters. Apply patches must say it."},
    [PARAM_FIELD_SELECTOR] = {"fieldSelector", "string",
                              "Only objects whose fields match, such as spec.nodeName=n1."},
    [PARAM_FIELD_VALIDATION] = {"fieldValidation", "string",
                                "What to do about unknown and repeated fields: Ignore drops them, "
                                "Warn (the default) drops them and warns, Strict refuses the "
                                "request.",
                                .own = true},
    [PARAM_FOLLOW] = {"follow", "boolean", "Go on sending what is written from now on."},
    [PARAM_FORCE] = {"force", "boolean",
                     "Take fields over from other managers instead of failing. For apply patches "
                     "only."},
    [PARAM_GRACE_PERIOD_SECONDS] = {"gracePeriodSeconds", "integer",
                                    "How long the object may take to end, in seconds; 0 removes it "
                                    "at once. Without it the object's own period counts."},
    [PARAM_IGNORE_STORE_READ_ERROR] = {"ignoreStoreReadErrorWithClusterBreakingPotential",
                                       "boolean",
                                       "Delete even what cannot be read from the store, past "
                                       "finalizers and checks. Dangerous."},
    [PARAM_INSECURE_SKIP_TLS_VERIFY_BACKEND] = {"insecureSkipTLSVerifyBackend", "boolean",
                                                "Do not verify the certificate of the node that "
                                                "has the log."},
    [PARAM_LABEL_SELECTOR] = {"labelSelector", "string",
                              "Only objects whose labels match, such as app=web,tier!=test."},
    [PARAM_LIMIT] = {"limit", "integer",
                     "The most objects to return. When there are more, metadata.continue of the "
                     "answer leads to the next ones, of the same moment. Not for watches."},
    [PARAM_LIMIT_BYTES] = {"limitBytes", "integer", "The most bytes of the log to return."},
    [PARAM_NAME] = {"name", "string", NULL, .in_path = true, .own = true},
    [PARAM_NAMESPACE] = {"namespace", "string", "The namespace.", .in_path = true},
    [PARAM_ORPHAN_DEPENDENTS] = {"orphanDependents", "boolean",
                                 "Deprecated: give propagationPolicy. Whether what the object owns "
                                 "stays."},
    [PARAM_PATH_IN_PATH] = {"path", "string", PATH_TEXT, .in_path = true},
    [PARAM_PATH] = {"path", "string", PATH_TEXT},
    [PARAM_PORTS] = {"ports", "integer", "The ports to forward; WebSocket clients must say them."},
    [PARAM_PRETTY] = {"pretty", "string",
                      "true: indent the answer. The default for browsers and curl."},
    [PARAM_PREVIOUS] = {"previous", "boolean", "The log of the container's run before this one."},
    [PARAM_PROPAGATION_POLICY] =
        {"propagationPolicy", "string",
         "What happens to what the object owns: Orphan keeps it, Background "
         "deletes it afterwards, Foreground deletes it first."},
    [PARAM_RESOURCE_VERSION] =
        {"resourceVersion", "string",
         "Which state may be answered from: unset is the newest, 0 any, else "
         "one that is not older (see resourceVersionMatch). A watch starts "
         "behind it."},
    [PARAM_RESOURCE_VERSION_MATCH] = {"resourceVersionMatch", "string",
                                      "How resourceVersion counts in a list: NotOlderThan or "
                                      "Exact."},
    [PARAM_SEND_INITIAL_EVENTS] =
        {"sendInitialEvents", "boolean",
         "Begin a watch with an ADDED event for each object, and a bookmark "
         "behind them. Needs resourceVersionMatch=NotOlderThan."},
    [PARAM_SINCE_SECONDS] = {"sinceSeconds", "integer", "Only lines of the last so many seconds."},
    [PARAM_STDERR] = {"stderr", "boolean", "Carry standard error."},
    [PARAM_STDIN] = {"stdin", "boolean", "Carry standard input."},
    [PARAM_STDOUT] = {"stdout", "boolean", "Carry standard output."},
    [PARAM_STREAM] = {"stream", "string", "Which output: All, Stdout or Stderr."},
    [PARAM_TAIL_LINES] = {"tailLines", "integer", "Only so many lines from the log's end."},
    [PARAM_TIMEOUT_SECONDS] = {"timeoutSeconds", "integer",
                               "Ends the list or watch after so many seconds."},
    [PARAM_TIMESTAMPS] = {"timestamps", "boolean", "Begin each line with its time."},
    [PARAM_TTY] = {"tty", "boolean", "Give the process a terminal."},
    [PARAM_WATCH] = {"watch", "boolean",
                     "Answer with a stream of ADDED, MODIFIED and DELETED events instead of a "
                     "list."},
};

static bool is_body(enum openapi_param p)
{
    return (PARAM_BIT(p) & PARAMS_BODY) != 0;
}

static void put_ref(enum openapi_version version, struct str name, struct buf *out)
{
    buf_printf(out, "{\"$ref\":\"%s" STR_FMT "\"}", openapi_ref_prefix(version), STR_ARG(name));
}

static void put_body(const struct openapi_param_context *c, bool required, struct buf *out)
{
    buf_printf(out, "{\"in\":\"body\",\"name\":\"body\",%s\"schema\":",
               required ? "\"required\":true," : "");
    put_ref(c->version, c->body, out);
    buf_putc(out, '}');
}

static void put_one(const struct openapi_param_context *c, enum openapi_param p, struct buf *out)
{
    const struct param *x = &params[p];
    if (is_body(p)) {
        put_body(c, p != PARAM_BODY_DELETE, out);
        return;
    }
    buf_puts(out, "{\"description\":");
    if (p == PARAM_NAME)
        buf_printf(out, "\"Which %s: its name.\"", c->kind);
    else
        json_write_string(str_of(x->text), out);
    buf_printf(out, ",\"in\":\"%s\",\"name\":\"%s\"%s,", x->in_path ? "path" : "query", x->name,
               x->in_path ? ",\"required\":true" : "");
    buf_printf(out,
               c->version == OPENAPI_V2 ? "\"type\":\"%s\",\"uniqueItems\":true}"
                                        : "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}",
               x->type);
}

static bool is_shared(enum openapi_param p)
{
    return p != PARAM_BODY_OBJECT && !params[p].own;
}

/* "limit-1NfNmdNH": the name and a hash of what it stands for, so that a
 * change of meaning changes it. */
static void put_shared_name(enum openapi_param p, struct buf *out)
{
    uint8_t sum[32];
    char text[9];
    struct str name = str_of(params[p].name);
    const char *what = is_body(p)               ? p == PARAM_BODY_DELETE ? "delete" : "patch"
                       : params[p].text == NULL ? params[p].name
                                                : params[p].text;
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s %d %s", params[p].name, params[p].in_path ? 1 : 0, what);
    net_sha256(b.data, b.len, sum);
    buf_done(&b);
    base64_encode_to(BASE64_RAW_URL, sum, 6, text);
    buf_printf(out, STR_FMT "-%.8s", STR_ARG(name), text);
}

void openapi_params_put(const struct openapi_param_context *c, openapi_params set, struct buf *out)
{
    bool any = false;
    buf_putc(out, '[');
    for (enum openapi_param p = 0; p < PARAM_COUNT; p++) {
        if ((set & PARAM_BIT(p)) == 0 || (c->version == OPENAPI_V3 && is_body(p)))
            continue;
        if (any)
            buf_putc(out, ',');
        any = true;
        if (c->version == OPENAPI_V2 && is_shared(p)) {
            buf_puts(out, "{\"$ref\":\"#/parameters/");
            put_shared_name(p, out);
            buf_puts(out, "\"}");
        } else
            put_one(c, p, out);
    }
    buf_putc(out, ']');
}

void openapi_params_write(openapi_params used, struct str delete_body, struct str patch_body,
                          struct openapi_writer *w)
{
    AUTO_BUF name = BUF_INIT;
    AUTO_BUF json = BUF_INIT;
    openapi_writer_section(w, OPENAPI_PARAMETERS);
    for (enum openapi_param p = 0; p < PARAM_COUNT; p++) {
        if ((used & PARAM_BIT(p)) == 0 || !is_shared(p))
            continue;
        struct openapi_param_context c = {
            .version = OPENAPI_V2, .body = p == PARAM_BODY_DELETE ? delete_body : patch_body};
        buf_clear(&name);
        buf_clear(&json);
        put_shared_name(p, &name);
        put_one(&c, p, &json);
        openapi_writer_item(w, buf_str(&name), buf_str(&json));
    }
}
