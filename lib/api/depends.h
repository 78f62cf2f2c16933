/* depends.h - what a pod declares to depend on: the annotations of isolation between applications.
 *
 *   trireme.io/depends-on: "db, payments/ledger:https, 10.20.0.0/16:5432, internet:443/udp"
 *   trireme.io/wait-for-dependencies: "true"
 *
 * Pure; read alike by the API server, the node agent and the command line. Entries stand between
 * commas or white space; an empty text is a declaration too: of nothing.
 *
 *   entry    = service / range / internet
 *   service  = [ namespace "/" ] name [ ":" port ]    port: a number or the name of a Service's
 * port range    = cidr [ ":" number [ "/" protocol ] ]    protocol: tcp (default), udp, sctp
 *   internet = "internet" [ ":" number [ "/" protocol ] ]
 *
 * What stands before the first "/" is no namespace when it has a "." or a ":", which names cannot.
 */
#ifndef API_DEPENDS_H
#define API_DEPENDS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct meta_v1_object_meta;

#define DEPENDS_ON "trireme.io/depends-on"
#define DEPENDS_WAIT "trireme.io/wait-for-dependencies"
/* A label of Namespaces: "declared" or "audit". */
#define DEPENDS_ISOLATION "trireme.io/isolation"
/* Of a pod: whether its dependencies had ready endpoints when it was to start. */
#define DEPENDS_CONDITION "trireme.io/DependenciesReady"
#define DEPENDS_MAX 128u /* Entries of one declaration. */

enum dependency_type { DEPEND_SERVICE, DEPEND_RANGE, DEPEND_INTERNET };

struct dependency {
    enum dependency_type type;
    struct str text;       /* As written, without a protocol that is the default. */
    struct str namespace_; /* Service: "" for the pod's own. */
    struct str name;       /* Service. */
    struct str port_name;  /* Service; "" for all ports, or one by its number. */
    struct str range;      /* Range: canonical, host bits are 0. */
    bool v6;               /* Range. */
    uint16_t port;         /* 0: all. */
    const char *protocol;  /* Range, internet: "tcp", "udp", "sctp"; NULL with all ports. */
};

struct dependencies {
    bool declared; /* The pod has the annotation. */
    bool wait;
    struct dependency *items;
    size_t count;
};

/* A text to its entries, which live in a and borrow from it. E_INVALID: names the entry and what it
 * would have to be; what stands before the entry is in *ret all the same. */
int depends_parse(struct arena *a, struct str text, struct dependencies *ret, struct error *err);
/* "true" or "false". */
int depends_parse_wait(struct str text, bool *ret, struct error *err);
/* Both annotations of a pod. On an error what could be read is in *ret: less is reached. */
int depends_of(struct arena *a, const struct meta_v1_object_meta *m, struct dependencies *ret,
               struct error *err);

#endif
