/* config_fields.h - the fields of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1), and the
 * flags that they are. Names and types are upstream's. */
#ifndef KUBELET_CONFIG_FIELDS_H
#define KUBELET_CONFIG_FIELDS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

enum config_type {
    CONFIG_BOOLEAN,
    CONFIG_INTEGER, /* 32 bits, */
    CONFIG_LONG,    /* 64 bits. */
    CONFIG_NUMBER,
    CONFIG_TEXT,
    CONFIG_DURATION, /* "1m30s" */
    CONFIG_TEXTS,
    CONFIG_INTEGERS,
    CONFIG_MAP,      /* Texts by name, for a flag "name=value". */
    CONFIG_MAP_LESS, /* The same, for a flag "name<value". */
    CONFIG_SWITCHES, /* Booleans by name. */
    CONFIG_OBJECT,   /* Its members have rows of their own. */
    CONFIG_ANY,      /* An object that means nothing here, whatever it holds. */
    CONFIG_LIST,     /* Of objects. */
};

struct config_field {
    const char *path;
    enum config_type type;
    bool zero_is_unset; /* No pointer upstream: 0, "" and 0s leave the default. */
    const char *flag;   /* NULL: it means nothing here, */
    const char *same;   /* but this value says what is done anyway; NULL: none does. */
};

extern const struct config_field config_fields[];
extern const size_t config_field_count;

/* By its dotted path; NULL: there is no such field. */
const struct config_field *config_field_find(struct str path);
/* The path of the field that is this flag, NULL: none is. */
const char *config_field_of_flag(struct str flag);

#endif
