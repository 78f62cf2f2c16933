/* test_flags.c - the command line as pflag reads it. */
#include "lib/base/flags.h"

#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>

static struct {
    const char *address;
    const char *namespace;
    bool verbose, interactive, tty;
    int64_t port;
    double rate;
    int64_t period_ns;
    struct flag_list servers, args, gates;
    const char *dry_run;
} opt;

static int refuse_even(const char *value, void *arg, struct error *err)
{
    if (strlen(value) % 2 == 0)
        return error_set(err, E_INVALID, "even length");
    *(const char **)arg = value;
    return 0;
}

static struct flag_set *make_flags(void)
{
    static const char *odd;
    static const char *const SERVERS[] = {"default"};
    memset(&opt, 0, sizeof(opt));
    opt.address = "0.0.0.0";
    opt.port = 6443;
    opt.period_ns = 90LL * 1000000000;
    opt.servers = (struct flag_list){(const char **)(uintptr_t)SERVERS, 1};
    struct flag_set *f = flag_set_new("prog [flags]");
    flag_string(f, &opt.address, "bind-address", "The `address` to listen on.");
    flag_string(f, &opt.namespace, "namespace,n", "Namespace.");
    flag_bool(f, &opt.verbose, "verbose", "More output.");
    flag_bool(f, &opt.interactive, "stdin,i", "Pass stdin.");
    flag_bool(f, &opt.tty, "tty,t", "Allocate a terminal.");
    flag_int(f, &opt.port, "secure-port", "Port.");
    flag_float(f, &opt.rate, "qps", "Rate.");
    flag_duration(f, &opt.period_ns, "period", "Period.");
    flag_strings(f, &opt.servers, "servers", "Servers.");
    flag_string_array(f, &opt.args, "arg", "Argument.");
    flag_map(f, &opt.gates, "feature-gates", "Gates.");
    flag_string(f, &opt.dry_run, "dry-run", "Dry run.");
    flag_no_value(f, "dry-run", "unchanged");
    flag_func(f, "odd", "Odd.", refuse_even, &odd);
    flag_ignored(f, "logtostderr", false, NULL);
    return f;
}

#define PARSE(f, err, ...)                                                                         \
    flag_set_parse((f), (int)ARRAY_SIZE(((char *[]){(char *)"prog", __VA_ARGS__})),                \
                   (char *[]){(char *)"prog", __VA_ARGS__}, (err))
#define ARG(text) ((char *)(uintptr_t)(text))

/* Every form of giving a value, and arguments between flags. */
START_TEST(forms)
{
    struct flag_set *f = make_flags();
    struct error err = {0};
    int code = PARSE(f, &err, ARG("--bind-address=::"), ARG("first"), ARG("--secure-port"),
                     ARG("0x10"), ARG("-it"), ARG("-nkube-system"), ARG("--verbose=false"),
                     ARG("--period"), ARG("1m30.5s"), ARG("--qps=2.5"), ARG("--dry-run"),
                     ARG("--logtostderr"), ARG("--"), ARG("--verbose"));
    ck_assert_msg(code == 0, "%s", err.message);
    ck_assert_str_eq(opt.address, "::");
    ck_assert_str_eq(opt.namespace, "kube-system");
    ck_assert(opt.interactive && opt.tty && !opt.verbose);
    ck_assert_int_eq(opt.port, 16);
    ck_assert_int_eq(opt.period_ns, 90500000000LL);
    ck_assert_str_eq(opt.dry_run, "unchanged");
    ck_assert(flag_changed(f, "verbose") && !flag_changed(f, "servers"));
    size_t count;
    const char *const *args = flag_set_args(f, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(args[0], "first");
    ck_assert_str_eq(args[1], "--verbose");
    flag_set_free(f);
}
END_TEST

/* Lists drop their default and add up; maps want key=value. */
START_TEST(lists)
{
    struct flag_set *f = make_flags();
    struct error err = {0};
    ck_assert_int_eq(PARSE(f, &err, ARG("--servers=a,b"), ARG("--servers"), ARG("c"),
                           ARG("--arg=x,y"), ARG("--arg=z"), ARG("--feature-gates=A=true,B=false")),
                     0);
    ck_assert_uint_eq(opt.servers.count, 3);
    ck_assert_str_eq(opt.servers.items[2], "c");
    ck_assert_uint_eq(opt.args.count, 2);
    ck_assert_str_eq(opt.args.items[0], "x,y");
    ck_assert_uint_eq(opt.gates.count, 2);
    ck_assert_int_eq(PARSE(f, &err, ARG("--feature-gates=A")), E_INVALID);
    flag_set_free(f);
}
END_TEST

static void check_error(const char *a, const char *b, const char *text)
{
    struct flag_set *f = make_flags();
    struct error err = {0};
    int code = b == NULL ? PARSE(f, &err, ARG(a)) : PARSE(f, &err, ARG(a), ARG(b));
    ck_assert_int_eq(code, E_INVALID);
    ck_assert_str_eq(err.message, text);
    flag_set_free(f);
}

/* Errors read as pflag's. */
START_TEST(errors)
{
    check_error("--nope", NULL, "unknown flag: --nope");
    check_error("-x", NULL, "unknown shorthand flag: 'x' in -x");
    check_error("--namespace", NULL, "flag needs an argument: --namespace");
    check_error("-n", NULL, "flag needs an argument: 'n' in -n");
    check_error("--secure-port", "1x",
                "invalid argument \"1x\" for \"--secure-port\" flag: strconv.ParseInt: parsing "
                "\"1x\": invalid syntax");
    check_error("--tty=maybe", NULL,
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing "
                "\"maybe\": invalid syntax");
    check_error("--period=1y", NULL,
                "invalid argument \"1y\" for \"--period\" flag: time: invalid duration \"1y\"");
    check_error("--odd=aa", NULL, "invalid argument \"aa\" for \"--odd\" flag: even length");
    struct flag_set *f = make_flags();
    ck_assert_int_eq(PARSE(f, NULL, ARG("--help")), E_EOF);
    ck_assert_int_eq(PARSE(f, NULL, ARG("-h")), E_EOF);
    flag_set_free(f);
}
END_TEST

/* The help names values, defaults and short forms, and leaves out what is hidden. */
START_TEST(help)
{
    struct flag_set *f = make_flags();
    AUTO_BUF b = BUF_INIT;
    flag_set_help(f, &b);
    buf_putc(&b, '\0');
    const char *text = (const char *)b.data;
    ck_assert_ptr_nonnull(strstr(text, "--bind-address address"));
    ck_assert_ptr_nonnull(strstr(text, "(default \"0.0.0.0\")"));
    ck_assert_ptr_nonnull(strstr(text, "  -n, --namespace string"));
    ck_assert_ptr_nonnull(strstr(text, "(default 1m30s)"));
    ck_assert_ptr_nonnull(strstr(text, "(default [default])"));
    ck_assert_ptr_null(strstr(text, "logtostderr"));
    flag_set_free(f);
}
END_TEST

/* Durations as Go parses and prints them. */
START_TEST(durations)
{
    static const struct {
        const char *in;
        int64_t ns;
        const char *out;
    } CASES[] = {
        {"0", 0, "0s"},
        {"1h", 3600000000000LL, "1h0m0s"},
        {"1m30s", 90000000000LL, "1m30s"},
        {"1.5h", 5400000000000LL, "1h30m0s"},
        {"-10s", -10000000000LL, "-10s"},
        {"500ms", 500000000LL, "500ms"},
        {"1.25ms", 1250000, "1.25ms"},
        {"10us", 10000, "10\xc2\xb5s"},
        {"7ns", 7, "7ns"},
        {".5s", 500000000, "500ms"},
        {"1h2m3.004s", 3723004000000LL, "1h2m3.004s"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        int64_t ns = -1;
        AUTO_BUF b = BUF_INIT;
        ck_assert_int_eq(duration_parse(str_of(CASES[i].in), &ns), 0);
        ck_assert_int_eq(ns, CASES[i].ns);
        duration_print(ns, &b);
        ck_assert(str_eqc(buf_str(&b), CASES[i].out));
    }
    static const char *const BAD[] = {"", "1", "s", "1x", ".", "-", "1s1", "99999999999h", ".s"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        int64_t ns;
        ck_assert_msg(duration_parse(str_of(BAD[i]), &ns) == E_INVALID, "%s", BAD[i]);
    }
}
END_TEST

UNIT_MAIN("flags", UNIT_TEST(forms); UNIT_TEST(lists); UNIT_TEST(errors); UNIT_TEST(help);
          UNIT_TEST(durations))
