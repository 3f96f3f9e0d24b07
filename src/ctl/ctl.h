/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartwayctl: one descriptor a command. The table in main.c is all that dispatch, --help and the man page's test know; a
 * command reads its arguments from struct ctl, calls model functions (which write the audit rows), and prints.
 *
 * Exit status: 0 done, 1 failed, 2 used wrongly. Results go to stdout, reasons to stderr.
 */
#ifndef CW_CTL_CTL_H
#define CW_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"
#include "model/model.h"
#include "model/org.h"
#include "model/source.h"
#include "os/config.h"
#include "smart/profile.h"

/* STORE is the model without a look at the keys. */
enum ctl_need { CTL_NEED_NOTHING, CTL_NEED_CONFIG, CTL_NEED_STORE, CTL_NEED_MODEL };

struct ctl_option {
    const char *name;    /* "--env" */
    const char *value;   /* "sandbox|production"; NULL: a switch */
    bool repeats;
    const char *doc;
};

struct ctl;
struct ctl_command {
    const char *name;    /* one to three words */
    const char *args;    /* as usage shows them, options apart */
    unsigned args_min, args_max;
    enum ctl_need need;
    const char *audit;   /* the act written before it runs, where no model function of its own writes one; NULL */
    const char *doc;
    const struct ctl_option *options; /* ended by a row without name; NULL: none */
    enum cw_code (*run)(struct ctl *ctl, struct cw_err *err);
};

#define CTL_ARGS_MAX 64u

struct ctl {
    const struct ctl_command *command;
    const char *args[CTL_ARGS_MAX];
    size_t arg_count;
    struct {
        const char *name;  /* that of the table */
        const char *value; /* "" of a switch */
    } options[CTL_ARGS_MAX];
    size_t option_count;
    struct cw_config *config;  /* from CTL_NEED_CONFIG */
    struct cw_model model;     /* from CTL_NEED_STORE */
    struct cw_actor actor;
    char actor_name[65];
    struct cw_arena *arena;
};

/* Commands, by table; ended by a row without name. */
extern const struct ctl_command ctl_config_commands[];
extern const struct ctl_command ctl_keyring_commands[];
extern const struct ctl_command ctl_org_commands[];
extern const struct ctl_command ctl_key_commands[];
extern const struct ctl_command ctl_source_commands[];
extern const struct ctl_command ctl_source_profile_commands[];
extern const struct ctl_command ctl_client_commands[];
extern const struct ctl_command ctl_patient_commands[];
extern const struct ctl_command ctl_pull_commands[];
extern const struct ctl_command ctl_doctor_commands[];
extern const struct ctl_command ctl_attempt_commands[];
extern const struct ctl_command ctl_status_commands[];
extern const struct ctl_command ctl_signing_key_commands[];

/* Reads what stands behind the command's name. False after having said what is wrong. */
bool ctl_args_read(struct ctl *ctl, int argc, char **argv);
/* The value of an option, or NULL. */
const char *ctl_option(const struct ctl *ctl, const char *name);
bool ctl_switch(const struct ctl *ctl, const char *name);
/* The positional argument, or NULL. */
const char *ctl_arg(const struct ctl *ctl, size_t at);
/* CW_E_RANGE with the text as a usage fault: main shows the usage and exits with 2. */
enum cw_code ctl_usage(struct cw_err *err, const char *text);
/* --env, or `fallback`; 0 as fallback: required. */
enum cw_code ctl_environment(const struct ctl *ctl, enum cw_environment fallback, enum cw_environment *ret,
                             struct cw_err *err);

/* The organization of --org (id or name), or the only one there is. */
enum cw_code ctl_org(struct ctl *ctl, struct cw_org *ret, struct cw_err *err);

/* A source by fhirsrc_ id or FHIR base URL, in --env or whichever environment has it. */
enum cw_code ctl_source(struct ctl *ctl, const char *id_or_url, struct cw_source *ret, struct cw_err *err);

/* The vendor profile of a source by all that is stored, and why. The caller frees *ret_profiles, which the choice borrows from. */
enum cw_code ctl_profile_of(struct ctl *ctl, const struct cw_source *source, struct cw_profiles **ret_profiles,
                            struct cw_profile_choice *ret_choice, struct cw_err *err);

/* The required --patient, and its organization. */
enum cw_code ctl_patient_of(struct ctl *ctl, struct cw_org *ret_org, struct cw_span *ret_patient, struct cw_err *err);
enum cw_code ctl_pull_status(struct ctl *ctl, struct cw_err *err);
enum cw_code ctl_pull_policy(struct ctl *ctl, struct cw_err *err);

/* ---- a list, printed as aligned columns or, with --json, as an array of objects */

enum ctl_kind { CTL_TEXT, CTL_INT, CTL_BOOL, CTL_TIME /* 0: none */, CTL_LIST /* words; an array in JSON */, CTL_RAW /* JSON already */ };
struct ctl_column {
    const char *key;
    enum ctl_kind kind;
};
struct ctl_cell {
    struct cw_span text; /* absent: none */
    int64_t number;
};
#define CTL_T(span_) ((struct ctl_cell){ .text = (span_) })
#define CTL_N(number_) ((struct ctl_cell){ .number = (int64_t)(number_) })

struct ctl_table {
    const struct ctl_column *columns;
    size_t width;
    const struct ctl_cell *cells; /* row after row */
    size_t count;
};
enum cw_code ctl_table_print(const struct ctl *ctl, const struct ctl_table *table, struct cw_err *err);
/* What a command made, a table of one row: with --json its object, else the first cell alone, for $(…) of a shell. */
enum cw_code ctl_made_print(const struct ctl *ctl, const struct ctl_table *table, struct cw_err *err);
/* The same as text, appended. */
enum cw_code ctl_table_emit(const struct ctl_table *table, bool json, struct cw_str *out);
/* An id's text in the arena; absent when the arena is full. */
struct cw_span ctl_id(const struct ctl *ctl, const char *prefix, struct cw_ulid id);
/* `count` rows of zeroed cells, or NULL with err filled. */
struct ctl_cell *ctl_cells(const struct ctl *ctl, size_t count, size_t width, struct cw_err *err);

#endif
