/* SPDX-License-Identifier: Apache-2.0 */
/* Text from outside: UTF-8 checks, folding, percent coding, base64, hex. Nothing here keeps state. A decoder that answers
 * CW_E_SYNTAX leaves *out as it was. */
#ifndef CW_BASE_TEXT_H
#define CW_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

/* Strict UTF-8 (RFC 3629: no overlongs, no surrogates, nothing above U+10FFFF). */
bool cw_utf8_valid(struct cw_span text) CW_PURE;
/* Number of code points; the text must be valid. */
size_t cw_utf8_length(struct cw_span text) CW_PURE;
/* True where a C0, C1 control character or DEL occurs; the text must be valid UTF-8. */
bool cw_utf8_has_control(struct cw_span text) CW_PURE;
/* Makes any bytes valid UTF-8 by putting U+FFFD for each bad sequence; appends to *out. */
enum cw_code cw_utf8_repair(struct cw_span bytes, struct cw_str *out) CW_NONNULL(2);

/* Lower case, NFC (for the e-mail index, design 13). CW_E_SYNTAX when the text is not UTF-8. */
enum cw_code cw_text_lower_nfc(struct cw_span text, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;
/* Search folding: NFKD, case folded, marks stripped, ß→ss ø→o æ→ae œ→oe ł→l đ→d, every run of other characters
 * one blank, none at either end. Appends to *out. CW_E_SYNTAX when the text is not UTF-8. */
enum cw_code cw_text_fold(struct cw_span text, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

/* RFC 3986: everything but unreserved characters becomes %XX. */
enum cw_code cw_percent_encode(struct cw_span text, struct cw_str *out) CW_NONNULL(2);
/* One round of decoding; CW_E_SYNTAX on a broken %. With `plus` a '+' is a blank (forms and queries). */
enum cw_code cw_percent_decode(struct cw_span text, bool plus, struct cw_str *out) CW_NONNULL(3) CW_MUST_USE;
/* Appends `name=value` percent-encoded, with '&' before it unless *out is empty. */
enum cw_code cw_form_add(struct cw_str *out, const char *name, struct cw_span value) CW_NONNULL(1, 2);

enum cw_code cw_base64url_encode(struct cw_span bytes, struct cw_str *out) CW_NONNULL(2); /* no padding */
enum cw_code cw_base64_encode(struct cw_span bytes, struct cw_str *out) CW_NONNULL(2);    /* with padding */
/* Both alphabets' decoders are strict: no blanks, no stray bits; padding optional for url, required for the other. */
enum cw_code cw_base64url_decode(struct cw_span text, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;
enum cw_code cw_base64_decode(struct cw_span text, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

enum cw_code cw_hex_encode(struct cw_span bytes, struct cw_str *out) CW_NONNULL(2); /* lower case */
enum cw_code cw_hex_decode(struct cw_span text, struct cw_str *out) CW_NONNULL(2) CW_MUST_USE;

#endif
