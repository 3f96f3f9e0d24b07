/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of configuration keys, shared by the parser and by what is printed from it. */
#ifndef CW_OS_CONFIG_INT_H
#define CW_OS_CONFIG_INT_H

#include "base/str.h"
#include "os/config.h"

enum config_kind {
    CONFIG_TEXT,   /* printable text of min to max bytes */
    CONFIG_PATH,   /* absolute */
    CONFIG_LIST,   /* words separated by blanks */
    CONFIG_HOSTS,  /* words host:port separated by blanks */
    CONFIG_ORIGIN, /* scheme://host[:port] as a browser writes it */
    CONFIG_CHOICE, /* one of the words in `choices`; the number is its place */
    CONFIG_PARAM,  /* a FastCGI parameter's name */
    CONFIG_INT,
    CONFIG_BYTES, /* an integer with k, M or G (1024) behind it */
    CONFIG_BOOL,
};

struct config_row {
    const char *section;
    const char *name;
    enum config_kind kind;
    bool required;
    int64_t min, max;      /* of the number, or of the text's bytes */
    const char *fallback;  /* the default: ${pkgdatadir}, ${localstatedir}, ${state_dir} and ${hostname} are expanded */
    const char *example;   /* stands in the example file where the default would say nothing */
    const char *choices;   /* words separated by blanks */
    const char *doc;
};

extern const struct config_row cw_config_table[CW_CONF__COUNT];

/* CW_OK and *ret_number, or the reason as a sentence without the value: it may be a secret put in the wrong place. */
bool cw_config_check(const struct config_row *row, struct cw_span value, int64_t *ret_number, const char **ret_reason);

#endif
