/* SPDX-License-Identifier: Apache-2.0 */
/* Read by OpenSSL, which has just verified the same bytes. */
#include "config.h"

#include "net/certificate.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include "base/time.h"

int64_t cw_certificate_end(struct cw_span pem)
{
    struct tm tm = { 0 };
    int64_t end_us = 0;
    BIO *bio = pem.len == 0 || pem.len > INT_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *certificate = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1) {
        time_t seconds = timegm(&tm);
        end_us = seconds <= 0 ? 0 : (int64_t)seconds * CW_SECOND_US;
    }
    X509_free(certificate);
    BIO_free(bio);
    return end_us;
}
