/* formats.c - the OpenAPI formats of strings that upstream checks; see
 * validate.h. Names count without dashes: date-time is datetime. */
#include "apiserver/custom/validate.h"

#include "apiserver/validate.h"
#include "lib/api/names.h"
#include "lib/api/structural.h"
#include "lib/base/encode.h"
#include "lib/base/buf.h"

#include <pthread.h>
#include <stdio.h>

#define UUID_OF(v) "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?" v "[0-9a-fA-F]{3}-?"

static bool is_ip(struct str s, bool want_v4)
{
    uint8_t bytes[16];
    bool v4;
    return ip_parse(s, bytes, &v4) && v4 == want_v4;
}

static bool is_ipv4(struct str s)
{
    return is_ip(s, true);
}

static bool is_ipv6(struct str s)
{
    return is_ip(s, false);
}

static bool is_cidr(struct str s)
{
    uint8_t bytes[16];
    bool v4;
    unsigned prefix;
    return cidr_parse(s, bytes, &v4, &prefix);
}

static bool is_byte(struct str s)
{
    AUTO_BUF out = BUF_INIT;
    return base64_decode(BASE64_STD, s, &out) == 0;
}

static bool days_fit(struct str s)
{
    static const unsigned days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;
    if (sscanf(str_c(s), "%4u-%2u-%2u", &year, &month, &day) != 3 || month < 1 || month > 12)
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] && (month != 2 || day != 29 || leap);
}

static bool is_password(struct str s)
{
    UNUSED(s);
    return true;
}

/* By function, or by pattern (and then by function as well, where both are given). */
static struct {
    const char *name, *pattern;
    bool (*holds)(struct str s);
    struct pattern *compiled;
} formats[] = {
    {"bsonobjectid", "^[0-9a-fA-F]{24}$", NULL, NULL},
    {"uri", "^[a-zA-Z][a-zA-Z0-9+.-]*:[^\\s]+$|^/[^\\s]*$", NULL, NULL},
    {"email", "^[^@\\s<>]+@[^@\\s<>]+$", NULL, NULL},
    {"hostname",
     "^([a-zA-Z0-9\\p{L}\\p{S}]([a-zA-Z0-9\\p{L}\\p{S}-]{0,61}[a-zA-Z0-9\\p{L}\\p{S}])?)"
     "(\\.[a-zA-Z0-9\\p{L}\\p{S}]([a-zA-Z0-9\\p{L}\\p{S}-]{0,61}[a-zA-Z0-9\\p{L}\\p{S}])?)*\\.?$",
     NULL, NULL},
    {"ipv4", NULL, is_ipv4, NULL},
    {"ipv6", NULL, is_ipv6, NULL},
    {"cidr", NULL, is_cidr, NULL},
    {"mac", "^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}([:-][0-9a-fA-F]{2}){0,14}$", NULL, NULL},
    {"uuid", UUID_OF("[0-9a-fA-F]") "[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$", NULL, NULL},
    {"uuid3", UUID_OF("3") "[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$", NULL, NULL},
    {"uuid4", UUID_OF("4") "[89abAB][0-9a-fA-F]{3}-?[0-9a-fA-F]{12}$", NULL, NULL},
    {"uuid5", UUID_OF("5") "[89abAB][0-9a-fA-F]{3}-?[0-9a-fA-F]{12}$", NULL, NULL},
    {"isbn", "^(97[89][- ]?)?([0-9][- ]?){9}[0-9X]$", NULL, NULL},
    {"isbn10", "^([0-9][- ]?){9}[0-9X]$", NULL, NULL},
    {"isbn13", "^([0-9][- ]?){12}[0-9]$", NULL, NULL},
    {"creditcard", "^([0-9][- ]?){12,18}[0-9]$", NULL, NULL},
    {"ssn", "^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$", NULL, NULL},
    {"hexcolor", "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", NULL, NULL},
    {"rgbcolor", "^rgb\\(\\s*(\\d{1,3}%?)\\s*,\\s*(\\d{1,3}%?)\\s*,\\s*(\\d{1,3}%?)\\s*\\)$", NULL,
     NULL},
    {"byte", NULL, is_byte, NULL},
    {"password", NULL, is_password, NULL},
    {"date", "^\\d{4}-\\d{2}-\\d{2}$", days_fit, NULL},
    {"duration",
     "^[-+]?((\\d+(\\.\\d*)?|\\.\\d+)\\s*(ns|us|µs|ms|s|m|h|d|w|"
     "nanos?|nanoseconds?|micros?|microseconds?|millis?|milliseconds?|secs?|seconds?|mins?|"
     "minutes?|hours?|hrs?|days?|weeks?|wks?)\\s*)+$|^0$",
     NULL, NULL},
    {"datetime",
     "^\\d{4}-\\d{2}-\\d{2}[tT ]([01]\\d|2[0-3]):[0-5]\\d:([0-5]\\d|60)(\\.\\d+)?"
     "([zZ]|[-+]\\d{2}:?\\d{2})$",
     days_fit, NULL},
    {"k8sshortname", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", NULL, NULL},
    {"k8slongname", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", NULL,
     NULL},
};

static void compile_all(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (formats[i].pattern != NULL) {
            formats[i].compiled = pattern_new(str_of(formats[i].pattern), NULL);
            ASSERT(formats[i].compiled != NULL);
        }
}

static bool same_name(struct str format, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] == '-')
            continue;
        if (name[n] != format.data[i])
            return false;
        n++;
    }
    return name[n] == '\0';
}

bool custom_format_known(struct str format)
{
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (same_name(format, formats[i].name))
            return true;
    return false;
}

bool custom_format_holds(struct str format, struct str text)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, compile_all);
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
        if (same_name(format, formats[i].name))
            return (formats[i].compiled == NULL || pattern_matches(formats[i].compiled, text)) &&
                   (formats[i].holds == NULL || formats[i].holds(text));
    return true;
}
