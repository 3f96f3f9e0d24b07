/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pulls and their tasks. A pull is a set of tasks; a task is one FHIR query, reference or document; one page is the unit
 * of work, commit and resumption: its records, its next link and its counts commit together (cw_pull_commit_page).
 */
#ifndef CW_MODEL_PULL_H
#define CW_MODEL_PULL_H

#include "model/connection.h"
#include "model/document.h"
#include "model/job.h"
#include "model/record.h"
#include "model/schedule.h"

enum cw_pull_trigger { CW_PULL_CONNECTED = 1, CW_PULL_MANUAL = 2, CW_PULL_SCHEDULE = 3 };
enum cw_pull_status {
    CW_PULL_WAITING = 1, CW_PULL_RUNNING = 2, CW_PULL_COMPLETE = 3, CW_PULL_PARTIAL = 4, CW_PULL_FAILED = 5
};
const char *cw_pull_status_name(enum cw_pull_status status) CW_RETURNS_NONNULL;
const char *cw_pull_trigger_name(enum cw_pull_trigger trigger) CW_RETURNS_NONNULL;

struct cw_pull {
    struct cw_pull_id id;
    struct cw_org_id org;
    struct cw_patient_row patient;
    struct cw_connection_id connection;
    struct cw_endpoint_id endpoint;
    enum cw_pull_trigger trigger;
    enum cw_pull_mode mode;
    enum cw_pull_status status;
    struct cw_span failure_code;
    struct cw_span plan;          /* JSON text, absent before it is planned */
    unsigned requests, received, stored, unchanged, errors;
    unsigned created, vanished;   /* of records; stored less created were changed. Counted at the end */
    unsigned vanish_suspected;    /* types of which too many records were missing to be believed */
    int64_t created_us, started_us, ended_us;
    struct cw_source_id source;   /* of its connection; zero when that has gone */
};

enum cw_task_kind { CW_TASK_READ = 1, CW_TASK_SEARCH = 2, CW_TASK_REFERENCE = 3, CW_TASK_DOCUMENT = 4 };
enum cw_task_status { CW_TASK_WAITING = 1, CW_TASK_DONE = 2, CW_TASK_FAILED = 3, CW_TASK_SKIPPED = 4 };

struct cw_task {
    struct cw_task_id id;
    enum cw_task_kind kind;
    enum cw_task_status status;
    struct cw_span resource_type;
    struct cw_span url;           /* where to go on, in the clear: the next page or the first URL */
    struct cw_span accept, expect_hash; /* of a document: cw_task_new.accept, and for cw_document_in; absent: not told */
    int64_t expect_size;
    struct cw_span first_url;     /* the first page's, where `url` is a later one; else absent */
    bool first_page;
    unsigned ordinal, pages, received, stored, unchanged, tries, restarts;
    unsigned requests;            /* sent, those asked again included */
    unsigned created;             /* of `stored`: not there before */
    int64_t total;                /* Bundle.total, -1 when not told */
    struct cw_span failure_code;
    int http_status;
    uint64_t bytes;
    int64_t ready_us;
};

/* Makes a pull and its job in the caller's transaction. CW_E_CONFLICT when one of this connection waits or runs already (*ret then names it). */
enum cw_code cw_pull_start_in(struct cw_model *m, struct cw_db *db, const struct cw_connection *connection,
                              enum cw_pull_trigger trigger, struct cw_pull_id *ret, struct cw_err *err) CW_MUST_USE;
/* For the operator: a pull of each active connection of the patient. *ret_count how many were started. CW_E_NOT_FOUND: no such patient or no active connection. */
enum cw_code cw_pull_start_patient(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                                   struct cw_span patient_id, unsigned *ret_count, struct cw_err *err) CW_MUST_USE;
/* For an app: a pull of each active connection of the patient, or of those that `only` names (a connection's or a source's id; zero: all). *ret: those
 * that were started, and those that waited for another day and begin now. CW_E_NOT_FOUND: `only` names none of the patient's; CW_E_STATE: there is none that
 * is active; CW_E_CONFLICT: one of each waits or runs already. */
enum cw_code cw_pull_start_some(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org, struct cw_patient_row patient,
                                struct cw_ulid only, struct cw_arena *arena, struct cw_pull **ret, size_t *ret_count,
                                struct cw_err *err) CW_MUST_USE;
enum cw_code cw_pull_get(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull *ret,
                         struct cw_err *err) CW_MUST_USE;
/* Newest first, at most limit; without those that are only planned for another time (model/pull_schedule.h). */
enum cw_code cw_pull_list(struct cw_model *m, struct cw_patient_row patient, unsigned limit, struct cw_arena *arena,
                          struct cw_pull **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* The same behind `after` (zero: from the start), up to limit + 1. */
enum cw_code cw_pull_page(struct cw_model *m, struct cw_patient_row patient, struct cw_ulid after, unsigned limit, struct cw_arena *arena,
                          struct cw_pull **ret, size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* All tasks, URLs not unsealed (absent): for status and receipt. */
enum cw_code cw_pull_tasks(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_task **ret,
                           size_t *ret_count, struct cw_err *err) CW_MUST_USE;

/* What was met and not taken, by type and reason: entries, references and documents. `count` is how often it was met; a page that is read again counts again. */
struct cw_pull_skip {
    struct cw_span resource_type;
    struct cw_span reason;
    unsigned count;
};
#define CW_SKIP_BAD_ID "bad_id"               /* an id that cannot be one */
#define CW_SKIP_TOO_BIG "too_big"             /* over CW_FHIR_RESOURCE_MAX */
#define CW_SKIP_WRONG_PATIENT "wrong_patient" /* it says that it is another patient's */
#define CW_SKIP_OVER_LIMIT "over_limit"       /* references and documents beyond the budgets */
#define CW_PULL_SKIPS_MAX 500
enum cw_code cw_pull_skips(struct cw_model *m, struct cw_pull_id id, struct cw_arena *arena, struct cw_pull_skip **ret,
                           size_t *ret_count, struct cw_err *err) CW_MUST_USE;
/* True when data that could be had did not come: such a pull is partial. */
bool cw_pull_skip_is_loss(struct cw_span reason) CW_PURE;

/* Stores plan and tasks in one transaction; waiting → running. Only the first call of a pull has an effect. */
struct cw_task_new {
    enum cw_task_kind kind;
    const char *resource_type;
    unsigned ordinal;
    struct cw_span url;           /* absent where skipped, but for a document that is not asked for where it lies */
    const char *skip_code;        /* NULL, or why it is not asked */
    struct cw_span parent_type, parent_id; /* of a document: the resource of the same page that names it; else absent */
    struct cw_span binary_id;     /* of a document that is a Binary by its URL: its id; else absent */
    struct cw_span accept;        /* of a document: its type as its attachment tells, without parameters, at most CW_ACCEPT_MAX; else absent */
    struct cw_span sha1;          /* the same: its hash in base64 */
    int64_t size;                 /* the same; 0: not told */
    struct cw_span target_id;     /* of a reference: the id of what it names; else absent */
};
#define CW_ACCEPT_MAX 127u
/* Tasks of one pull beside its plan; what is beyond is counted (CW_SKIP_OVER_LIMIT). */
#define CW_PULL_REFERENCES_MAX 2000 /* to types that no search of the pull brings (smart-client-rules 7.4) */
#define CW_PULL_COVERED_MAX 4000    /* to types that a search brings as well: most of them leave before they are asked */
#define CW_PULL_DOCUMENTS_MAX 2000
#define CW_PULL_TASKS_MAX (CW_PULL_REFERENCES_MAX + CW_PULL_COVERED_MAX + CW_PULL_DOCUMENTS_MAX + 600)
enum cw_code cw_pull_plan(struct cw_model *m, const char *owner, const struct cw_job *job, struct cw_pull_id id,
                          struct cw_span plan_json, const struct cw_task_new *tasks, size_t count, struct cw_err *err)
    CW_MUST_USE;
/* Waiting tasks that are due, in their order, URLs in the clear, up to `most`. */
struct cw_waiting {
    struct cw_task *tasks;
    size_t count;
    unsigned left;                /* waiting in all, due or not */
    int64_t next_us;              /* when the first that is not yet due will be; 0: none such */
};
enum cw_code cw_pull_waiting(struct cw_model *m, const struct cw_pull *pull, unsigned most, struct cw_arena *arena,
                             struct cw_waiting *ret, struct cw_err *err) CW_MUST_USE;

/* References that wait and name what a search of this pull has brought meanwhile are taken off. To be called with no page in flight. CW_E_CONFLICT: the
 * job is no longer ours. */
enum cw_code cw_pull_drop_stored(struct cw_model *m, const char *owner, const struct cw_job *job, const struct cw_pull *pull,
                                 struct cw_err *err) CW_MUST_USE;
/* Is this upstream id our patient's, now or before the source merged it? *ret_sure false: the Patient has not been read in this pull yet, so it may turn
 * out to be. */
enum cw_code cw_pull_is_patient(struct cw_model *m, const struct cw_pull *pull, const struct cw_data_key *key, struct cw_span upstream,
                                bool *ret_ours, bool *ret_sure, struct cw_err *err) CW_MUST_USE;

/* One page, digested: everything of it commits together or not at all. */
struct cw_page_commit {
    const char *owner;
    const struct cw_job *job;
    struct cw_pull_id pull;
    struct cw_task_id task;
    struct cw_record_batch *records;        /* sealed and hashed, ready to store */
    struct cw_span next_url;                /* absent: the task is done */
    struct cw_span page_url;                /* of this page, for the loop guard */
    struct cw_span first_url;               /* of a first page that came by another URL than planned: what to begin with from now on; else absent */
    int64_t total;                          /* -1: not told */
    unsigned received;                      /* entries that are records */
    unsigned requests;                      /* sent since the task's last commit: this page's, and those that were asked again at once */
    uint64_t bytes;
    const struct cw_task_new *found;        /* references and documents to fetch; a document that is there already and whose parent is unchanged is
                                               noted as skipped ("unchanged"); a reference to what is there and fresh makes no task */
    size_t found_count;
    const struct cw_pull_skip *skips;       /* what this page had and was not taken */
    size_t skip_count;
    struct cw_span ids;                     /* of a search: types and ids of its entries, in order; empty: an empty page. Absent: not looked at */
    const char *end_code;                   /* NULL, or why the task ends here as failed although this page is kept */
    struct cw_connection_id connection;
    struct cw_endpoint_id endpoint;         /* with tenant_context: where documents that were found belong to */
    struct cw_span tenant_context;
    const struct cw_document_in *document;  /* NULL, or what was fetched is a document's bytes */
};
struct cw_page_result {
    unsigned stored, unchanged;
    bool loop;                              /* next was seen before, or three pages in a row have the ids of earlier ones: the task ends as failed, paging_loop */
    bool ended;                             /* the task has ended, done or failed: nobody follows next */
};
/* CW_E_CONFLICT: the job is no longer ours. */
enum cw_code cw_pull_commit_page(struct cw_model *m, const struct cw_page_commit *page, struct cw_page_result *ret,
                                 struct cw_err *err) CW_MUST_USE;
/* A page that could not be had: with retry_at_us the task waits (tries + 1), else it ends as failed with its code. */
struct cw_task_failure {
    const char *owner;
    const struct cw_job *job;
    struct cw_pull_id pull;
    struct cw_task_id task;
    const char *code;
    int http_status;
    int64_t retry_at_us;                    /* 0: final */
    bool restart;                           /* from the first page (expired paging session); counted, and no good page takes it back */
    struct cw_span new_url;                 /* with restart: the first page's URL from now on, and no restart is counted; absent: as it was */
    unsigned requests;                      /* sent since the task's last commit */
    bool no_try;                            /* the server said when to come again: the task's tries stay as they are */
    bool not_asked;                         /* ended without a request: another's answer said enough */
};
/* CW_E_CONFLICT: the job is no longer ours. */
enum cw_code cw_pull_task_failed(struct cw_model *m, const struct cw_task_failure *failure, struct cw_err *err) CW_MUST_USE;
/* The end: status, receipt (sealed), exactly one terminal event, the job's row gone, and the next pull where one is wanted already. */
struct cw_pull_ending {
    enum cw_pull_status status;
    const char *failure_code;               /* NULL unless failed */
    struct cw_span receipt_json;
    struct cw_span receipt_jws;             /* model/pull_receipt.h; absent: unsigned */
    const char *receipt_sha256;             /* hexadecimal, for the event; NULL: left out */
    struct cw_span types_json;              /* for the event: counts by type, an array; absent: left out */
    int64_t again_us;                       /* when the next pull is to begin, as the source said so; 0: nothing of that */
    int64_t skew_us;                        /* how far the source's clock is behind ours, 0 or less */
};
enum cw_code cw_pull_end(struct cw_model *m, const char *owner, const struct cw_job *job, struct cw_pull_id id,
                         const struct cw_pull_ending *ending, struct cw_err *err) CW_MUST_USE;

/* In the caller's transaction, which has taken the job's row away: waiting or running → failed, with the terminal event and no receipt. A pull that has
 * ended is CW_OK. */
enum cw_code cw_pull_cancel_in(struct cw_model *m, struct cw_db *db, struct cw_pull_id id, const char *failure_code,
                               struct cw_err *err) CW_MUST_USE;

#endif
