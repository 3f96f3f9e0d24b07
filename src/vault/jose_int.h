/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside vault/ only: the table of algorithms, and ECDSA signatures between DER and JOSE form. */
#ifndef CW_VAULT_JOSE_INT_H
#define CW_VAULT_JOSE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "vault/jose.h"

#define CW_RSA_BITS_MIN 2048   /* RFC 7518 3.3 */
#define CW_RSA_BITS_MAX 8192   /* a larger one only costs us time */
#define CW_COORDINATE_MAX 48
#define CW_ECDSA_DER_MAX 128

struct cw_jose_alg_info {
    const char *name;
    const char *digest;
    const char *curve;     /* JWK's name; NULL for RSA */
    const char *group;     /* OpenSSL's name of it */
    size_t coordinate;     /* bytes */
};
const struct cw_jose_alg_info *cw_jose_alg_get(enum cw_jose_alg alg) CW_RETURNS_NONNULL;

/* DER to r | s, each `width` bytes (RFC 7518 3.4). False when it is no signature or does not fit. */
bool cw_ecdsa_join(const uint8_t *der, size_t len, size_t width, uint8_t *ret_joined) CW_NONNULL(1, 4) CW_MUST_USE;
/* And back; returns the length of the DER, 0 when out of memory. */
size_t cw_ecdsa_split(const uint8_t *joined, size_t width, uint8_t ret_der[CW_ECDSA_DER_MAX])
    CW_NONNULL(1, 3) CW_MUST_USE;

#endif
