/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring: master keys from files, data keys wrapped by them, purpose keys derived from them. The ring is const
 * after cw_vault_new, so that threads share it without a lock.
 */
#include "config.h"

#include "vault/vault_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "base/time.h"
#include "os/sys.h"

#define WRAP_FORMAT 1
#define MASTER_HEX 64
#define WRAP_AAD_LEN (3 + 16 + 4)

void cw_vault_free(struct cw_vault *vault)
{
    if (vault == NULL) {
        return;
    }
    cw_wipe(vault, sizeof *vault);
    free(vault);
}

static bool master_id_ok(struct cw_span id)
{
    if (id.len == 0 || id.len > CW_MASTER_KEY_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
        if (!ok) {
            return false;
        }
    }
    return true;
}

static enum cw_code read_master(const char *path, struct cw_master_key *master, struct cw_err *err)
{
    CW_AUTO_STR text;
    CW_AUTO_STR key;
    cw_str_init_secret(&text, MASTER_HEX + 2);
    cw_str_init_secret(&key, sizeof master->key);
    enum cw_code rc = cw_file_read(path, true, &text, err);
    if (rc != CW_OK) {
        if (err != NULL) {
            err->code = CW_E_CONFIG;
        }
        char what[CW_MASTER_KEY_ID_MAX + 16];
        (void)snprintf(what, sizeof what, "master key '%s'", master->id);
        cw_err_wrap(err, what);
        return rc == CW_E_OOM ? CW_E_OOM : CW_E_CONFIG;
    }
    struct cw_span hex = cw_span_trim(cw_str_span(&text));
    if (hex.len != MASTER_HEX || cw_hex_decode(hex, &key) != CW_OK || key.len != sizeof master->key) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master key '%s' is not 64 hexadecimal characters", master->id);
    }
    memcpy(master->key, key.buf, sizeof master->key);
    return CW_OK;
}

static struct cw_master_key *ring_find(const struct cw_vault *vault, const char *id)
{
    for (size_t i = 0; i < vault->count; i++) {
        if (strcmp(vault->ring[i].id, id) == 0) {
            return (struct cw_master_key *)(uintptr_t)&vault->ring[i];
        }
    }
    return NULL;
}

/* One `id=path` of [vault] master_keys. */
static enum cw_code ring_add(struct cw_vault *vault, struct cw_span entry, struct cw_err *err)
{
    struct cw_span id;
    if (!cw_span_cut(&entry, '=', &id) || !master_id_ok(id) || entry.len == 0) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master_keys: an entry is not id=path");
    }
    if (vault->count == CW_RING_MAX) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master_keys: more than %d keys", CW_RING_MAX);
    }
    struct cw_master_key *master = &vault->ring[vault->count];
    memcpy(master->id, id.ptr, id.len);
    if (ring_find(vault, master->id) != NULL) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master_keys: '%s' stands twice", master->id);
    }
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    if (cw_str_add_span(&path, entry) != CW_OK) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master_keys: the path of '%s' is too long", master->id);
    }
    enum cw_code rc = read_master(cw_str_cstr(&path), master, err);
    if (rc != CW_OK) {
        return rc;
    }
    cw_purposes_derive(master);
    vault->count++;
    return CW_OK;
}

static enum cw_code ring_load(struct cw_vault *vault, const struct cw_config *config, struct cw_err *err)
{
    struct cw_span entries = cw_span_cstr(cw_config_text(config, CW_CONF_MASTER_KEYS));
    struct cw_span entry;
    while (cw_span_word(&entries, &entry)) {
        enum cw_code rc = ring_add(vault, entry, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    if (vault->count == 0) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "master_keys names no key");
    }
    const char *active = cw_config_text(config, CW_CONF_MASTER_KEY_ACTIVE);
    if (active[0] == '\0') {
        return CW_OK;
    }
    const struct cw_master_key *found = ring_find(vault, active);
    if (found == NULL) {
        return cw_err_set(err, CW_E_CONFIG, "vault", "the active master key is not one of master_keys");
    }
    vault->active = (size_t)(found - vault->ring);
    return CW_OK;
}

enum cw_code cw_vault_new(const struct cw_config *config, struct cw_vault **ret_vault, struct cw_err *err)
{
    struct cw_vault *vault = calloc(1, sizeof *vault);
    if (vault == NULL) {
        return cw_err_set(err, CW_E_OOM, "vault", "no memory for the ring");
    }
    enum cw_code rc = ring_load(vault, config, err);
    if (rc != CW_OK) {
        cw_vault_free(vault);
        return rc;
    }
    *ret_vault = vault;
    return CW_OK;
}

enum cw_code cw_vault_make_master(const char *path, struct cw_err *err)
{
    uint8_t key[32];
    char text[MASTER_HEX + 2];
    cw_random(key, sizeof key);
    for (size_t i = 0; i < sizeof key; i++) {
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    }
    text[MASTER_HEX] = '\n';
    text[MASTER_HEX + 1] = '\0';
    cw_wipe(key, sizeof key);

    /* O_EXCL, not write-and-rename: a master key that is there must never be lost to a second call. */
    enum cw_code rc = CW_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        rc = cw_err_sys(err, errno == EEXIST ? CW_E_CONFLICT : CW_E_IO, errno, "vault", "cannot make the key file");
        goto out;
    }
    if (write(fd, text, MASTER_HEX + 1) != MASTER_HEX + 1 || fsync(fd) != 0) {
        rc = cw_err_sys(err, CW_E_IO, errno, "vault", "cannot write the key file");
        (void)unlink(path);
    }
    if (close(fd) != 0 && rc == CW_OK) {
        rc = cw_err_sys(err, CW_E_IO, errno, "vault", "cannot close the key file");
    }
out:
    cw_wipe(text, sizeof text);
    return rc;
}

bool cw_vault_has(const struct cw_vault *vault, const char *id)
{
    return ring_find(vault, id) != NULL;
}

const char *cw_vault_active_id(const struct cw_vault *vault)
{
    return vault->ring[vault->active].id;
}

/* --- data keys --- */

static void wrap_aad(struct cw_ulid owner, uint32_t version, char out[WRAP_AAD_LEN])
{
    memcpy(out, "key", 3);
    memcpy(out + 3, owner.bytes, 16);
    for (int i = 0; i < 4; i++) {
        out[19 + i] = (char)(version >> (24 - 8 * i));
    }
}

enum cw_code cw_ring_wrap(const struct cw_vault *vault, struct cw_ulid owner, const struct cw_data_key *key,
                          struct cw_wrapped_key *ret_wrapped, struct cw_err *err)
{
    const struct cw_master_key *master = &vault->ring[vault->active];
    char aad[WRAP_AAD_LEN];
    wrap_aad(owner, key->version, aad);
    struct cw_wrapped_key wrapped = { .version = key->version };
    memcpy(wrapped.master_key_id, master->id, sizeof wrapped.master_key_id);
    wrapped.bytes[0] = WRAP_FORMAT;
    uint8_t *nonce = wrapped.bytes + 1;
    uint8_t *cipher = nonce + CW_GCM_NONCE;
    cw_random(nonce, CW_GCM_NONCE);
    enum cw_code rc = cw_gcm_encrypt(master->key, nonce, cw_span_of(aad, sizeof aad),
                                     cw_span_of(key->seal, sizeof key->seal), cipher, cipher + sizeof key->seal);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "vault", "cannot wrap a data key");
    }
    *ret_wrapped = wrapped;
    return CW_OK;
}

static void derive_hash(struct cw_data_key *key)
{
    cw_hkdf(key->seal, CW_SPAN("chartway data hash"), key->hash, sizeof key->hash);
}

enum cw_code cw_vault_new_key(struct cw_vault *vault, struct cw_ulid owner, uint32_t version,
                              struct cw_data_key *ret_key, struct cw_wrapped_key *ret_wrapped, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { .version = version };
    cw_random(key.seal, sizeof key.seal);
    derive_hash(&key);
    enum cw_code rc = cw_ring_wrap(vault, owner, &key, ret_wrapped, err);
    if (rc != CW_OK) {
        return rc;
    }
    *ret_key = key;
    return CW_OK;
}

enum cw_code cw_vault_unwrap(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                             struct cw_data_key *ret_key, struct cw_err *err)
{
    if (memchr(wrapped->master_key_id, '\0', sizeof wrapped->master_key_id) == NULL) {
        cw_bug("the id of a master key has no end");
    }
    const struct cw_master_key *master = ring_find(vault, wrapped->master_key_id);
    if (master == NULL) {
        bool shown = master_id_ok(cw_span_cstr(wrapped->master_key_id));
        return cw_err_set(err, CW_E_CONFIG, "vault", "a key is wrapped by master key '%s', which is not on the ring",
                          shown ? wrapped->master_key_id : "?");
    }
    if (wrapped->bytes[0] != WRAP_FORMAT) {
        return cw_err_set(err, CW_E_AUTH, "vault", "not a wrapped key");
    }
    char aad[WRAP_AAD_LEN];
    wrap_aad(owner, wrapped->version, aad);
    CW_AUTO_DATA_KEY key = { .version = wrapped->version };
    const uint8_t *nonce = wrapped->bytes + 1;
    const uint8_t *cipher = nonce + CW_GCM_NONCE;
    enum cw_code rc = cw_gcm_decrypt(master->key, nonce, cw_span_of(aad, sizeof aad),
                                     cw_span_of(cipher, sizeof key.seal), cipher + sizeof key.seal, key.seal);
    if (rc != CW_OK) {
        return cw_err_set(err, rc, "vault", "a data key does not belong to this owner and version");
    }
    derive_hash(&key);
    *ret_key = key;
    return CW_OK;
}

enum cw_code cw_vault_rewrap(struct cw_vault *vault, struct cw_ulid owner, const struct cw_wrapped_key *wrapped,
                             struct cw_wrapped_key *ret_wrapped, struct cw_err *err)
{
    CW_AUTO_DATA_KEY key = { 0 };
    enum cw_code rc = cw_vault_unwrap(vault, owner, wrapped, &key, err);
    if (rc != CW_OK) {
        return rc;
    }
    return cw_ring_wrap(vault, owner, &key, ret_wrapped, err);
}

void cw_data_key_wipe(struct cw_data_key *key)
{
    cw_wipe(key, sizeof *key);
}
