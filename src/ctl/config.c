/* SPDX-License-Identifier: Apache-2.0 */
/* migrate | check-config: what an installation needs before anything else works. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>
#include <sys/stat.h>

#include "model/audit.h"

static enum cw_code migrate_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct ctl *ctl = arg;
    const struct cw_audit_row row = { .action = "schema.migrate" };
    return cw_audit_write(db, &ctl->actor, &row, err);
}

static enum cw_code migrate_on(struct ctl *ctl, struct cw_db *db, struct cw_err *err)
{
    bool dry = ctl_switch(ctl, "--dry-run");
    unsigned ran = 0;
    enum cw_code rc = cw_db_migrate(db, cw_config_text(ctl->config, CW_CONF_SQL_DIR), dry, &ran, err);
    if (rc == CW_OK && ran > 0 && !dry) {
        rc = cw_tx_run(db, migrate_tx, ctl, err);
    }
    if (rc == CW_OK) {
        (void)printf("%u migration%s %s\n", ran, ran == 1 ? "" : "s", dry ? "to run" : "run");
    }
    return rc;
}

/* Before cw_model_init would work: that checks the schema. */
static enum cw_code migrate(struct ctl *ctl, struct cw_err *err)
{
    struct cw_db_pool *pool = NULL;
    struct cw_db *db = NULL;
    enum cw_code rc = cw_db_pool_new(ctl->config, 1, &pool, err);
    if (rc == CW_OK) {
        rc = cw_db_get(pool, CW_DB_WAIT_MS, &db, err);
    }
    if (rc == CW_OK) {
        rc = migrate_on(ctl, db, err);
    }
    cw_db_put(db);
    cw_db_pool_free(pool);
    return rc;
}

static enum cw_code check_folder(const struct cw_config *config, enum cw_config_key key, struct cw_err *err)
{
    const char *path = cw_config_text(config, key);
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return cw_err_set(err, CW_E_CONFIG, "config", "%s is no folder", path);
    }
    return CW_OK;
}

static enum cw_code check(const struct cw_config *config, struct cw_err *err)
{
    static const enum cw_config_key folders[] = { CW_CONF_WWW_DIR, CW_CONF_SQL_DIR, CW_CONF_VENDORS_DIR,
                                                  CW_CONF_STATE_DIR };
    struct cw_vault *vault = NULL;
    enum cw_code rc = cw_vault_new(config, &vault, err);
    cw_vault_free(vault);
    for (size_t i = 0; rc == CW_OK && i < CW_ARRAY_LEN(folders); i++) {
        rc = check_folder(config, folders[i], err);
    }
    return rc;
}

static enum cw_code check_config(struct ctl *ctl, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 256 * 1024);
    if (ctl_switch(ctl, "--example")) {
        if (cw_config_example(&text) != CW_OK) {
            return cw_err_set(err, CW_E_OOM, "config", "out of memory");
        }
        (void)fputs(cw_str_cstr(&text), stdout);
        return CW_OK;
    }
    enum cw_code rc = cw_config_load(NULL, &ctl->config, err);
    if (rc == CW_OK) {
        rc = check(ctl->config, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    if (!ctl_switch(ctl, "--show")) {
        (void)puts("the configuration is good");
        return CW_OK;
    }
    rc = cw_config_show(ctl->config, &text);
    (void)fputs(cw_str_cstr(&text), stdout);
    return rc;
}

static const struct ctl_option migrate_options[] = {
    { "--dry-run", NULL, false, "only count what would run" },
    { 0 },
};
static const struct ctl_option check_options[] = {
    { "--show", NULL, false, "print every key with the value in effect" },
    { "--example", NULL, false, "print the example file instead" },
    { 0 },
};

const struct ctl_command ctl_config_commands[] = {
    { "migrate", "", 0, 0, CTL_NEED_CONFIG, NULL, "Brings the database's schema up to this version.", migrate_options,
      migrate },
    { "check-config", "", 0, 0, CTL_NEED_NOTHING, NULL, "Checks the configuration, its key files and folders.",
      check_options, check_config },
    { 0 },
};
