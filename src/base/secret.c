/* SPDX-License-Identifier: Apache-2.0 */
/* Wiped memory and the one comparison for secrets. */
#include "base/secret.h"

#include <openssl/crypto.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void cw_wipe(void *memory, size_t len)
{
    if (len > 0) {
        explicit_bzero(memory, len);
    }
}

enum cw_code cw_secret_set(struct cw_secret *secret, struct cw_span bytes)
{
    /* Copied before the release: `bytes` may be a part of the secret itself. */
    char *copy = bytes.len == SIZE_MAX ? NULL : malloc(bytes.len + 1);
    if (copy != NULL) {
        if (bytes.len > 0) {
            memcpy(copy, bytes.ptr, bytes.len);
        }
        copy[bytes.len] = '\0';
    }
    cw_secret_release(secret);
    if (copy == NULL) {
        return CW_E_OOM;
    }
    secret->ptr = copy;
    secret->len = bytes.len;
    return CW_OK;
}

void cw_secret_release(struct cw_secret *secret)
{
    cw_wipe(secret->ptr, secret->len);
    free(secret->ptr);
    *secret = (struct cw_secret){ 0 };
}

bool cw_secret_eq(struct cw_span a, struct cw_span b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}
