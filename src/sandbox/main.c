/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartway-sandbox: the fake hospital, a FastCGI responder on the socket at descriptor 0. Never in production: it starts only where
 * [sandbox] enabled says so. What the zstd dictionary is trained on is
 * written by tests/bench/dump_chart.
 */
#include "config.h"
#include "sandbox/hospital.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/secret.h"
#include "os/log.h"
#include "os/sys.h"
#include "vault/vault.h"

/* The key of id_tokens outlives a restart, so that tokens in flight stay good. */
static enum cw_code load_id_key(struct hospital *hospital, const char *folder, struct cw_err *err)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/id_token.key", folder);
    CW_AUTO_STR der;
    cw_str_init_secret(&der, 8192);
    enum cw_code rc = cw_file_read(path, true, &der, err);
    if (rc == CW_OK) {
        return cw_signing_key_import(CW_ALG_RS256, cw_str_span(&der), &hospital->id_key, err);
    }
    if (rc != CW_E_NOT_FOUND) {
        return rc;
    }
    CW_AUTO_SECRET fresh = { NULL, 0 };
    rc = cw_signing_key_make(CW_ALG_RS256, &hospital->id_key, err);
    if (rc == CW_OK) {
        rc = cw_signing_key_export(hospital->id_key, &fresh, err);
    }
    return rc == CW_OK ? cw_file_replace(path, 0600, cw_secret_span(&fresh), err) : rc;
}

static enum cw_code load_operator(struct hospital *hospital, struct cw_err *err)
{
    const char *path = cw_config_text(hospital->config, CW_CONF_SANDBOX_OPERATOR_TOKEN_FILE);
    CW_AUTO_STR token;
    cw_str_init_secret(&token, 1024);
    uint8_t hash[CW_HASH_LEN];
    if (path[0] == '\0') {
        cw_random(hospital->operator_hash, sizeof hospital->operator_hash); /* nobody has it */
        return CW_OK;
    }
    enum cw_code rc = cw_file_read(path, true, &token, err);
    if (rc == CW_OK) {
        cw_sha256(cw_span_trim(cw_str_span(&token)), hash);
        memcpy(hospital->operator_hash, hash, sizeof hash);
    }
    return rc;
}

static enum cw_code start(struct hospital *hospital, struct cw_err *err)
{
    const struct cw_config *config = hospital->config;
    char folder[512];
    if (!cw_config_bool(config, CW_CONF_SANDBOX_ENABLED)) {
        return cw_err_set(err, CW_E_CONFIG, "sandbox", "[sandbox] enabled is not true: never in production");
    }
    (void)snprintf(hospital->origin, sizeof hospital->origin, "%s", cw_config_text(config, CW_CONF_ORIGIN));
    (void)snprintf(hospital->other_origin, sizeof hospital->other_origin, "%s",
                   cw_config_text(config, CW_CONF_SANDBOX_OTHER_ORIGIN));
    (void)snprintf(folder, sizeof folder, "%s/sandbox", cw_config_text(config, CW_CONF_STATE_DIR));
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return cw_err_sys(err, CW_E_IO, errno, "sandbox", "the state folder cannot be made");
    }
    hospital->diary = cw_sbx_diary_new();
    if (hospital->diary == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox", "out of memory");
    }
    enum cw_code rc = cw_sbx_state_open(folder, cw_span_cstr(hospital->origin), &hospital->state, err);
    if (rc == CW_OK) {
        rc = cw_sbx_store_open(cw_config_text(config, CW_CONF_SANDBOX_DATA), &hospital->store, err);
    }
    if (rc == CW_OK) {
        rc = cw_sbx_recordings_open(cw_config_text(config, CW_CONF_SANDBOX_RECORDINGS), &hospital->recordings, err);
    }
    if (rc == CW_OK) {
        rc = load_id_key(hospital, folder, err);
    }
    if (rc == CW_OK) {
        rc = load_operator(hospital, err);
    }
    if (rc == CW_OK) {
        rc = cw_templates_load(cw_config_text(config, CW_CONF_WWW_DIR), &hospital->templates, err);
    }
    return rc;
}

static enum cw_code serve(struct hospital *hospital, struct cw_err *err)
{
    size_t count = 0;
    const struct cw_route *routes = hospital_doors(&count);
    if (routes == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox", "out of memory");
    }
    const struct cw_web_app web = {
        .program = "chartway-sandbox",
        .mount = "/sandbox",
        .routes = routes,
        .route_count = count,
        .before = site_enter,
        .faults = CW_FAULT_JSON,
        .threads = (unsigned)cw_config_int(hospital->config, CW_CONF_SANDBOX_THREADS),
        .listen_fd = 0,
        .context = hospital,
        .fault_page = page_fault,
    };
    cw_log(CW_LOG_INFO, "sandbox.start", CW_INT("threads", web.threads),
           CW_INT("patients", cw_sbx_patient_count(hospital->store)), CW_INT("recordings", cw_sbx_recordings_count(hospital->recordings)));
    return cw_web_run(&web, err);
}

int main(void)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_config *config = NULL;
    struct hospital *hospital = calloc(1, sizeof *hospital);
    cw_process_harden();
    cw_web_prepare();
    cw_log_init("chartway-sandbox", CW_LOG_INFO);
    cw_stop_init();
    enum cw_code rc = hospital == NULL ? CW_E_OOM : cw_config_load(NULL, &config, &err);
    if (rc == CW_OK) {
        hospital->config = config;
        rc = start(hospital, &err);
    }
    if (rc == CW_OK) {
        rc = serve(hospital, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "sandbox.stop", CW_ERR(&err));
    }
    if (hospital != NULL) {
        cw_templates_free(hospital->templates);
        cw_signing_key_free(hospital->id_key);
        cw_sbx_state_free(hospital->state);
        cw_sbx_store_free(hospital->store);
        cw_sbx_recordings_free(hospital->recordings);
        cw_sbx_diary_free(hospital->diary);
    }
    free(hospital);
    cw_config_free(config);
    return rc == CW_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
