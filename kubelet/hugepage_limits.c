/* hugepage_limits.c - see hugepage_limits.h. */
#include "kubelet/hugepage_limits.h"

#include "kubelet/resources.h"

#include "api/core_v1.h"
#include "lib/api/quantity.h"
#include "lib/base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "hugepages-"

/* --- of a pod -------------------------------------------------------------------------------- */

static int64_t *size_of(struct hugepage_limits *l, int64_t page_bytes)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->sizes[i].page_bytes == page_bytes)
            return &l->sizes[i].bytes;
    if (l->count == HUGEPAGE_LIMITS_MAX)
        return NULL;
    l->sizes[l->count].page_bytes = page_bytes;
    l->sizes[l->count].bytes = 0;
    return &l->sizes[l->count++].bytes;
}

/* What the limits of one container, or of the pod, say. */
static void read_limits(const struct core_v1_resource_requirements *r, struct hugepage_limits *ret)
{
    *ret = (struct hugepage_limits){0};
    for (size_t i = 0; i < r->limits_count; i++) {
        struct str name = r->limits[i].key;
        struct quantity page, amount = quantity_of(&r->limits[i].value);
        if (!str_has_prefix(name, STR(PREFIX)) ||
            quantity_parse(str_sub(name, strlen(PREFIX), name.len), &page, NULL) != 0)
            continue;
        int64_t *bytes = size_of(ret, quantity_value(&page));
        if (bytes != NULL)
            *bytes += MAX_OF(quantity_value(&amount), (int64_t)0);
    }
}

static void add(struct hugepage_limits *l, const struct hugepage_limits *x)
{
    for (size_t i = 0; i < x->count; i++) {
        int64_t *bytes = size_of(l, x->sizes[i].page_bytes);
        if (bytes != NULL && __builtin_add_overflow(*bytes, x->sizes[i].bytes, bytes))
            *bytes = INT64_MAX;
    }
}

static void widen(struct hugepage_limits *l, const struct hugepage_limits *x)
{
    for (size_t i = 0; i < x->count; i++) {
        int64_t *bytes = size_of(l, x->sizes[i].page_bytes);
        if (bytes != NULL)
            *bytes = MAX_OF(*bytes, x->sizes[i].bytes);
    }
}

void hugepage_limits_of_pod(const struct core_v1_pod *pod, struct hugepage_limits *ret)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    struct hugepage_limits all = {0}, init = {0}, sidecars = {0}, one;
    for (size_t i = 0; i < spec->containers_count; i++) {
        read_limits(&spec->containers[i].resources, &one);
        add(&all, &one);
    }
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        read_limits(&spec->init_containers[i].resources, &one);
        if (container_is_sidecar(&spec->init_containers[i])) {
            add(&all, &one);
            add(&sidecars, &one);
            widen(&init, &sidecars);
        } else {
            add(&one, &sidecars);
            widen(&init, &one);
        }
    }
    widen(&all, &init);
    if (spec->resources != NULL) {
        read_limits(spec->resources, &one);
        for (size_t i = 0; i < one.count; i++) {
            int64_t *bytes = size_of(&all, one.sizes[i].page_bytes);
            if (bytes != NULL)
                *bytes = one.sizes[i].bytes;
        }
    }
    all.set = true;
    *ret = all;
}

/* --- the controller -------------------------------------------------------------------------- */

void hugepage_size_name(int64_t page_bytes, char ret[HUGEPAGE_NAME_MAX])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    for (; page_bytes >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
        page_bytes /= 1024;
    snprintf(ret, HUGEPAGE_NAME_MAX, "%lld%s", (long long)page_bytes, units[unit]);
}

/* The limit for "hugetlb.2MB.max" or "hugetlb.2MB.rsvd.max"; -1: it is another file. */
static int64_t limit_for(const char *file, bool v2, const struct hugepage_limits *l)
{
    struct str prefix, size, rest;
    if (!str_cut(str_of(file), '.', &prefix, &rest) || !str_eqc(prefix, "hugetlb") ||
        !str_cut(rest, '.', &size, &rest))
        return -1;
    if (str_has_prefix(rest, STR("rsvd.")))
        rest = str_sub(rest, strlen("rsvd."), rest.len);
    if (!str_eqc(rest, v2 ? "max" : "limit_in_bytes"))
        return -1;
    for (size_t i = 0; i < l->count; i++) {
        char name[HUGEPAGE_NAME_MAX];
        hugepage_size_name(l->sizes[i].page_bytes, name);
        if (str_eqc(size, name))
            return l->sizes[i].bytes;
    }
    return 0;
}

static int write_limit(const char *dir, const char *file, int64_t bytes, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, file);
    char text[32];
    int n = snprintf(text, sizeof(text), "%lld", (long long)bytes);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", path);
    ssize_t written = write(fd, text, (size_t)n);
    int saved = errno;
    close(fd);
    return written == n ? 0 : error_set_errno(err, E_IO, saved, "write %s to %s", text, path);
}

int hugepage_limits_write(const char *dir, bool v2, const struct hugepage_limits *l,
                          struct error *err)
{
    if (!l->set)
        return 0;
    DIR *d = opendir(dir);
    if (d == NULL)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", dir);
    int rc = 0;
    for (struct dirent *e = readdir(d); rc == 0 && e != NULL; e = readdir(d)) {
        int64_t bytes = limit_for(e->d_name, v2, l);
        if (bytes >= 0)
            rc = write_limit(dir, e->d_name, bytes, err);
    }
    closedir(d);
    return rc;
}
