/* SPDX-License-Identifier: Apache-2.0 */
/* pull start: a patient's records fetched now. pull receipt: the proof of what came. How a pull goes is pull_status.c. */
#include "config.h"
#include "ctl/ctl.h"

#include <stdio.h>

#include "base/time.h"
#include "model/pull.h"
#include "model/pull_receipt.h"

enum cw_code ctl_patient_of(struct ctl *ctl, struct cw_org *ret_org, struct cw_span *ret_patient, struct cw_err *err)
{
    *ret_patient = cw_span_cstr(ctl_option(ctl, "--patient"));
    if (ret_patient->ptr == NULL) {
        return ctl_usage(err, "--patient is required");
    }
    return ctl_org(ctl, ret_org, err);
}

static enum cw_code start(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_span patient;
    unsigned count = 0;
    enum cw_code rc = ctl_patient_of(ctl, &org, &patient, err);
    if (rc == CW_OK) {
        rc = cw_pull_start_patient(&ctl->model, &ctl->actor, org.id, patient, &count, err);
    }
    if (rc == CW_OK) {
        (void)printf("%u pull%s started\n", count, count == 1 ? "" : "s");
    }
    return rc;
}

/* The receipt alone goes to stdout, byte for byte what is signed; the rest is for a person. */
static enum cw_code print_receipt(const struct cw_pull_receipt *receipt, const struct cw_receipt_check *check, struct cw_err *err)
{
    (void)fwrite(receipt->json.ptr, 1, receipt->json.len, stdout);
    if (check != NULL) {
        char when[CW_TIME_TEXT];
        cw_time_emit(check->signed_us, when);
        (void)fprintf(stderr, "the signature is good: key %.*s (%s), signed %s, sha256 %s\n", (int)check->kid.len, check->kid.ptr,
                      cw_signing_stage_name(check->stage), when, receipt->sha256);
        if (check->stage == CW_SIGNING_RETIRED) {
            (void)fprintf(stderr, "that key is no longer published; where it was retired because it had got out, this proves nothing\n");
        }
    }
    return fflush(stdout) == 0 ? CW_OK : cw_err_set(err, CW_E_IO, "pull.receipt", "the receipt could not be written");
}

static enum cw_code print_json(const struct cw_pull_receipt *receipt, struct cw_err *err)
{
    (void)printf("{\"receipt_sha256\":\"%s\",\"signature\":", receipt->sha256);
    (void)(receipt->signature.ptr == NULL ? printf("null") : printf("\"%.*s\"", (int)receipt->signature.len, receipt->signature.ptr));
    (void)printf(",\"receipt\":%.*s}\n", (int)receipt->json.len, receipt->json.ptr);
    return fflush(stdout) == 0 ? CW_OK : cw_err_set(err, CW_E_IO, "pull.receipt", "the receipt could not be written");
}

static enum cw_code receipt(struct ctl *ctl, struct cw_err *err)
{
    struct cw_pull_id id;
    struct cw_pull_receipt found;
    struct cw_receipt_check check;
    bool verify = ctl_switch(ctl, "--verify");
    if (!cw_id_parse(CW_PREFIX_PULL, cw_span_cstr(ctl_arg(ctl, 0)), &id.ulid)) {
        return ctl_usage(err, "PULL is a pull_ id, as pull status shows it");
    }
    enum cw_code rc = cw_pull_receipt_get(&ctl->model, id, ctl->arena, &found, err);
    if (rc == CW_OK && verify) {
        rc = cw_pull_receipt_verify(&ctl->model, &found, ctl->arena, &check, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    return ctl_switch(ctl, "--json") ? print_json(&found, err) : print_receipt(&found, verify ? &check : NULL, err);
}

static const struct ctl_option receipt_options[] = {
    { "--verify", NULL, false, "check its signature first; it fails where that is not good" },
    { "--json", NULL, false, "with its hash and its signature" },
    { 0 },
};
static const struct ctl_option start_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { 0 },
};
static const struct ctl_option status_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { "--tasks", NULL, false, "only the tasks of the newest pull, one by one" },
    { "--records", NULL, false, "only the stored records, counted by type" },
    { "--next", NULL, false, "only when each connection is pulled next, or why it is not" },
    { "--json", NULL, false, "the pulls as JSON, each with its tasks by type" },
    { 0 },
};

static const struct ctl_option policy_options[] = {
    { "--source", "ID|URL", false, "for this source alone" },
    { "--env", "sandbox|production", false, "of the source, where both have it" },
    { "--incremental", "TIME", false, "between two pulls: 15m to 365d; 24h unless set" },
    { "--full", "TIME", false, "between two that ask for everything; 7d unless set" },
    { "--window", "FROM-TO", false, "hours of the hospital's clock; 20-6 unless set; 0-0 is all day" },
    { "--off", NULL, false, "none by schedule" },
    { "--on", NULL, false, "by schedule again" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_pull_commands[] = {
    { "pull start", "", 0, 0, CTL_NEED_MODEL, NULL, "Starts a pull of each active connection of a patient.",
      start_options, start },
    { "pull status", "", 0, 0, CTL_NEED_MODEL, "pull.status",
      "Shows a patient's pulls, newest first, the newest one's tasks by type, and the records stored by type.",
      status_options, ctl_pull_status },
    { "pull receipt", "PULL", 1, 1, CTL_NEED_MODEL, "pull.receipt",
      "Prints the receipt of a pull that has ended, byte for byte as it is signed.", receipt_options, receipt },
    { "pull policy", "[ORG]", 0, 1, CTL_NEED_MODEL, "pull.policy",
      "Shows how often the records of an organization's patients are fetched anew, or sets it.", policy_options, ctl_pull_policy },
    { 0 },
};
