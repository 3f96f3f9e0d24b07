/* SPDX-License-Identifier: Apache-2.0 */
/* What programs open at start and close at their end. */
#include "config.h"
#include "model/model.h"

#include "model/keyring.h"
#include "os/log.h"

enum cw_code cw_model_open(struct cw_model *model, const struct cw_config *config, unsigned pool_size,
                           struct cw_err *err)
{
    *model = (struct cw_model){ .config = config };
    cw_log_set_level(cw_config_text(config, CW_CONF_LOG_LEVEL));
    enum cw_code rc = cw_vault_new(config, &model->vault, err);
    if (rc == CW_OK) {
        rc = cw_db_pool_new(config, pool_size, &model->pool, err);
    }
    struct cw_db *db = NULL;
    if (rc == CW_OK) {
        rc = cw_db_get(model->pool, 10000, &db, err);
    }
    if (rc == CW_OK) {
        rc = cw_db_check_schema(db, cw_config_text(config, CW_CONF_SQL_DIR), err);
    }
    cw_db_put(db);
    if (rc != CW_OK) {
        cw_model_release(model);
        return rc;
    }
    uint8_t log_key[32];
    cw_vault_log_key(model->vault, log_key);
    cw_log_set_key(log_key);
    cw_wipe(log_key, sizeof log_key);
    return CW_OK;
}

enum cw_code cw_model_init(struct cw_model *model, const struct cw_config *config, unsigned pool_size,
                           struct cw_err *err)
{
    enum cw_code rc = cw_model_open(model, config, pool_size, err);
    if (rc == CW_OK) {
        rc = cw_keyring_open(model, err);
        if (rc != CW_OK) {
            cw_model_release(model);
        }
    }
    return rc;
}

void cw_model_release(struct cw_model *model)
{
    cw_db_pool_free(model->pool);
    cw_vault_free(model->vault);
    *model = (struct cw_model){ 0 };
}

const char *cw_environment_name(enum cw_environment environment)
{
    return environment == CW_ENV_PRODUCTION ? "production" : "sandbox";
}

bool cw_environment_parse(struct cw_span name, enum cw_environment *ret)
{
    if (cw_span_eq_cstr(name, "sandbox")) {
        *ret = CW_ENV_SANDBOX;
        return true;
    }
    if (cw_span_eq_cstr(name, "production")) {
        *ret = CW_ENV_PRODUCTION;
        return true;
    }
    return false;
}
