/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments: the command's option table decides what is an option, so that nothing is guessed. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

static const struct ctl_option *find_option(const struct ctl_command *command, struct cw_span name)
{
    for (const struct ctl_option *o = command->options; o != NULL && o->name != NULL; o++) {
        if (cw_span_eq_cstr(name, o->name)) {
            return o;
        }
    }
    return NULL;
}

static bool complain(const struct ctl *ctl, const char *what, const char *about)
{
    (void)fprintf(stderr, "chartwayctl %s: %s%s%s\n", ctl->command->name, what, about[0] == '\0' ? "" : " ", about);
    return false;
}

static bool add_option(struct ctl *ctl, const struct ctl_option *option, const char *value)
{
    if (!option->repeats && ctl_option(ctl, option->name) != NULL) {
        return complain(ctl, "given twice:", option->name);
    }
    if (ctl->option_count == CTL_ARGS_MAX) {
        return complain(ctl, "too many options", "");
    }
    ctl->options[ctl->option_count].name = option->name;
    ctl->options[ctl->option_count].value = value;
    ctl->option_count++;
    return true;
}

/* "--name", "--name VALUE" or "--name=VALUE". *at stands on it, and moves over a value of its own. */
static bool read_option(struct ctl *ctl, int argc, char **argv, int *at)
{
    struct cw_span rest = cw_span_cstr(argv[*at]);
    struct cw_span name;
    bool joined = cw_span_cut(&rest, '=', &name);
    const struct ctl_option *option = find_option(ctl->command, name);
    if (option == NULL) {
        return complain(ctl, "unknown option", argv[*at]);
    }
    if (option->value == NULL) {
        return joined ? complain(ctl, "takes no value:", option->name) : add_option(ctl, option, "");
    }
    if (!joined) {
        if (*at + 1 >= argc) {
            return complain(ctl, "wants a value:", option->name);
        }
        ++*at;
    }
    return add_option(ctl, option, joined ? rest.ptr : argv[*at]);
}

bool ctl_args_read(struct ctl *ctl, int argc, char **argv)
{
    bool only_args = false;
    for (int at = 0; at < argc; at++) {
        if (!only_args && strcmp(argv[at], "--") == 0) {
            only_args = true;
        } else if (!only_args && argv[at][0] == '-' && argv[at][1] != '\0') {
            if (!read_option(ctl, argc, argv, &at)) {
                return false;
            }
        } else if (ctl->arg_count == ctl->command->args_max) {
            return complain(ctl, "one argument too many:", argv[at]);
        } else {
            ctl->args[ctl->arg_count++] = argv[at];
        }
    }
    return ctl->arg_count >= ctl->command->args_min || complain(ctl, "wants", ctl->command->args);
}

const char *ctl_option(const struct ctl *ctl, const char *name)
{
    for (size_t i = 0; i < ctl->option_count; i++) {
        if (strcmp(ctl->options[i].name, name) == 0) {
            return ctl->options[i].value;
        }
    }
    return NULL;
}

bool ctl_switch(const struct ctl *ctl, const char *name)
{
    return ctl_option(ctl, name) != NULL;
}

const char *ctl_arg(const struct ctl *ctl, size_t at)
{
    return at < ctl->arg_count ? ctl->args[at] : NULL;
}

enum cw_code ctl_usage(struct cw_err *err, const char *text)
{
    return cw_err_set(err, CW_E_RANGE, "usage", "%s", text);
}

enum cw_code ctl_environment(const struct ctl *ctl, enum cw_environment fallback, enum cw_environment *ret,
                             struct cw_err *err)
{
    const char *name = ctl_option(ctl, "--env");
    if (name == NULL && (int)fallback != 0) {
        *ret = fallback;
        return CW_OK;
    }
    if (name == NULL || !cw_environment_parse(cw_span_cstr(name), ret)) {
        return ctl_usage(err, "--env must be sandbox or production");
    }
    return CW_OK;
}
