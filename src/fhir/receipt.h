/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt of a pull: what was planned, what came, what did not come and why. JSON, kept sealed with the pull, shown to the operator and in
 * the API, signed over its bytes (model/pull_receipt.h). It holds types, counts, codes and scopes; no upstream ids, no texts of the server, nothing
 * clinical.
 */
#ifndef CW_FHIR_RECEIPT_H
#define CW_FHIR_RECEIPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

#define CW_RECEIPT_VERSION 1           /* counts up when a member changes its meaning; new members alone do not change it */
#define CW_RECEIPT_MAX (1024u * 1024u) /* thousands of documents, each with its line */
#define CW_RECEIPT_TYPES_MAX (32u * 1024u)

/* One task, as it ended. Tasks of one (type, kind) are added up. */
struct cw_receipt_task {
    struct cw_span type;
    const char *kind;        /* "read", "search", "reference", "document": a literal */
    const char *status;      /* "done", "failed", "skipped", "waiting": a literal */
    struct cw_span code;     /* why it failed or was skipped; absent when done */
    int http_status;         /* of the last answer when it failed; 0: none */
    unsigned pages;          /* answers taken */
    unsigned requests;       /* sent: repeats, redirects and what was asked again in another way included. One whose answer a dying process took
                                with it is not known of */
    unsigned received, stored, unchanged;
    unsigned created;        /* of `stored`: not there before; the others are changed */
    int64_t total;           /* what the server promised, -1: it did not */
    uint64_t bytes;
};

/* What was met and not taken: entries, references and documents, by type and reason. */
struct cw_receipt_skip {
    struct cw_span type, reason;
    unsigned count;
};

struct cw_receipt {
    const char *status;      /* of the pull: "complete", "partial", "failed" */
    struct cw_span failure;  /* code, absent unless failed */
    int64_t started_us, ended_us;
    const char *pull;        /* its id on the wire */
    struct cw_span asked;    /* scopes, separated by blanks; absent: not kept any more, so it is not known what is lost either */
    struct cw_span granted, lost; /* the same; `lost`: of those asked, what the granted ones do not permit, whatever dialect they stand in */
    const struct cw_receipt_task *tasks;
    size_t count;
    const struct cw_receipt_skip *skips;
    size_t skip_count;
};

/* Appends
 *   {"version","pull_id","status","failure_code"?,"started_at","ended_at",
 *    "scopes":{"asked":[]|null,"granted":[],"lost":[]|null},
 *    "totals":{COUNTS},
 *    "types":[{"type",COUNTS,"total"?,"shortfall"?,"complete","problems":[{"status","code","http_status"?,"count"}]?}],
 *    "documents":{…as a type…,"count","items":[{"status","code"?,"http_status"?,"bytes"}]},
 *    "references":{…as a type…},
 *    "left_out":[{"type","reason","count"}]?}
 * COUNTS is "requests","pages","received","stored","created","changed","unchanged","bytes". Types stand in the order of their first search. "total" is what
 * the server told of those searches that told it; "shortfall" how many of them did not come, left out when none. "problems" are tasks that were skipped,
 * have failed or never ran, added up by their code. "complete": none has failed or waits. The string's fault is returned. */
enum cw_code cw_receipt_emit(const struct cw_receipt *receipt, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

/* Appends what the terminal event tells of each resource type, references and documents among them:
 *   [{"type","received","stored","unchanged","failed"}] */
enum cw_code cw_receipt_emit_types(const struct cw_receipt *receipt, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

#endif
