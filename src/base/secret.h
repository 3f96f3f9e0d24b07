/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that are wiped before their memory is given back. Fixed-size keys live inline; tokens of any size in cw_secret. */
#ifndef CW_BASE_SECRET_H
#define CW_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"

struct cw_secret {
    char *ptr; /* NUL-terminated for use as text; NULL when empty */
    size_t len;
};

/* Overwrites memory in a way that the compiler keeps. */
void cw_wipe(void *memory, size_t len);
/* Copies bytes into *secret (released first). CW_E_OOM. */
enum cw_code cw_secret_set(struct cw_secret *secret, struct cw_span bytes) CW_NONNULL(1) CW_MUST_USE;
void cw_secret_release(struct cw_secret *secret) CW_NONNULL(1);
static inline struct cw_span cw_secret_span(const struct cw_secret *secret)
{
    return (struct cw_span){ secret->ptr, secret->len };
}
/* Equal length and bytes, in a time that depends on the length alone. */
bool cw_secret_eq(struct cw_span a, struct cw_span b);

#define CW_AUTO_SECRET CW_CLEANUP(cw_secret_release) struct cw_secret

#endif
