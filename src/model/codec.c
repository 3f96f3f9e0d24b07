/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing with zstd. Dictionaries are part of the program (one that a row names must never be missing) and are digested at the first
 * use; compression contexts belong to the thread that made them and go with it.
 *
 * Frames carry no size, checksum or dictionary id: the row has the first and the last, and AES-GCM is the checksum.
 */
#include "config.h"

#include "model/codec.h"

#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/limits.h"
#include "model/codec_dict.h"

#define WHERE "codec"
#define LEVEL 1 /* with the dictionary 7.7:1 at 2.5 µs a resource (field/performance 3) */

struct contexts {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

struct digested {
    ZSTD_CDict *pack;
    ZSTD_DDict *unpack;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts_key;
static bool key_made;
static struct digested digested[CW_CODEC_DICTIONARIES + 1]; /* by version; 0 is none. Const after `once`. */

static void free_contexts(void *arg)
{
    struct contexts *contexts = arg;
    ZSTD_freeCCtx(contexts->pack);
    ZSTD_freeDCtx(contexts->unpack);
    free(contexts);
}

static void digest_all(void)
{
    key_made = pthread_key_create(&contexts_key, free_contexts) == 0;
    for (unsigned version = 1; version <= CW_CODEC_DICTIONARIES; version++) {
        struct cw_span bytes = cw_codec_dictionary(version);
        digested[version].pack = ZSTD_createCDict(bytes.ptr, bytes.len, LEVEL);
        digested[version].unpack = ZSTD_createDDict(bytes.ptr, bytes.len);
    }
}

/* This thread's contexts; NULL when out of memory. */
static struct contexts *own_contexts(void)
{
    if (pthread_once(&once, digest_all) != 0 || !key_made) {
        return NULL;
    }
    struct contexts *contexts = pthread_getspecific(contexts_key);
    if (contexts != NULL) {
        return contexts;
    }
    contexts = calloc(1, sizeof(*contexts));
    if (contexts == NULL) {
        return NULL;
    }
    contexts->pack = ZSTD_createCCtx();
    contexts->unpack = ZSTD_createDCtx();
    if (contexts->pack == NULL || contexts->unpack == NULL || pthread_setspecific(contexts_key, contexts) != 0) {
        free_contexts(contexts);
        return NULL;
    }
    return contexts;
}

/* Level, no header fields, and the dictionary (NULL: none) for the next frame. */
static bool prepare(ZSTD_CCtx *context, const ZSTD_CDict *dictionary)
{
    return !ZSTD_isError(ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0)) &&
           !ZSTD_isError(ZSTD_CCtx_refCDict(context, dictionary));
}

enum cw_code cw_codec_pack(struct cw_span plain, struct cw_str *out, unsigned *ret_dictionary, struct cw_err *err)
{
    if (plain.len > CW_FHIR_RESOURCE_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, WHERE, "a resource of %zu bytes", plain.len);
    }
    struct contexts *contexts = own_contexts();
    if (contexts == NULL || !prepare(contexts->pack, digested[CW_CODEC_DICTIONARIES].pack)) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory to compress");
    }
    size_t bound = ZSTD_compressBound(plain.len);
    if (bound > out->max - out->len) {
        bound = out->max - out->len; /* most things shrink */
    }
    char *room = cw_str_reserve(out, bound);
    if (room == NULL) {
        return cw_err_set(err, cw_str_code(out), WHERE, "the packed form does not fit");
    }
    size_t packed = ZSTD_compress2(contexts->pack, room, bound, plain.ptr, plain.len);
    if (ZSTD_isError(packed)) {
        enum cw_code code = ZSTD_getErrorCode(packed) == ZSTD_error_dstSize_tooSmall ? CW_E_TOO_BIG : CW_E_OOM;
        return cw_err_set(err, code, WHERE, "zstd: %s", ZSTD_getErrorName(packed));
    }
    cw_str_grow_by(out, packed);
    *ret_dictionary = digested[CW_CODEC_DICTIONARIES].pack == NULL ? 0 : CW_CODEC_DICTIONARIES;
    return CW_OK;
}

enum cw_code cw_codec_unpack(struct cw_span packed, unsigned dictionary, char *out, size_t length, struct cw_err *err)
{
    struct contexts *contexts = own_contexts();
    if (contexts == NULL) {
        return cw_err_set(err, CW_E_OOM, WHERE, "no memory to decompress");
    }
    if (dictionary > CW_CODEC_DICTIONARIES || (dictionary > 0 && digested[dictionary].unpack == NULL)) {
        return cw_err_set(err, CW_E_CONFIG, WHERE, "no dictionary of version %u", dictionary);
    }
    size_t written = dictionary == 0
                         ? ZSTD_decompressDCtx(contexts->unpack, out, length, packed.ptr, packed.len)
                         : ZSTD_decompress_usingDDict(contexts->unpack, out, length, packed.ptr, packed.len,
                                                      digested[dictionary].unpack);
    if (ZSTD_isError(written)) {
        return cw_err_set(err, CW_E_SYNTAX, WHERE, "zstd: %s", ZSTD_getErrorName(written));
    }
    if (written != length) {
        return cw_err_set(err, CW_E_SYNTAX, WHERE, "%zu bytes instead of %zu", written, length);
    }
    return CW_OK;
}
