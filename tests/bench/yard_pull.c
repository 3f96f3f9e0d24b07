/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick for the pull: bare libcurl, slice, zstd, AES-256-GCM and a bulk insert in one transaction a page, one
 * thread, no checkpoints, no look-up of what is there. The slicer and the codec are Chartway's own, so that the difference
 * is what the pull adds.
 *
 *   yard_pull MYSQL_SOCKET TOKEN_FILE URL_FILE      prints "records bytes seconds"
 */
#include "config.h"

#include <curl/curl.h>
#include <mysql.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/limits.h"
#include "fhir/slice.h"
#include "model/codec.h"
#include "os/sys.h"

#define ROWS_MAX 1000

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "yard_pull: %s\n", what);
    exit(1);
}

static size_t keep(char *bytes, size_t size, size_t count, void *arg)
{
    return cw_str_add(arg, bytes, size * count) == CW_OK ? size * count : 0;
}

static void fetch(CURL *curl, const char *url, struct cw_str *body)
{
    cw_str_clear(body);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    long status = 0;
    if (curl_easy_perform(curl) != CURLE_OK || curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
        status != 200) {
        die("fetch");
    }
}

static char *seal(struct cw_span plain, unsigned long *ret_length)
{
    static const unsigned char key[33] = "a key of the yardstick, no secret";
    struct cw_str packed;
    struct cw_err err;
    unsigned dictionary;
    cw_str_init(&packed, CW_FHIR_RESOURCE_MAX);
    if (cw_codec_pack(plain, &packed, &dictionary, &err) != CW_OK) {
        die("pack");
    }
    unsigned char *out = malloc(packed.len + 28);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int length = 0, more = 0;
    if (out == NULL || context == NULL || RAND_bytes(out, 12) != 1 ||
        EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, out) != 1 ||
        EVP_EncryptUpdate(context, out + 12, &length, (const unsigned char *)packed.buf, (int)packed.len) != 1 ||
        EVP_EncryptFinal_ex(context, out + 12 + length, &more) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, out + 12 + length) != 1) {
        die("seal");
    }
    EVP_CIPHER_CTX_free(context);
    *ret_length = (unsigned long)length + 28;
    cw_str_release(&packed);
    return (char *)out;
}

struct rows {
    char *bodies[ROWS_MAX];
    unsigned long lengths[ROWS_MAX], id_lengths[ROWS_MAX];
    unsigned char ids[ROWS_MAX][16];
    char *id_pointers[ROWS_MAX];
    unsigned count;
};

static void store(MYSQL *db, MYSQL_STMT *statement, struct rows *rows)
{
    if (rows->count == 0) {
        return;
    }
    MYSQL_BIND in[2] = {
        { .buffer_type = MYSQL_TYPE_BLOB, .buffer = rows->id_pointers, .length = rows->id_lengths },
        { .buffer_type = MYSQL_TYPE_BLOB, .buffer = rows->bodies, .length = rows->lengths },
    };
    if (mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &rows->count) != 0 ||
        mysql_stmt_bind_param(statement, in) != 0 || mysql_stmt_execute(statement) != 0 || mysql_commit(db) != 0) {
        die(mysql_stmt_error(statement));
    }
    for (unsigned i = 0; i < rows->count; i++) {
        free(rows->bodies[i]);
    }
    rows->count = 0;
}

static void add(struct rows *rows, struct cw_span resource)
{
    unsigned i = rows->count++;
    rows->bodies[i] = seal(resource, &rows->lengths[i]);
    cw_random(rows->ids[i], 16);
    rows->id_pointers[i] = (char *)rows->ids[i];
    rows->id_lengths[i] = 16;
}

/* One search to its end. */
static void pull(CURL *curl, MYSQL *db, MYSQL_STMT *statement, char *url, struct cw_arena *arena, struct cw_str *body,
                 unsigned long *records, unsigned long *bytes)
{
    static struct rows rows;
    char next[CW_URL_MAX + 1];
    (void)snprintf(next, sizeof next, "%s", url);
    while (next[0] != '\0') {
        struct cw_slice slice;
        struct cw_err err = { 0 };
        fetch(curl, next, body);
        cw_arena_clear(arena);
        if (cw_slice_read(cw_str_span(body), arena, &slice, &err) != CW_OK) {
            die("slice");
        }
        for (size_t i = 0; i < slice.count && rows.count < ROWS_MAX; i++) {
            if (slice.entries[i].fault == CW_SLICE_GOOD) {
                add(&rows, slice.entries[i].resource);
            }
        }
        *records += rows.count;
        *bytes += body->len;
        store(db, statement, &rows);
        (void)snprintf(next, sizeof next, "%.*s", (int)slice.next.len, slice.next.ptr == NULL ? "" : slice.next.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        die("usage: yard_pull MYSQL_SOCKET TOKEN_FILE URL_FILE");
    }
    struct cw_str token, urls, body;
    struct cw_err err = { 0 };
    cw_str_init(&token, 16384);
    cw_str_init(&urls, 1024 * 1024);
    cw_str_init(&body, CW_FHIR_PAGE_MAX);
    if (cw_file_read(argv[2], false, &token, &err) != CW_OK || cw_file_read(argv[3], false, &urls, &err) != CW_OK) {
        die("files");
    }
    MYSQL *db = mysql_init(NULL);
    if (db == NULL || mysql_real_connect(db, NULL, "root", NULL, "yard", 0, argv[1], 0) == NULL) {
        die("no database");
    }
    mysql_autocommit(db, 0);
    MYSQL_STMT *statement = mysql_stmt_init(db);
    static const char sql[] = "INSERT INTO many (id, body) VALUES (?, ?)";
    if (statement == NULL || mysql_stmt_prepare(statement, sql, sizeof sql - 1) != 0) {
        die("prepare");
    }
    char header[17000];
    (void)snprintf(header, sizeof header, "Authorization: Bearer %s", cw_str_cstr(&token));
    struct curl_slist *headers = curl_slist_append(NULL, header);
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    struct cw_arena *arena = cw_arena_new((size_t)64 * 1024 * 1024);
    unsigned long records = 0, bytes = 0;
    int64_t began_us = cw_monotonic_us();
    struct cw_span rest = cw_str_span(&urls), url;
    while (cw_span_word(&rest, &url)) {
        char text[CW_URL_MAX + 1];
        (void)snprintf(text, sizeof text, "%.*s", (int)url.len, url.ptr);
        pull(curl, db, statement, text, arena, &body, &records, &bytes);
    }
    printf("%lu %lu %.6f\n", records, bytes, (double)(cw_monotonic_us() - began_us) / 1e6);
    return 0;
}
