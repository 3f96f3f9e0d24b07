/* SPDX-License-Identifier: Apache-2.0 */
/* chartwayctl: finds the command, opens what it needs, runs it, and says how it ended. */
#include "config.h"
#include "ctl/ctl.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/audit.h"
#include "os/log.h"
#include "os/sys.h"

#define ARENA_MAX (512u * 1024u * 1024u) /* a catalogue listed whole */

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct ctl_command *const tables[] = {
    ctl_config_commands,      ctl_keyring_commands, ctl_org_commands,     ctl_key_commands, ctl_source_commands,
    ctl_client_commands,      ctl_patient_commands, ctl_pull_commands,    ctl_attempt_commands, ctl_doctor_commands,
    ctl_signing_key_commands, ctl_status_commands,
    ctl_source_profile_commands,
};

static void print_usage(FILE *out, const struct ctl_command *command)
{
    (void)fprintf(out, "usage: chartwayctl %s%s%s", command->name, command->args[0] == '\0' ? "" : " ", command->args);
    (void)fprintf(out, "%s\n\n%s\n", command->options == NULL ? "" : " [options]", command->doc);
    for (const struct ctl_option *o = command->options; o != NULL && o->name != NULL; o++) {
        char left[80];
        (void)snprintf(left, sizeof left, "%s%s%s", o->name, o->value == NULL ? "" : " ",
                       o->value == NULL ? "" : o->value);
        (void)fprintf(out, "  %-34s %s%s\n", left, o->doc, o->repeats ? " (repeatable)" : "");
    }
}

static void print_overview(FILE *out)
{
    (void)fprintf(out, "usage: chartwayctl COMMAND [arguments]\n\n");
    for (size_t t = 0; t < CW_ARRAY_LEN(tables); t++) {
        for (const struct ctl_command *c = tables[t]; c->name != NULL; c++) {
            char left[80];
            (void)snprintf(left, sizeof left, "%s%s%s", c->name, c->args[0] == '\0' ? "" : " ", c->args);
            (void)fprintf(out, "  %-34s %s\n", left, c->doc);
        }
    }
    (void)fprintf(out, "\nEvery command answers --help; commands that list take --json.\n"
                       "The configuration is $CHARTWAY_CONF, else " CW_SYSCONFDIR "/chartway/chartway.conf.\n");
}

/* How many words of argv are the command's name; 0: it is another. */
static int name_matches(const char *name, int argc, char **argv)
{
    struct cw_span rest = cw_span_cstr(name);
    struct cw_span word;
    int at = 0;
    while (cw_span_word(&rest, &word)) {
        if (at >= argc || !cw_span_eq_cstr(word, argv[at])) {
            return 0;
        }
        at++;
    }
    return at;
}

static const struct ctl_command *find_command(int argc, char **argv, int *ret_words)
{
    for (size_t t = 0; t < CW_ARRAY_LEN(tables); t++) {
        for (const struct ctl_command *c = tables[t]; c->name != NULL; c++) {
            *ret_words = name_matches(c->name, argc, argv);
            if (*ret_words > 0) {
                return c;
            }
        }
    }
    return NULL;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static void name_actor(struct ctl *ctl)
{
    const struct passwd *user = getpwuid(getuid());
    if (user != NULL && user->pw_name != NULL) {
        (void)snprintf(ctl->actor_name, sizeof ctl->actor_name, "%s", user->pw_name);
    } else {
        (void)snprintf(ctl->actor_name, sizeof ctl->actor_name, "uid-%lu", (unsigned long)getuid());
    }
    ctl->actor = (struct cw_actor){ .kind = CW_ACTOR_OPERATOR, .name = ctl->actor_name };
}

static enum cw_code audit_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    const struct ctl *ctl = arg;
    const struct cw_audit_row row = { .action = ctl->command->audit };
    return cw_audit_write(db, &ctl->actor, &row, err);
}

static enum cw_code open_needs(struct ctl *ctl, struct cw_err *err)
{
    enum ctl_need need = ctl->command->need;
    ctl->arena = cw_arena_new(ARENA_MAX);
    if (ctl->arena == NULL) {
        return cw_err_set(err, CW_E_OOM, "start", "out of memory");
    }
    enum cw_code rc = need == CTL_NEED_NOTHING ? CW_OK : cw_config_load(NULL, &ctl->config, err);
    if (rc == CW_OK && need >= CTL_NEED_STORE) {
        rc = (need == CTL_NEED_MODEL ? cw_model_init : cw_model_open)(&ctl->model, ctl->config, 2, err);
    }
    if (rc == CW_OK && ctl->command->audit != NULL) {
        rc = cw_tx_pool(ctl->model.pool, audit_tx, ctl, err);
    }
    return rc;
}

static int report(const struct ctl *ctl, enum cw_code rc, const struct cw_err *err)
{
    if (rc == CW_OK && (fflush(stdout) != 0 || ferror(stdout) != 0)) {
        (void)fprintf(stderr, "chartwayctl %s: the output could not be written\n", ctl->command->name);
        return EXIT_FAILED;
    }
    if (rc == CW_OK) {
        return EXIT_DONE;
    }
    (void)fflush(stdout);
    (void)fprintf(stderr, "chartwayctl %s: %s\n", ctl->command->name,
                  err->text[0] != '\0' ? err->text : cw_code_name(rc));
    if (strcmp(err->where, "usage") == 0) {
        print_usage(stderr, ctl->command);
        return EXIT_USAGE;
    }
    return EXIT_FAILED;
}

static int run_command(const struct ctl_command *command, int argc, char **argv)
{
    struct ctl ctl = { .command = command };
    struct cw_err err = { 0 };
    if (wants_help(argc, argv)) {
        print_usage(stdout, command);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    if (!ctl_args_read(&ctl, argc, argv)) {
        print_usage(stderr, command);
        return EXIT_USAGE;
    }
    name_actor(&ctl);
    enum cw_code rc = open_needs(&ctl, &err);
    if (rc == CW_OK) {
        rc = command->run(&ctl, &err);
    }
    int status = report(&ctl, rc, &err);
    cw_model_release(&ctl.model);
    cw_config_free(ctl.config);
    cw_arena_free(ctl.arena);
    return status;
}

int main(int argc, char **argv)
{
    cw_process_harden();
    cw_log_init("chartwayctl", CW_LOG_WARNING);
    int words = 0;
    const struct ctl_command *command = find_command(argc - 1, argv + 1, &words);
    if (command != NULL) {
        return run_command(command, argc - 1 - words, argv + 1 + words);
    }
    if (wants_help(argc - 1, argv + 1) || (argc == 2 && strcmp(argv[1], "help") == 0)) {
        print_overview(stdout);
        return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    (void)fprintf(stderr, argc < 2 ? "chartwayctl: no command given\n" : "chartwayctl: no such command\n");
    print_overview(stderr);
    return EXIT_USAGE;
}
