/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt of a pull: what was planned, what came, what did not come and why. JSON, kept sealed with the pull, shown to the operator and in
 * the API. It holds types, counts, codes and scopes; no ids, no texts of the server, nothing clinical.
 */
#ifndef CW_FHIR_RECEIPT_H
#define CW_FHIR_RECEIPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

#define CW_RECEIPT_MAX (256u * 1024u)

/* One task, as it ended. Tasks of one (type, kind) are added up. */
struct cw_receipt_task {
    struct cw_span type;
    const char *kind;        /* "read", "search", "reference", "document": a literal */
    const char *status;      /* "done", "failed", "skipped", "waiting": a literal */
    struct cw_span code;     /* why it failed or was skipped; absent when done */
    int http_status;         /* of the last answer when it failed; 0: none */
    unsigned pages;          /* answers taken */
    unsigned requests;       /* sent, repeats included */
    unsigned received, stored, unchanged;
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
    struct cw_span asked, granted; /* scopes, separated by blanks */
    const struct cw_receipt_task *tasks;
    size_t count;
    const struct cw_receipt_skip *skips;
    size_t skip_count;
};

/* Appends
 *   {"status","failure_code"?,"started_at","ended_at",
 *    "scopes":{"asked":[],"granted":[],"lost":[]},
 *    "totals":{"requests","pages","received","stored","unchanged","bytes"},
 *    "types":[{"type","requests","pages","received","stored","unchanged","bytes","total"?,"complete","problems":[{"status","code","http_status"?,"count"}]?}],
 *    "documents":{…as a type…}, "references":{…},
 *    "left_out":[{"type","reason","count"}]?}
 * Types stand in the order of their first search. A lost scope was asked and is not granted in the same words; servers that answer in another
 * dialect show all as lost, so read it together with "granted". The string's fault is returned. */
enum cw_code cw_receipt_emit(const struct cw_receipt *receipt, struct cw_str *out) CW_NONNULL(1, 2) CW_MUST_USE;

#endif
