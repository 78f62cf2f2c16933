/* request_info.h - what a method and path ask for, in the API's terms. Pure. */
#ifndef APISERVER_REQUEST_INFO_H
#define APISERVER_REQUEST_INFO_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

struct request_info {
    bool is_resource; /* Below /api or /apis with a resource. */
    struct str path;  /* Unescaped. */
    const char *verb; /* get list watch create update patch delete deletecollection; else the method
                         in lower case. */
    struct str group; /* Empty for core. */
    struct str version;
    struct str ns;
    struct str resource;
    struct str subresource;
    struct str name;
    struct str selected_name;  /* Lists and watches: metadata.name of the field selector. */
    struct str field_selector; /* Lists, watches and collections to delete: as given. */
    struct str label_selector; /* The same. */
    struct str rest;           /* Path behind a proxy subresource, without leading '/'. */
    bool has_group_version;    /* /api/V or /apis/G/V matched. */
    size_t part_count;         /* Path segments behind the version. */
};

/* E_INVALID: a malformed escape. */
int request_info_parse(struct arena *a, struct str method, struct str escaped_path,
                       struct str query, struct request_info *ret);

/* What Go says of a text that is no duration ("time: ..."); NULL: it is one. */
const char *request_duration_error(struct arena *a, struct str text);

#endif
