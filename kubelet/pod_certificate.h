/* pod_certificate.h - one podCertificate source of one pod: what it has, and what is asked for.
 * Pure; times are seconds of the wall clock.
 *
 *   nothing ---asked---> waiting --issued--> has one --refresh_s--> asked for the next
 *                           |                   ^                        |
 *                           |                   +--------- issued -------+
 *                           +--> refused (for good) <--------------------+
 *
 * A request that nobody knows any more, and that is old, is made anew. */
#ifndef KUBELET_POD_CERTIFICATE_H
#define KUBELET_POD_CERTIFICATE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct certificates_v1beta1_pod_certificate_request;
struct error;

struct pod_certificate {
    char *key, *chain; /* PEM, owned; NULL: none yet. */
    int64_t refresh_s, not_after_s;
    char *asked_key, *asked_name; /* Of the request under way, owned; NULL: none. */
    int64_t abandon_s;            /* When an unknown request counts as deleted. */
    char *refused;                /* Why nothing more comes, owned. */
    int64_t began_s;              /* When the first was asked for. */
};

enum certificate_news { CERTIFICATE_SAME, CERTIFICATE_ISSUED, CERTIFICATE_REFUSED };

void pod_certificate_done(struct pod_certificate *c);
bool pod_certificate_wants(const struct pod_certificate *c, int64_t now_s);
/* name and key are taken over. jitter_s spreads what many nodes do at one time. */
void pod_certificate_asked(struct pod_certificate *c, char *name, char *key, int64_t now_s,
                           int64_t jitter_s);
/* The request under way as it is now; NULL: it is not there. */
enum certificate_news
pod_certificate_seen(struct pod_certificate *c,
                     const struct certificates_v1beta1_pod_certificate_request *request,
                     int64_t now_s, int64_t jitter_s);
/* Texts in a. E_AGAIN: it comes in a moment; E_NOT_FOUND: it takes long; E_INVALID: refused. */
int pod_certificate_read(const struct pod_certificate *c, int64_t now_s, struct arena *a,
                         struct str *ret_key, struct str *ret_chain, struct error *err);

#endif
