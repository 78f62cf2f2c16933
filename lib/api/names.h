/* names.h - the forms of names that Kubernetes knows, with upstream's words for
 * what is wrong. Pure; messages are static. */
#ifndef API_NAMES_H
#define API_NAMES_H

#include "lib/base/str.h"

/* Faults of one text, worst cases first as upstream lists them. */
struct api_faults {
    const char *items[5];
    size_t count; /* 0: the text is good. */
};

struct api_faults api_check_dns_label(struct str s);          /* RFC 1123 label, 63 */
struct api_faults api_check_dns_subdomain(struct str s);      /* RFC 1123 subdomain, 253 */
struct api_faults api_check_dns1035_label(struct str s);      /* Begins with a letter. */
struct api_faults api_check_wildcard_subdomain(struct str s); /* "*.example.com" */
struct api_faults api_check_qualified_name(struct str s);     /* [prefix/]name: label keys */
struct api_faults api_check_label_value(struct str s);
struct api_faults api_check_config_key(struct str s); /* Of ConfigMaps and Secrets. */
struct api_faults api_check_env_name(struct str s);   /* Printable ASCII but '='. */
struct api_faults api_check_port_name(struct str s);  /* IANA service name, 15 */
struct api_faults api_check_condition_reason(struct str s);
struct api_faults api_check_c_identifier(struct str s);
struct api_faults api_check_percent(struct str s);      /* "30%" */
struct api_faults api_check_path_segment(struct str s); /* Any name that can stand in a URL. */

#endif
