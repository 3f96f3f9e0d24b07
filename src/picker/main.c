/* SPDX-License-Identifier: Apache-2.0 */
/* chartway-picker: a FastCGI responder on the socket at descriptor 0. */
#include "config.h"

#include "picker/picker.h"

#include "catalog/index.h"
#include "os/log.h"
#include "os/sys.h"

#define LIMITER_SLOTS 65536u

static enum cw_code open_search(struct cw_picker *app, struct cw_err *err)
{
    for (int env = CW_ENV_SANDBOX; env <= CW_ENV_PRODUCTION; env++) {
        CW_AUTO_STR path;
        cw_str_init(&path, 4096);
        (void)cw_index_path(app->config, (enum cw_environment)env, &path);
        app->search[env] = cw_str_code(&path) == CW_OK ? cw_search_new(cw_str_cstr(&path)) : NULL;
        if (app->search[env] == NULL) {
            return cw_err_set(err, CW_E_OOM, "picker", "no memory for the search");
        }
    }
    return CW_OK;
}

/* Every failure code has a sentence in every language: a hole is found here, not by a patient. */
static enum cw_code check_sentences(const struct cw_picker *app, struct cw_err *err)
{
    size_t count = 0;
    const struct cw_failure *table = cw_failure_table(&count);
    for (size_t i = 0; i < count; i++) {
        char key[128];
        snprintf(key, sizeof key, "failure.%s", table[i].code);
        if (!cw_locale_has(app->templates, key)) {
            return cw_err_set(err, CW_E_CONFIG, "picker", "the locales have no text \"%s\"", key);
        }
    }
    return CW_OK;
}

static enum cw_code start(struct cw_picker *app, const struct cw_config *config, struct cw_err *err)
{
    app->config = config;
    app->origin = cw_config_text(config, CW_CONF_ORIGIN);
    app->secure = cw_span_starts(cw_span_cstr(app->origin), CW_SPAN("https://"));
    app->limiter = cw_limiter_new(LIMITER_SLOTS);
    if (app->limiter == NULL) {
        return cw_err_set(err, CW_E_OOM, "picker", "out of memory");
    }
    enum cw_code rc = open_search(app, err);
    if (rc == CW_OK) {
        rc = cw_profiles_load(cw_config_text(config, CW_CONF_VENDORS_DIR), &app->profiles, err);
    }
    if (rc == CW_OK) {
        rc = cw_templates_load(cw_config_text(config, CW_CONF_WWW_DIR), &app->templates, err);
    }
    if (rc == CW_OK) {
        rc = check_sentences(app, err);
    }
    return rc == CW_OK ? cw_model_init(&app->model, config, 0, err) : rc;
}

static enum cw_code serve(struct cw_picker *app, struct cw_err *err)
{
    const struct cw_web_app web = {
        .program = "chartway-picker",
        .mount = "",
        .routes = cw_picker_routes,
        .route_count = cw_picker_route_count,
        .faults = CW_FAULT_PAGE,
        .threads = (unsigned)cw_config_int(app->config, CW_CONF_PICKER_THREADS),
        .listen_fd = 0,
        .address_param = cw_config_text(app->config, CW_CONF_TRUSTED_PROXY_HEADER),
        .context = app,
        .thread_new = cw_picker_thread_new,
        .thread_free = cw_picker_thread_free,
        .before = cw_picker_admit,
        .fault_page = cw_picker_fault_page,
        .busy = cw_picker_busy,
    };
    cw_log(CW_LOG_INFO, "picker.start", CW_INT("threads", web.threads));
    return cw_web_run(&web, err);
}

static void release(struct cw_picker *app)
{
    cw_model_release(&app->model);
    cw_templates_free(app->templates);
    cw_profiles_free(app->profiles);
    cw_search_free(app->search[CW_ENV_SANDBOX]);
    cw_search_free(app->search[CW_ENV_PRODUCTION]);
    cw_limiter_free(app->limiter);
}

int main(void)
{
    struct cw_err err = { .code = CW_OK };
    struct cw_config *config = NULL;
    struct cw_picker app = { .config = NULL };
    cw_process_harden();
    cw_web_prepare();
    cw_log_init("chartway-picker", CW_LOG_INFO);
    cw_stop_init();
    enum cw_code rc = cw_config_load(NULL, &config, &err);
    if (rc == CW_OK) {
        rc = start(&app, config, &err);
    }
    if (rc == CW_OK) {
        rc = serve(&app, &err);
    }
    if (rc != CW_OK) {
        cw_log(CW_LOG_ERR, "picker.stop", CW_ERR(&err));
    }
    release(&app);
    cw_config_free(config);
    return rc == CW_OK ? 0 : 1;
}
