/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Purpose keys: derived from each master key on the ring, the active one's in use. Two purposes reach beyond their master key
 * (see vault.h): what must not change with a rotation is kept wrapped in the database and adopted at the start.
 */
#include "config.h"

#include "vault/vault_int.h"

#include <stdio.h>

#include "base/time.h"
#include "os/sys.h"

#define PURPOSE_NAME_LEN 8 /* of the owner: the purpose, filled up with NULs; then the kid's 8 bytes */
#define KID_LEN (CW_KID_TEXT / 2)
#define KEPT_VERSION 1

static const char *const names[CW_PURPOSE__COUNT] = {
    [CW_PURPOSE_API] = "api",       [CW_PURPOSE_STATE] = "state", [CW_PURPOSE_SEARCH] = "search",
    [CW_PURPOSE_LOG] = "log",       [CW_PURPOSE_FORM] = "form",
};

static void kid_bytes(const struct cw_master_key *master, enum cw_purpose purpose, uint8_t out[KID_LEN])
{
    char info[64];
    int len = snprintf(info, sizeof info, "chartway kid %s", names[purpose]);
    cw_hkdf(master->key, cw_span_of(info, (size_t)len), out, KID_LEN);
}

static void kid_text(const uint8_t kid[KID_LEN], char out[CW_KID_TEXT + 1])
{
    for (size_t i = 0; i < KID_LEN; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", kid[i]);
    }
}

/* The kid is derived beside the key, not from it: publishing it says nothing about the key. */
void cw_purposes_derive(struct cw_master_key *master)
{
    for (int i = 0; i < CW_PURPOSE__COUNT; i++) {
        struct cw_purpose_key *purpose = &master->purposes[i];
        char info[64];
        int len = snprintf(info, sizeof info, "chartway purpose %s", names[i]);
        cw_hkdf(master->key, cw_span_of(info, (size_t)len), purpose->key, sizeof purpose->key);
        uint8_t kid[KID_LEN];
        kid_bytes(master, (enum cw_purpose)i, kid);
        kid_text(kid, purpose->kid);
    }
}

const uint8_t *cw_purpose_active(const struct cw_vault *vault, enum cw_purpose purpose, const char **ret_kid)
{
    const struct cw_purpose_key *found = &vault->ring[vault->active].purposes[purpose];
    *ret_kid = found->kid;
    return found->key;
}

const uint8_t *cw_purpose_find(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span kid)
{
    for (size_t i = 0; i < vault->count; i++) {
        const struct cw_purpose_key *at = &vault->ring[i].purposes[purpose];
        if (cw_span_eq_cstr(kid, at->kid)) {
            return at->key;
        }
    }
    for (size_t i = 0; purpose == CW_PURPOSE_API && i < vault->kept_count; i++) {
        if (cw_span_eq_cstr(kid, vault->kept[i].kid)) {
            return vault->kept[i].key;
        }
    }
    return NULL;
}

void cw_vault_hmac(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_span bytes,
                   uint8_t out[CW_HASH_LEN])
{
    const uint8_t *key = vault->ring[vault->active].purposes[purpose].key;
    cw_hmac2(purpose == CW_PURPOSE_SEARCH && vault->has_search ? vault->search.key : key, bytes, CW_SPAN(""), out);
}

void cw_vault_log_key(const struct cw_vault *vault, uint8_t out[32])
{
    /* "2026-04": references of two months cannot be told to be one person's. */
    char now[CW_TIME_TEXT];
    cw_time_emit(cw_now_us(), now);
    cw_vault_hmac(vault, CW_PURPOSE_LOG, cw_span_of(now, 7), out);
}

/* ---- what is kept */

struct cw_ulid cw_purpose_owner(const struct cw_vault *vault, enum cw_purpose purpose)
{
    struct cw_ulid owner = { { 0 } };
    memcpy(owner.bytes, names[purpose], strlen(names[purpose]));
    if (purpose != CW_PURPOSE_SEARCH) {
        kid_bytes(&vault->ring[vault->active], purpose, owner.bytes + PURPOSE_NAME_LEN);
    }
    return owner;
}

enum cw_code cw_purpose_wrap(const struct cw_vault *vault, enum cw_purpose purpose, struct cw_wrapped_key *ret_wrapped,
                             struct cw_err *err)
{
    if (purpose != CW_PURPOSE_API && purpose != CW_PURPOSE_SEARCH) {
        cw_bug("a purpose key that ends with its master key is not kept");
    }
    CW_AUTO_DATA_KEY key = { .version = KEPT_VERSION };
    memcpy(key.seal, vault->ring[vault->active].purposes[purpose].key, sizeof key.seal);
    return cw_ring_wrap(vault, cw_purpose_owner(vault, purpose), &key, ret_wrapped, err);
}

static bool owner_is(struct cw_ulid owner, enum cw_purpose purpose)
{
    uint8_t name[PURPOSE_NAME_LEN] = { 0 };
    memcpy(name, names[purpose], strlen(names[purpose]));
    return memcmp(owner.bytes, name, sizeof name) == 0;
}

enum cw_code cw_purpose_adopt(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                              struct cw_err *err)
{
    bool search = owner_is(owner, CW_PURPOSE_SEARCH);
    if (!search && !owner_is(owner, CW_PURPOSE_API)) {
        return cw_err_set(err, CW_E_KIND, "vault", "a kept key is of no known purpose");
    }
    if (!search && vault->kept_count == CW_PURPOSES_KEPT_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "vault", "more than %d kept keys", CW_PURPOSES_KEPT_MAX);
    }
    CW_AUTO_DATA_KEY key = { .version = 0 };
    enum cw_code rc = cw_vault_unwrap(vault, owner, wrapped, &key, err);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_purpose_key *into = search ? &vault->search : &vault->kept[vault->kept_count++];
    memcpy(into->key, key.seal, sizeof into->key);
    kid_text(owner.bytes + PURPOSE_NAME_LEN, into->kid);
    vault->has_search |= search;
    return CW_OK;
}
