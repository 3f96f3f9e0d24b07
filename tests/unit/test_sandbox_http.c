/* SPDX-License-Identifier: Apache-2.0 */
/* The hospital behind a socket, and asking it. */
#include "config.h"

#include "tests/unit/test_sandbox_http.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "vault/vault.h"

struct hospital hospital;
static char socket_path[64];
static pthread_t server;
static int listener;

/* --- asking --- */

struct fcgi_answer ask(const char *method, const char *uri, const char *bearer, const char *form)
{
    char header[4096];
    snprintf(header, sizeof(header), "Bearer %s", bearer == NULL ? "" : bearer);
    struct fcgi_request request = { .method = method, .uri = uri, .body = form,
                                    .type = form == NULL ? NULL : form[0] == '{' ? "application/json"
                                                                                 : "application/x-www-form-urlencoded",
                                    .more = (const char *const[]){ bearer == NULL ? NULL : "HTTP_AUTHORIZATION", header, NULL } };
    return fcgi_ask(socket_path, -1, &request);
}

json_t *json_of(const struct fcgi_answer *answer)
{
    json_t *root = json_loadb(answer->body, answer->body_len, 0, NULL);
    ck_assert_msg(root != NULL, "%d: %s", answer->status, answer->body);
    return root;
}

const char *text(const json_t *root, const char *name)
{
    const char *value = json_string_value(json_object_get(root, name));
    return value == NULL ? "" : value;
}

int status_of(const char *method, const char *uri, const char *bearer, const char *form)
{
    struct fcgi_answer answer = ask(method, uri, bearer, form);
    int status = answer.status;
    fcgi_answer_free(&answer);
    return status;
}

/* --- the hospital --- */

static void *serve(void *arg)
{
    struct cw_err err;
    size_t count = 0;
    const struct cw_route *routes = hospital_doors(&count);
    const struct cw_web_app web = { .program = "chartway-sandbox", .mount = "/sandbox", .routes = routes, .before = site_enter,
                                    .route_count = count, .faults = CW_FAULT_JSON, .threads = 4,
                                    .listen_fd = *(int *)arg, .context = &hospital, .fault_page = page_fault };
    if (cw_web_run(&web, &err) != CW_OK) {
        fprintf(stderr, "web: %s\n", err.text);
        abort();
    }
    return NULL;
}

static void must(enum cw_code rc, const struct cw_err *err)
{
    if (rc != CW_OK) {
        fprintf(stderr, "%s: %s\n", cw_code_name(rc), err->text);
        exit(EXIT_FAILURE);
    }
}

static void open_hospital(void)
{
    struct cw_err err = { 0 };
    uint8_t hash[CW_HASH_LEN];
    snprintf(hospital.origin, sizeof(hospital.origin), ORIGIN);
    snprintf(hospital.other_origin, sizeof(hospital.other_origin), "http://127.0.0.2:8480");
    cw_sha256(CW_SPAN(OPERATOR), hash);
    memcpy(hospital.operator_hash, hash, sizeof(hash));
    hospital.diary = cw_sbx_diary_new();
    if (hospital.diary == NULL) {
        abort();
    }
    must(cw_sbx_state_open(NULL, CW_SPAN(ORIGIN), &hospital.state, &err), &err);
    must(cw_sbx_store_open(NULL, &hospital.store, &err), &err);
    must(cw_signing_key_make(CW_ALG_RS256, &hospital.id_key, &err), &err);
    must(cw_templates_load(CW_TEST_SRCDIR "/www", &hospital.templates, &err), &err);
}

const char *hospital_socket(void)
{
    return socket_path;
}

void hospital_open(void)
{
    cw_stop_init();
    open_hospital();
    snprintf(socket_path, sizeof(socket_path), "/tmp/cw-sandbox-%d.sock", (int)getpid());
    listener = fcgi_listen(socket_path);
    if (pthread_create(&server, NULL, serve, &listener) != 0) {
        exit(EXIT_FAILURE);
    }
}

void hospital_close(void)
{
    cw_stop_ask();
    pthread_join(server, NULL);
    close(listener);
    unlink(socket_path);
    cw_templates_free(hospital.templates);
    cw_signing_key_free(hospital.id_key);
    cw_sbx_state_free(hospital.state);
    cw_sbx_diary_free(hospital.diary);
    cw_sbx_store_free(hospital.store);
}
