/* SPDX-License-Identifier: Apache-2.0 */
/* chartway-callback: a FastCGI responder on the socket at descriptor 0. Many small threads, since each waits on a hospital. */
#include "config.h"

#include "callback/callback.h"

#include "os/log.h"
#include "os/sys.h"
#include "smart/jwks.h"

#define LIMITER_SLOTS 65536u

static enum cw_code start(struct cw_callback *app, const struct cw_config *config, struct cw_err *err)
{
    app->config = config;
    app->origin = cw_config_text(config, CW_CONF_ORIGIN);
    app->secure = cw_span_starts(cw_span_cstr(app->origin), CW_SPAN("https://"));
    app->limiter = cw_limiter_new(LIMITER_SLOTS);
    app->https = cw_http_pool_new(config, (unsigned)cw_config_int(config, CW_CONF_CALLBACK_THREADS));
    app->jwks = cw_jwks_cache_new(NULL);
    if (app->limiter == NULL || app->https == NULL || app->jwks == NULL) {
        return cw_err_set(err, CW_E_OOM, "callback", "out of memory");
    }
    enum cw_code rc = cw_profiles_load(cw_config_text(config, CW_CONF_VENDORS_DIR), &app->profiles, err);
    if (rc == CW_OK) {
        rc = cw_templates_load(cw_config_text(config, CW_CONF_WWW_DIR), &app->templates, err);
    }
    struct cw_http *probe = NULL; /* a wrong [net] stops the start, not the first patient */
    if (rc == CW_OK && (rc = cw_http_pool_take(app->https, &probe, err)) == CW_OK) {
        cw_http_pool_give(app->https, probe);
    }
    return rc == CW_OK ? cw_model_init(&app->model, config, 0, err) : rc;
}

static enum cw_code serve(struct cw_callback *app, struct cw_err *err)
{
    const struct cw_web_app web = {
        .program = "chartway-callback",
        .mount = "",
        .routes = cw_callback_routes,
        .route_count = cw_callback_route_count,
        .faults = CW_FAULT_PAGE,
        .threads = (unsigned)cw_config_int(app->config, CW_CONF_CALLBACK_THREADS),
        .listen_fd = 0,
        .address_param = cw_config_text(app->config, CW_CONF_TRUSTED_PROXY_HEADER),
        .context = app,
        .before = cw_callback_admit,
        .fault_page = cw_callback_fault_page,
        .busy = cw_callback_busy,
    };
    cw_log(CW_LOG_INFO, "callback.start", CW_INT("threads", web.threads));
    return cw_web_run(&web, err);
}

static void release(struct cw_callback *app)
{
    cw_model_release(&app->model);
    cw_templates_free(app->templates);
    cw_profiles_free(app->profiles);
    cw_http_pool_free(app->https);
    cw_jwks_cache_free(app->jwks);
    cw_limiter_free(app->limiter);
}

int main(void)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_config *config = NULL;
    struct cw_callback app = { .config = NULL };
    cw_process_harden();
    cw_web_prepare();
    cw_log_init("chartway-callback", CW_LOG_INFO);
    cw_stop_init();
    enum cw_code rc = cw_config_load(NULL, &config, &err);
    if (rc == CW_OK) {
        rc = start(&app, config, &err);
    }
    if (rc == CW_OK) {
        rc = serve(&app, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "callback.stop", CW_ERR(&err));
    }
    release(&app);
    cw_config_free(config);
    return rc == CW_OK ? 0 : 1;
}
