/* SPDX-License-Identifier: Apache-2.0 */
/* keyring init | status | rotate | verify: the master keys, and all that hangs on them. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "model/keyring.h"
#include "model/sealed.h"

#define SAMPLE 200       /* cells of each column that verify opens without --all */
#define SHOWN_MAX 50     /* faults shown one by one */

static enum cw_code init(struct ctl *ctl, struct cw_err *err)
{
    enum cw_code rc = cw_vault_make_master(ctl_arg(ctl, 0), err);
    if (rc == CW_OK) {
        (void)printf("%s\n", ctl_arg(ctl, 0));
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- status */

static const struct ctl_column status_columns[] = {
    { "master_key", CTL_TEXT },   { "state", CTL_TEXT },       { "data_keys", CTL_INT }, { "patient_keys", CTL_INT },
    { "purpose_keys", CTL_INT },  { "oldest", CTL_TIME },      { "file", CTL_TEXT },
};
enum { STATUS_WIDTH = CW_ARRAY_LEN(status_columns) };

/* The path of a master key in [vault] master_keys; absent when it is not there. */
static struct cw_span file_of(const struct ctl *ctl, struct cw_span id)
{
    struct cw_span entries = cw_span_cstr(cw_config_text(ctl->config, CW_CONF_MASTER_KEYS));
    struct cw_span entry, name;
    while (cw_span_word(&entries, &entry)) {
        if (cw_span_cut(&entry, '=', &name) && cw_span_eq(name, id)) {
            return entry;
        }
    }
    return (struct cw_span){ NULL, 0 };
}

static void fill_row(const struct ctl *ctl, const struct cw_keyring_use *use, struct ctl_cell *row)
{
    struct cw_span file = file_of(ctl, use->master_key_id);
    bool active = cw_span_eq_cstr(use->master_key_id, cw_vault_active_id(ctl->model.vault));
    int64_t oldest = 0;
    for (int t = 0; t < CW_KEYS__COUNT; t++) {
        if (use->oldest_us[t] != 0 && (oldest == 0 || use->oldest_us[t] < oldest)) {
            oldest = use->oldest_us[t];
        }
    }
    row[0] = CTL_T(use->master_key_id);
    row[1] = CTL_T(cw_span_cstr(active ? "active" : file.ptr == NULL ? "missing" : "held"));
    row[2] = CTL_N(use->keys[CW_KEYS_DATA]);
    row[3] = CTL_N(use->keys[CW_KEYS_PATIENT]);
    row[4] = CTL_N(use->keys[CW_KEYS_PURPOSE]);
    row[5] = CTL_N(oldest);
    row[6] = CTL_T(file);
}

/* Master keys of the configuration that wrap nothing (yet, or any more) are shown too. */
static void add_unused(const struct ctl *ctl, struct cw_keyring_use *uses, size_t *count)
{
    struct cw_span entries = cw_span_cstr(cw_config_text(ctl->config, CW_CONF_MASTER_KEYS));
    struct cw_span entry, name;
    while (cw_span_word(&entries, &entry)) {
        bool known = !cw_span_cut(&entry, '=', &name);
        for (size_t i = 0; !known && i < *count; i++) {
            known = cw_span_eq(uses[i].master_key_id, name);
        }
        if (!known) {
            uses[(*count)++] = (struct cw_keyring_use){ .master_key_id = name };
        }
    }
}

static enum cw_code status(struct ctl *ctl, struct cw_err *err)
{
    struct cw_keyring_use uses[2 * CW_KEYRING_USES_MAX];
    size_t count = 0;
    enum cw_code rc = cw_keyring_status(&ctl->model, ctl->arena, uses, &count, err);
    if (rc != CW_OK) {
        return rc;
    }
    add_unused(ctl, uses, &count);
    struct ctl_cell *cells = ctl_cells(ctl, count, STATUS_WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        fill_row(ctl, &uses[i], cells + i * STATUS_WIDTH);
    }
    struct ctl_table table = { status_columns, STATUS_WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

/* ---------------------------------------------------------------------------------------------- rotate and verify */

static const char *reason_of(enum cw_code code)
{
    return code == CW_E_CONFIG      ? "its master key is not in [vault] master_keys"
           : code == CW_E_NOT_FOUND ? "its data key is missing"
                                    : "does not open";
}

struct shown {
    unsigned count;
};

static void show_key_fault(void *arg, const struct cw_key_fault *fault)
{
    struct shown *shown = arg;
    if (shown->count++ < SHOWN_MAX) {
        char owner[CW_ID_TEXT_MAX];
        cw_id_emit("", fault->owner, owner);
        (void)fprintf(stderr, "%s %s version %u, under master key '%.*s': %s\n", cw_key_table_name(fault->table), owner,
                      fault->version, (int)fault->master_key_id.len, fault->master_key_id.ptr, reason_of(fault->code));
    }
}

static void show_cell_fault(void *arg, const struct cw_sealed_column *column, struct cw_ulid row, enum cw_code code)
{
    struct shown *shown = arg;
    if (shown->count++ < SHOWN_MAX) {
        char id[CW_ID_TEXT_MAX];
        cw_id_emit("", row, id);
        (void)fprintf(stderr, "%s of row %s: %s\n", column->cell, id, reason_of(code));
    }
}

static enum cw_code failed(uint64_t faults, const char *what, struct cw_err *err)
{
    return faults == 0 ? CW_OK
                       : cw_err_set(err, CW_E_AUTH, "keyring", "%llu %s do not open; nothing of them was changed",
                                    (unsigned long long)faults, what);
}

static void print_keys(const struct cw_keyring_walk *walk, const char *what)
{
    (void)printf("%s: %llu data keys, %llu patient keys, %llu purpose keys\n", what,
                 (unsigned long long)walk->done[CW_KEYS_DATA], (unsigned long long)walk->done[CW_KEYS_PATIENT],
                 (unsigned long long)walk->done[CW_KEYS_PURPOSE]);
}

static enum cw_code rotate(struct ctl *ctl, struct cw_err *err)
{
    struct shown shown = { 0 };
    struct cw_keyring_walk walk = { .fault = show_key_fault, .arg = &shown };
    enum cw_code rc = cw_keyring_open(&ctl->model, err); /* never under a wrong key */
    if (rc == CW_OK) {
        rc = cw_keyring_rotate(&ctl->model, &walk, err);
    }
    char what[CW_MASTER_KEY_ID_MAX + 32];
    (void)snprintf(what, sizeof what, "moved to master key '%s'", cw_vault_active_id(ctl->model.vault));
    print_keys(&walk, what);
    return rc == CW_OK ? failed(walk.faults, "wrapped keys", err) : rc;
}

static enum cw_code verify(struct ctl *ctl, struct cw_err *err)
{
    struct shown shown = { 0 };
    struct cw_keyring_walk keys = { .fault = show_key_fault, .arg = &shown };
    struct cw_sealed_walk cells = { .fault = show_cell_fault, .arg = &shown, .most = SAMPLE };
    if (ctl_switch(ctl, "--all")) {
        cells.most = 0;
    }
    enum cw_code rc = cw_keyring_verify(&ctl->model, &keys, err);
    if (rc == CW_OK) {
        print_keys(&keys, "open");
        rc = cw_sealed_verify(&ctl->model, &cells, err);
    }
    if (rc == CW_OK) {
        (void)printf("%s: %llu sealed cells, and %llu whose key is destroyed\n",
                     ctl_switch(ctl, "--all") ? "open" : "open, of a sample", (unsigned long long)cells.good,
                     (unsigned long long)cells.shredded);
        rc = failed(keys.faults + cells.faults, "keys or cells", err);
    }
    return rc;
}

static const struct ctl_option status_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };
static const struct ctl_option verify_options[] = {
    { "--all", NULL, false, "open every sealed cell, not 200 of each column" },
    { 0 },
};

const struct ctl_command ctl_keyring_commands[] = {
    { "keyring init", "PATH", 1, 1, CTL_NEED_NOTHING, NULL, "Makes a master key file; never replaces one.", NULL, init },
    { "keyring status", "", 0, 0, CTL_NEED_STORE, "keyring.status",
      "Shows the master keys, and how many wrapped keys hang on each.", status_options, status },
    { "keyring rotate", "", 0, 0, CTL_NEED_STORE, "keyring.rotate",
      "Moves all wrapped keys to the active master key, while everything runs.", NULL, rotate },
    { "keyring verify", "", 0, 0, CTL_NEED_STORE, "keyring.verify",
      "Opens every wrapped key and sealed cells, and names what does not open.", verify_options, verify },
    { 0 },
};
