/* SPDX-License-Identifier: Apache-2.0 */
/* chartway-api: the JSON API for app backends, a FastCGI responder on the socket at descriptor 0. */
#include "config.h"

#include "api/api.h"

#include "catalog/index.h"
#include "os/log.h"
#include "os/sys.h"

#define DOCUMENT_MAX (1024u * 1024u)

static enum cw_code open_search(struct cw_api *api, const struct cw_config *config, struct cw_err *err)
{
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        CW_AUTO_STR path;
        cw_str_init(&path, 4096);
        (void)cw_index_path(config, (enum cw_environment)env, &path);
        api->search[env] = cw_str_code(&path) == CW_OK ? cw_search_new(cw_str_cstr(&path)) : NULL;
        if (api->search[env] == NULL) {
            return cw_err_set(err, CW_E_OOM, "api", "no memory for the search");
        }
    }
    return CW_OK;
}

/* What is served to everybody is read once: a file that is missing stops the start, not a request. */
static enum cw_code read_document(const struct cw_config *config, const char *name, struct cw_str *out,
                                  struct cw_err *err)
{
    CW_AUTO_STR path;
    cw_str_init(&path, 4096);
    cw_str_addf(&path, "%s/%s", cw_config_text(config, CW_CONF_WWW_DIR), name);
    cw_str_init(out, DOCUMENT_MAX);
    return cw_file_read(cw_str_cstr(&path), false, out, err);
}

static enum cw_code start(struct cw_api *api, const struct cw_config *config, struct cw_err *err)
{
    api->origin = cw_config_text(config, CW_CONF_ORIGIN);
    enum cw_code rc = read_document(config, "openapi.json", &api->document, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = read_document(config, "errors.html", &api->errors, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = open_search(api, config, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_model_init(&api->model, config, 0, err);
    return rc == CW_OK ? cw_audit_queue_new(&api->model, &api->audit, err) : rc;
}

static enum cw_code serve(struct cw_api *api, const struct cw_config *config, struct cw_err *err)
{
    CW_AUTO_STR doc_url;
    cw_str_init(&doc_url, 4096);
    cw_str_addf(&doc_url, "%s/api/errors", api->origin);
    const struct cw_web_app app = {
        .program = "chartway-api",
        .mount = "/api",
        .routes = cw_api_routes,
        .route_count = cw_api_route_count,
        .faults = CW_FAULT_JSON,
        .threads = (unsigned)cw_config_int(config, CW_CONF_API_THREADS),
        .context = api,
        .listen_fd = 0,
        .address_param = cw_config_text(config, CW_CONF_TRUSTED_PROXY_HEADER),
        .doc_url = cw_str_cstr(&doc_url),
        .before = cw_api_admit,
        .after = cw_api_after,
    };
    return cw_web_run(&app, err);
}

static void release(struct cw_api *api)
{
    cw_audit_queue_free(api->audit);
    cw_model_release(&api->model);
    cw_search_free(api->search[CW_ENV_SANDBOX]);
    cw_search_free(api->search[CW_ENV_PRODUCTION]);
    cw_str_release(&api->document);
    cw_str_release(&api->errors);
}

int main(void)
{
    struct cw_err err = { 0 };
    struct cw_config *config = NULL;
    struct cw_api api = { 0 };
    cw_process_harden();
    cw_web_prepare();
    cw_log_init("chartway-api", CW_LOG_INFO);
    cw_stop_init();
    enum cw_code rc = cw_config_load(NULL, &config, &err);
    if (rc == CW_OK) {
        rc = start(&api, config, &err);
    }
    if (rc == CW_OK) {
        cw_log(CW_LOG_INFO, "api.start", CW_INT("threads", cw_config_int(config, CW_CONF_API_THREADS)));
        rc = serve(&api, config, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "api.stop", CW_ERR(&err));
    }
    release(&api);
    cw_config_free(config);
    return rc == CW_OK ? 0 : 1;
}
