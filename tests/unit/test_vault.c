/* SPDX-License-Identifier: Apache-2.0 */
/* The ring, wrapping, sealing and derived keys. HKDF and HMAC are checked against OpenSSL's one-shot HMAC, by hand. */
#include "config.h"

#include "test_vault.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/check_main.h"
#include "base/text.h"
#include "base/time.h"
#include "os/config.h"
#include "os/sys.h"

/* --- fixture --- */

void vault_fixture_init(struct vault_fixture *fixture)
{
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/cw-vault-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->dir));
    for (int i = 0; i < 3; i++) {
        CW_AUTO_STR path;
        cw_str_init(&path, sizeof fixture->paths[i] - 1);
        ck_assert_int_eq(cw_str_addf(&path, "%s/key%d", fixture->dir, i + 1), CW_OK);
        memcpy(fixture->paths[i], cw_str_cstr(&path), path.len + 1);
        ck_assert_int_eq(cw_vault_make_master(fixture->paths[i], NULL), CW_OK);
    }
}

void vault_fixture_release(struct vault_fixture *fixture)
{
    for (int i = 0; i < 3; i++) {
        (void)unlink(fixture->paths[i]);
    }
    (void)rmdir(fixture->dir);
}

enum cw_code vault_fixture_open(const struct vault_fixture *fixture, const char *spec, const char *active,
                                struct cw_vault **ret_vault, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 4096);
    cw_str_add_cstr(&text, "[server]\norigin = http://127.0.0.1:1\n[vault]\nmaster_keys = ");
    for (const char *at = spec; *at != '\0'; at++) {
        if (*at == '%') {
            at++;
            cw_str_add_cstr(&text, fixture->paths[*at - '1']);
        } else {
            cw_str_add_char(&text, *at);
        }
    }
    if (active[0] != '\0') {
        cw_str_addf(&text, "\nactive = %s", active);
    }
    cw_str_add_cstr(&text, "\n");
    struct cw_config *config = NULL;
    struct cw_err config_err = { 0 };
    enum cw_code rc = cw_config_parse(cw_str_span(&text), &config, &config_err);
    ck_assert_msg(rc == CW_OK, "config: %s", config_err.text);
    rc = cw_vault_new(config, ret_vault, err);
    cw_config_free(config);
    return rc;
}

struct cw_vault *vault_fixture_vault(const struct vault_fixture *fixture)
{
    struct cw_vault *vault = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(vault_fixture_open(fixture, "one=%1", "", &vault, &err) == CW_OK, "vault: %s", err.text);
    return vault;
}

static void write_file(const char *path, const char *content, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

/* --- the ring --- */

START_TEST(ring_opens_one_or_several)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *vault = NULL;
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%1", "", &vault, NULL), CW_OK);
    ck_assert_str_eq(cw_vault_active_id(vault), "one");
    cw_vault_free(vault);
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%1 two=%2 2026-11=%3", "two", &vault, NULL), CW_OK);
    ck_assert_str_eq(cw_vault_active_id(vault), "two");
    cw_vault_free(vault);
    cw_vault_free(NULL);
    vault_fixture_release(&fixture);
}
END_TEST

START_TEST(ring_refuses)
{
    static const struct {
        const char *spec, *active;
    } rows[] = {
        { "one", "" },
        { "=%1", "" },
        { "one=", "" },
        { "one=%1 one=%2", "" },
        { "one=%1", "two" },
        { "one=%1.missing", "" },
        { "o/ne=%1", "" },
        { "123456789012345678901234567890123=%1", "" }, /* 33 characters */
        { "a=%1 b=%1 c=%1 d=%1 e=%1 f=%1 g=%1 h=%1 i=%1 j=%1 k=%1 l=%1 m=%1 n=%1 o=%1 p=%1 q=%1", "" }, /* 17 */
    };
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_vault *vault = NULL;
        struct cw_err err = { 0 };
        enum cw_code rc = vault_fixture_open(&fixture, rows[i].spec, rows[i].active, &vault, &err);
        ck_assert_msg(rc == CW_E_CONFIG, "row %zu: %s", i, cw_code_name(rc));
        ck_assert_int_eq(err.code, CW_E_CONFIG);
        ck_assert_ptr_null(vault);
    }
    vault_fixture_release(&fixture);
}
END_TEST

START_TEST(key_file_content_and_mode)
{
    static const char good[] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct {
        const char *content;
        mode_t mode;
        enum cw_code rc;
    } rows[] = {
        { good, 0600, CW_OK },
        { good, 0400, CW_OK },
        { good, 0640, CW_E_CONFIG },
        { good, 0604, CW_E_CONFIG },
        { good + 1, 0600, CW_E_CONFIG },                     /* 63 characters */
        { "", 0600, CW_E_CONFIG },
        { "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0", 0600, CW_E_CONFIG }, /* 65 */
        { "0g112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 0600, CW_E_CONFIG },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        write_file(fixture.paths[0], rows[i].content, rows[i].mode);
        struct cw_vault *vault = NULL;
        enum cw_code rc = vault_fixture_open(&fixture, "one=%1", "", &vault, NULL);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s", i, cw_code_name(rc));
        cw_vault_free(vault);
        ck_assert_int_eq(chmod(fixture.paths[0], 0600), 0);
    }
    vault_fixture_release(&fixture);
}
END_TEST

START_TEST(make_master_is_private_and_never_replaces)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct stat before;
    ck_assert_int_eq(stat(fixture.paths[0], &before), 0);
    ck_assert_int_eq(before.st_mode & 07777, 0600);
    ck_assert_int_eq(before.st_size, 65);
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_vault_make_master(fixture.paths[0], &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_vault_make_master("/tmp/cw-no-such-folder/key", &err), CW_E_IO);
    struct stat after;
    ck_assert_int_eq(stat(fixture.paths[0], &after), 0);
    ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    vault_fixture_release(&fixture);
}
END_TEST

/* --- wrapping --- */

START_TEST(wrap_belongs_to_owner_and_version)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *vault = vault_fixture_vault(&fixture);
    struct cw_ulid owner = cw_ulid_new();
    struct cw_data_key key, again;
    struct cw_wrapped_key wrapped;
    ck_assert_int_eq(cw_vault_new_key(vault, owner, 7, &key, &wrapped, NULL), CW_OK);
    ck_assert_str_eq(wrapped.master_key_id, "one");
    ck_assert_uint_eq(wrapped.version, 7);
    ck_assert_int_eq(cw_vault_unwrap(vault, owner, &wrapped, &again, NULL), CW_OK);
    ck_assert_mem_eq(&key, &again, sizeof key);
    ck_assert_mem_ne(key.seal, key.hash, 32);

    ck_assert_int_eq(cw_vault_unwrap(vault, cw_ulid_new(), &wrapped, &again, NULL), CW_E_AUTH);
    struct cw_wrapped_key other = wrapped;
    other.version = 8;
    ck_assert_int_eq(cw_vault_unwrap(vault, owner, &other, &again, NULL), CW_E_AUTH);
    for (size_t i = 0; i < CW_WRAPPED_KEY_LEN; i++) {
        other = wrapped;
        other.bytes[i] ^= 0x40;
        ck_assert_int_eq(cw_vault_unwrap(vault, owner, &other, &again, NULL), CW_E_AUTH);
    }
    other = wrapped;
    other.master_key_id[0] = 'x';
    ck_assert_int_eq(cw_vault_unwrap(vault, owner, &other, &again, NULL), CW_E_CONFIG);
    ck_assert_mem_eq(&key, &again, sizeof key); /* untouched by failures */

    cw_data_key_wipe(&key);
    static const struct cw_data_key zero;
    ck_assert_mem_eq(&key, &zero, sizeof key);
    cw_vault_free(vault);
    vault_fixture_release(&fixture);
}
END_TEST

START_TEST(rewrap_moves_to_the_active_master)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *old = vault_fixture_vault(&fixture);
    struct cw_vault *both = NULL;
    struct cw_vault *newer = NULL;
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%1 two=%2", "two", &both, NULL), CW_OK);
    ck_assert_int_eq(vault_fixture_open(&fixture, "two=%2", "", &newer, NULL), CW_OK);
    struct cw_ulid owner = cw_ulid_new();
    struct cw_data_key key, again;
    struct cw_wrapped_key wrapped, moved;
    ck_assert_int_eq(cw_vault_new_key(old, owner, 1, &key, &wrapped, NULL), CW_OK);
    ck_assert_int_eq(cw_vault_unwrap(newer, owner, &wrapped, &again, NULL), CW_E_CONFIG);
    ck_assert_int_eq(cw_vault_rewrap(both, owner, &wrapped, &moved, NULL), CW_OK);
    ck_assert_str_eq(moved.master_key_id, "two");
    ck_assert_int_eq(cw_vault_unwrap(newer, owner, &moved, &again, NULL), CW_OK);
    ck_assert_mem_eq(&key, &again, sizeof key);
    ck_assert_int_eq(cw_vault_rewrap(both, cw_ulid_new(), &wrapped, &moved, NULL), CW_E_AUTH);
    ck_assert_int_eq(cw_vault_rewrap(newer, owner, &wrapped, &moved, NULL), CW_E_CONFIG);

    /* The same file under another id is another key to the ring, but never opens what a different key wrapped. */
    struct cw_vault *renamed = NULL;
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%3", "", &renamed, NULL), CW_OK);
    ck_assert_int_eq(cw_vault_unwrap(renamed, owner, &wrapped, &again, NULL), CW_E_AUTH);
    cw_vault_free(renamed);
    cw_vault_free(old);
    cw_vault_free(both);
    cw_vault_free(newer);
    vault_fixture_release(&fixture);
}
END_TEST

/* --- sealing --- */

static struct cw_data_key fresh_key(void)
{
    struct cw_data_key key = { .version = 1 };
    cw_random(key.seal, sizeof key.seal);
    cw_random(key.hash, sizeof key.hash);
    return key;
}

START_TEST(seal_gives_back_every_length)
{
    struct cw_data_key key = fresh_key();
    struct cw_record_id row = { cw_ulid_new() };
    static char bytes[70000];
    cw_random(bytes, sizeof bytes);
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 4096, sizeof bytes };
    for (size_t i = 0; i < CW_ARRAY_LEN(lengths); i++) {
        CW_AUTO_STR sealed;
        CW_AUTO_STR plain;
        cw_str_init(&sealed, lengths[i] + CW_SEAL_OVERHEAD);
        cw_str_init_secret(&plain, lengths[i] + 4);
        cw_str_add_cstr(&plain, "keep");
        struct cw_span in = cw_span_of(bytes, lengths[i]);
        ck_assert_int_eq(cw_seal(&key, CW_AAD("record.body", row), in, &sealed, NULL), CW_OK);
        ck_assert_uint_eq(sealed.len, lengths[i] + CW_SEAL_OVERHEAD);
        ck_assert_int_eq(cw_unseal(&key, CW_AAD("record.body", row), cw_str_span(&sealed), &plain, NULL), CW_OK);
        ck_assert_uint_eq(plain.len, 4 + lengths[i]);
        ck_assert_mem_eq(plain.buf, "keep", 4);
        ck_assert_mem_eq(plain.buf + 4, bytes, lengths[i]);
    }
}
END_TEST

START_TEST(unseal_refuses_every_change)
{
    struct cw_data_key key = fresh_key();
    struct cw_data_key stranger = fresh_key();
    struct cw_record_id row = { cw_ulid_new() };
    struct cw_record_id elsewhere = { cw_ulid_new() };
    CW_AUTO_STR sealed;
    CW_AUTO_STR plain;
    cw_str_init(&sealed, 256);
    cw_str_init(&plain, 256);
    ck_assert_int_eq(cw_seal(&key, CW_AAD("grant.access", row), CW_SPAN("a token"), &sealed, NULL), CW_OK);
    struct cw_span s = cw_str_span(&sealed);
    ck_assert_int_eq(cw_unseal(&key, CW_AAD("grant.access", elsewhere), s, &plain, NULL), CW_E_AUTH);
    ck_assert_int_eq(cw_unseal(&key, CW_AAD("grant.refresh", row), s, &plain, NULL), CW_E_AUTH);
    ck_assert_int_eq(cw_unseal(&stranger, CW_AAD("grant.access", row), s, &plain, NULL), CW_E_AUTH);
    for (size_t i = 0; i < s.len; i++) {
        sealed.buf[i] ^= 0x01;
        ck_assert_msg(cw_unseal(&key, CW_AAD("grant.access", row), s, &plain, NULL) == CW_E_AUTH, "byte %zu", i);
        sealed.buf[i] ^= 0x01;
    }
    for (size_t len = 0; len < s.len; len++) {
        ck_assert_int_eq(cw_unseal(&key, CW_AAD("grant.access", row), cw_span_upto(s, len), &plain, NULL), CW_E_AUTH);
    }
    ck_assert_uint_eq(plain.len, 0);
    ck_assert_int_eq(cw_unseal(&key, CW_AAD("grant.access", row), s, &plain, NULL), CW_OK);
    ck_assert(cw_span_eq_cstr(cw_str_span(&plain), "a token"));
}
END_TEST

START_TEST(seal_never_repeats_and_respects_max)
{
    struct cw_data_key key = fresh_key();
    struct cw_record_id row = { cw_ulid_new() };
    CW_AUTO_STR first;
    CW_AUTO_STR second;
    cw_str_init(&first, 64);
    cw_str_init(&second, 64);
    ck_assert_int_eq(cw_seal(&key, CW_AAD("t.c", row), CW_SPAN("same"), &first, NULL), CW_OK);
    ck_assert_int_eq(cw_seal(&key, CW_AAD("t.c", row), CW_SPAN("same"), &second, NULL), CW_OK);
    ck_assert(!cw_span_eq(cw_str_span(&first), cw_str_span(&second)));
    CW_AUTO_STR small;
    cw_str_init(&small, 4 + CW_SEAL_OVERHEAD - 1);
    ck_assert_int_eq(cw_seal(&key, CW_AAD("t.c", row), CW_SPAN("same"), &small, NULL), CW_E_TOO_BIG);
    CW_AUTO_STR none;
    cw_str_init(&none, 3);
    ck_assert_int_eq(cw_unseal(&key, CW_AAD("t.c", row), cw_str_span(&first), &none, NULL), CW_E_TOO_BIG);
}
END_TEST

/* --- hashes and derived keys --- */

START_TEST(sha256_known)
{
    uint8_t hash[CW_HASH_LEN];
    CW_AUTO_STR hex;
    cw_str_init(&hex, 64);
    cw_sha256(CW_SPAN("abc"), hash); /* FIPS 180-2, B.1 */
    cw_hex_encode(cw_span_of(hash, sizeof hash), &hex);
    ck_assert_str_eq(cw_str_cstr(&hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cw_sha256((struct cw_span){ 0 }, hash);
    cw_str_clear(&hex);
    cw_hex_encode(cw_span_of(hash, sizeof hash), &hex);
    ck_assert_str_eq(cw_str_cstr(&hex), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

START_TEST(data_hash_separates_uses)
{
    struct cw_data_key key = fresh_key();
    uint8_t a[CW_HASH_LEN], b[CW_HASH_LEN], expected[CW_HASH_LEN];
    unsigned len = 0;
    cw_data_hash(&key, "record.content", CW_SPAN("x"), a);
    ck_assert_ptr_nonnull(
        HMAC(EVP_sha256(), key.hash, 32, (const unsigned char *)"record.content\0x", 16, expected, &len));
    ck_assert_mem_eq(a, expected, CW_HASH_LEN);
    cw_data_hash(&key, "connection.upstream", CW_SPAN("x"), b);
    ck_assert_mem_ne(a, b, CW_HASH_LEN);
    cw_data_hash(&key, "record.contentx", CW_SPAN(""), b);
    ck_assert_mem_ne(a, b, CW_HASH_LEN);
}
END_TEST

/* RFC 5869 with an empty salt and one block, by OpenSSL's one-shot HMAC. */
static void hkdf_by_hand(const uint8_t master[32], const char *info, uint8_t out[32])
{
    static const uint8_t salt[32];
    uint8_t prk[32], block[128];
    unsigned len = 0;
    HMAC(EVP_sha256(), salt, 32, master, 32, prk, &len);
    size_t info_len = strlen(info);
    memcpy(block, info, info_len);
    block[info_len] = 1;
    HMAC(EVP_sha256(), prk, 32, block, info_len + 1, out, &len);
}

START_TEST(purpose_keys_are_hkdf_of_the_active_master)
{
    static const char *const names[CW_PURPOSE__COUNT] = { "api", "state", "search", "log", "form" };
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *vault = NULL;
    ck_assert_int_eq(vault_fixture_open(&fixture, "one=%1 two=%2", "two", &vault, NULL), CW_OK);
    CW_AUTO_STR hex;
    CW_AUTO_STR master;
    cw_str_init(&hex, 65);
    cw_str_init(&master, 32);
    ck_assert_int_eq(cw_file_read(fixture.paths[1], true, &hex, NULL), CW_OK);
    ck_assert_int_eq(cw_hex_decode(cw_span_upto(cw_str_span(&hex), 64), &master), CW_OK);
    for (int i = 0; i < CW_PURPOSE__COUNT; i++) {
        char info[64];
        uint8_t key[32], expected[32], got[32];
        unsigned len = 0;
        snprintf(info, sizeof info, "chartway purpose %s", names[i]);
        hkdf_by_hand((const uint8_t *)master.buf, info, key);
        HMAC(EVP_sha256(), key, 32, (const unsigned char *)"bytes", 5, expected, &len);
        cw_vault_hmac(vault, (enum cw_purpose)i, CW_SPAN("bytes"), got);
        ck_assert_mem_eq(got, expected, 32);
    }
    cw_vault_free(vault);
    vault_fixture_release(&fixture);
}
END_TEST

START_TEST(log_key_changes_with_the_month)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *vault = vault_fixture_vault(&fixture);
    uint8_t now[32], later[32];
    cw_vault_log_key(vault, now);
    cw_clock_shift_us(40 * CW_DAY_US);
    cw_vault_log_key(vault, later);
    cw_clock_shift_us(0);
    ck_assert_mem_ne(now, later, 32);
    cw_vault_free(vault);
    vault_fixture_release(&fixture);
}
END_TEST

/* --- threads --- */

struct worker {
    const struct cw_data_key *key;
    struct cw_vault *vault;
    unsigned wrong;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct cw_record_id row = { cw_ulid_new() };
    for (int i = 0; i < 200; i++) {
        CW_AUTO_STR sealed;
        CW_AUTO_STR plain;
        cw_str_init(&sealed, 256);
        cw_str_init(&plain, 256);
        struct cw_wrapped_key wrapped;
        struct cw_data_key made, again;
        bool ok = cw_seal(worker->key, CW_AAD("t.c", row), CW_SPAN("value"), &sealed, NULL) == CW_OK &&
                  cw_unseal(worker->key, CW_AAD("t.c", row), cw_str_span(&sealed), &plain, NULL) == CW_OK &&
                  cw_span_eq_cstr(cw_str_span(&plain), "value") &&
                  cw_vault_new_key(worker->vault, row.ulid, 1, &made, &wrapped, NULL) == CW_OK &&
                  cw_vault_unwrap(worker->vault, row.ulid, &wrapped, &again, NULL) == CW_OK &&
                  memcmp(&made, &again, sizeof made) == 0;
        worker->wrong += ok ? 0 : 1;
    }
    return NULL;
}

START_TEST(threads_share_vault_and_keys)
{
    struct vault_fixture fixture;
    vault_fixture_init(&fixture);
    struct cw_vault *vault = vault_fixture_vault(&fixture);
    struct cw_data_key key = fresh_key();
    struct worker workers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){ .key = &key, .vault = vault };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(workers[i].wrong, 0);
    }
    cw_vault_free(vault);
    vault_fixture_release(&fixture);
}
END_TEST

static Suite *vault_suite(void)
{
    Suite *suite = suite_create("vault");
    TCase *tc = tcase_create("vault");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, ring_opens_one_or_several);
    tcase_add_test(tc, ring_refuses);
    tcase_add_test(tc, key_file_content_and_mode);
    tcase_add_test(tc, make_master_is_private_and_never_replaces);
    tcase_add_test(tc, wrap_belongs_to_owner_and_version);
    tcase_add_test(tc, rewrap_moves_to_the_active_master);
    tcase_add_test(tc, seal_gives_back_every_length);
    tcase_add_test(tc, unseal_refuses_every_change);
    tcase_add_test(tc, seal_never_repeats_and_respects_max);
    tcase_add_test(tc, sha256_known);
    tcase_add_test(tc, data_hash_separates_uses);
    tcase_add_test(tc, purpose_keys_are_hkdf_of_the_active_master);
    tcase_add_test(tc, log_key_changes_with_the_month);
    tcase_add_test(tc, threads_share_vault_and_keys);
    suite_add_tcase(suite, tc);
    return suite;
}

int main(void)
{
    Suite *suites[] = { vault_suite(), vault_token_suite(), vault_jose_suite(), vault_jws_suite(), NULL };
    return cw_check_main(suites);
}
