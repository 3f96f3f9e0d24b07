/* SPDX-License-Identifier: Apache-2.0 */
/* signing-key status | rotate: the keys behind private_key_jwt, and their walk from one to the next. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/time.h"
#include "model/signing.h"
#include "os/sys.h"

static const char *waits_for(const struct cw_signing_line *line, int64_t now_us)
{
    switch (line->stage) {
    case CW_SIGNING_NEXT:
        return line->until_us > now_us ? "hospitals may not know it yet" : "ready to sign";
    case CW_SIGNING_CURRENT:
        return "signs";
    case CW_SIGNING_PREVIOUS:
        return "its last assertions may still be checked";
    case CW_SIGNING_RETIRED:
        break;
    }
    return line->has_private ? "private half is still there" : "private half destroyed";
}

static enum cw_code status(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "alg", CTL_TEXT },   { "stage", CTL_TEXT }, { "kid", CTL_TEXT },
        { "since", CTL_TIME }, { "until", CTL_TIME }, { "note", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_signing_line *lines = NULL;
    size_t count = 0;
    enum cw_code rc = cw_signing_list(&ctl->model, ctl->arena, &lines, &count, err);
    struct ctl_cell *cells = rc == CW_OK ? ctl_cells(ctl, count, WIDTH, err) : NULL;
    if (cells == NULL) {
        return rc == CW_OK ? CW_E_TOO_BIG : rc;
    }
    int64_t now_us = cw_now_us();
    for (size_t i = 0; i < count; i++) {
        const struct ctl_cell row[WIDTH] = {
            CTL_T(cw_span_cstr(cw_jose_alg_name(lines[i].alg))),
            CTL_T(cw_span_cstr(cw_signing_stage_name(lines[i].stage))),
            CTL_T(lines[i].kid),
            CTL_N(lines[i].since_us),
            CTL_N(lines[i].until_us),
            CTL_T(cw_span_cstr(waits_for(&lines[i], now_us))),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

static const struct {
    const char *name, *text;
    bool refused;
} steps[] = {
    [CW_SIGNING_NOTHING] = { "nothing", "nothing is due", false },
    [CW_SIGNING_PUBLISHED] = { "published",
                               "a next key is published; it may sign from the time shown", false },
    [CW_SIGNING_PROMOTED] = { "promoted",
                              "next signs, a new next is published; the old one stays published "
                              "until the time shown",
                              false },
    [CW_SIGNING_REPLACED] = { "replaced",
                              "next signs at once; all other keys are gone, and a new next is "
                              "published",
                              false },
    [CW_SIGNING_WAITS_NEXT] = { "waits",
                                "refused: hospitals may not know the next key before the time "
                                "shown",
                                true },
    [CW_SIGNING_WAITS_PREVIOUS] = { "waits",
                                    "refused: the rotation before this one is not over before the "
                                    "time shown",
                                    true },
};

static enum cw_code print_walk(struct ctl *ctl, const struct cw_signing_walked *walked,
                               const enum cw_jose_alg *algs, size_t count, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "alg", CTL_TEXT },    { "step", CTL_TEXT }, { "until", CTL_TIME },
        { "retired", CTL_INT }, { "note", CTL_TEXT },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct ctl_cell cells[CW_ALG__COUNT * WIDTH];
    bool refused = false;
    for (size_t i = 0; i < count; i++) {
        const struct ctl_cell row[WIDTH] = {
            CTL_T(cw_span_cstr(cw_jose_alg_name(algs[i]))),
            CTL_T(cw_span_cstr(steps[walked[i].step].name)),
            CTL_N(walked[i].until_us),
            CTL_N(walked[i].retired),
            CTL_T(cw_span_cstr(steps[walked[i].step].text)),
        };
        memcpy(cells + i * WIDTH, row, sizeof row);
        refused |= steps[walked[i].step].refused;
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    enum cw_code rc = ctl_table_print(ctl, &table, err);
    return rc == CW_OK && refused
               ? cw_err_set(err, CW_E_STATE, "signing",
                            "a wait is not over; --emergency skips it, if a key got out")
               : rc;
}

static enum cw_code rotate(struct ctl *ctl, struct cw_err *err)
{
    enum cw_jose_alg algs[] = { CW_ALG_RS384, CW_ALG_ES384 };
    struct cw_signing_walked walked[CW_ARRAY_LEN(algs)];
    const char *only = ctl_option(ctl, "--alg");
    size_t count = only == NULL ? CW_ARRAY_LEN(algs) : 1;
    if (only != NULL && (!cw_jose_alg_parse(cw_span_cstr(only), &algs[0]) ||
                         (algs[0] != CW_ALG_RS384 && algs[0] != CW_ALG_ES384))) {
        return ctl_usage(err, "--alg is RS384 or ES384");
    }
    enum cw_code rc = CW_OK;
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        rc = cw_signing_rotate(&ctl->model, &ctl->actor, algs[i], ctl_switch(ctl, "--emergency"),
                               &walked[i], err);
    }
    return rc == CW_OK ? print_walk(ctl, walked, algs, count, err) : rc;
}

static const struct ctl_option status_options[] = { { "--json", NULL, false, "as JSON" }, { 0 } };
static const struct ctl_option rotate_options[] = {
    { "--alg", "RS384|ES384", false, "this algorithm alone; both when left out" },
    { "--emergency", NULL, false, "a key got out: next signs at once, all others are destroyed" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_signing_key_commands[] = {
    { "signing-key status", "", 0, 0, CTL_NEED_MODEL, "signing_key.status",
      "Shows the keys of private_key_jwt and what each waits for.", status_options, status },
    { "signing-key rotate", "", 0, 0, CTL_NEED_MODEL, NULL,
      "Takes the next step of a rotation, or says until when it must wait.", rotate_options,
      rotate },
    { 0 },
};
