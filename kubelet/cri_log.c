/* cri_log.c - see cri_log.h. */
#include "kubelet/cri_log.h"

#include "lib/base/base.h"

static bool digits(struct str s, size_t at, size_t n, int *ret)
{
    int v = 0;
    if (at + n > s.len)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        v = v * 10 + (s.data[i] - '0');
    }
    *ret = v;
    return true;
}

/* Days since 1970-01-01 of a Gregorian date. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

/* The part behind the seconds: an optional fraction. */
static bool parse_fraction(struct str s, size_t *at, int64_t *ret_ns)
{
    *ret_ns = 0;
    if (*at >= s.len || s.data[*at] != '.')
        return true;
    int64_t scale = 100000000;
    size_t i = *at + 1, start = i;
    for (; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
        *ret_ns += (s.data[i] - '0') * scale;
        scale /= 10;
    }
    *at = i;
    return i > start;
}

static bool parse_zone(struct str s, size_t at, int64_t *ret_seconds)
{
    int h, m;
    if (at + 1 == s.len && (s.data[at] == 'Z' || s.data[at] == 'z')) {
        *ret_seconds = 0;
        return true;
    }
    if (at + 6 != s.len || (s.data[at] != '+' && s.data[at] != '-') || s.data[at + 3] != ':' ||
        !digits(s, at + 1, 2, &h) || !digits(s, at + 4, 2, &m))
        return false;
    *ret_seconds = (s.data[at] == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

bool cri_log_parse_time(struct str s, int64_t *ret_ns)
{
    int y, mo, d, h, mi, sec;
    int64_t ns, zone;
    size_t at = 19;
    if (s.len < 20 || !digits(s, 0, 4, &y) || s.data[4] != '-' || !digits(s, 5, 2, &mo) ||
        s.data[7] != '-' || !digits(s, 8, 2, &d) || (s.data[10] != 'T' && s.data[10] != 't') ||
        !digits(s, 11, 2, &h) || s.data[13] != ':' || !digits(s, 14, 2, &mi) || s.data[16] != ':' ||
        !digits(s, 17, 2, &sec))
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 60)
        return false;
    if (!parse_fraction(s, &at, &ns) || !parse_zone(s, at, &zone))
        return false;
    int64_t seconds = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - zone;
    if (seconds > INT64_MAX / 1000000000 - 1 || seconds < INT64_MIN / 1000000000 + 1)
        return false;
    *ret_ns = seconds * 1000000000 + ns;
    return true;
}

bool cri_log_parse(struct str line, struct cri_log_line *ret)
{
    struct str stamp, stream, tag, rest;
    if (line.len > 0 && line.data[line.len - 1] == '\n')
        line.len--;
    if (!str_cut(line, ' ', &stamp, &rest) || !str_cut(rest, ' ', &stream, &rest))
        return false;
    /* An empty text may come without the blank in front of it. */
    str_cut(rest, ' ', &tag, &ret->text);
    if (!cri_log_parse_time(stamp, &ret->time_ns))
        return false;
    if (str_eqc(stream, "stdout"))
        ret->is_stderr = false;
    else if (str_eqc(stream, "stderr"))
        ret->is_stderr = true;
    else
        return false;
    /* Tags are separated by colons; the first says whether the line is whole. */
    struct str first, more;
    str_cut(tag, ':', &first, &more);
    if (!str_eqc(first, "P") && !str_eqc(first, "F"))
        return false;
    ret->partial = str_eqc(first, "P");
    ret->stamp = stamp;
    return true;
}

ptrdiff_t cri_log_tail(struct str data, uint64_t n, uint64_t *found)
{
    for (size_t i = data.len; i > 0; i--) {
        if (data.data[i - 1] != '\n')
            continue;
        /* The end of line n+1 from the back is where the last n start. */
        if (*found == n)
            return (ptrdiff_t)i;
        (*found)++;
    }
    return -1;
}
