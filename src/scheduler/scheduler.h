/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler's own parts and how work moves between its threads (design section 5):
 *
 *   dispatcher ──prepare──► preparers   load, refresh, capability, plan, receipt (may wait on a hospital or the database)
 *        │ ▲                    │
 *      fetch │ changed ◄────────┘
 *        ▼ │
 *     fetcher (one thread, curl multi) ──digest──► digesters   slice, hash, compress, seal, commit one page
 *
 * One mutex (`lock`) guards every struct run and host; it is never held over a database call, a transfer or a slice. A run
 * belongs to the dispatcher; others hold it by `busy`, which the dispatcher waits for before it frees one.
 */
#ifndef CW_SCHEDULER_SCHEDULER_H
#define CW_SCHEDULER_SCHEDULER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/secret.h"
#include "model/connection.h"
#include "model/job.h"
#include "model/pull.h"
#include "model/refresh.h"
#include "net/http.h"
#include "net/url.h"
#include "scheduler/budget.h"
#include "scheduler/queue.h"
#include "smart/pinned.h"
#include "smart/profile.h"
#include "smart/renewal.h"

#define CW_KEEPERS 8                  /* threads of the keep-alive */
#define CW_REVOKERS 2                 /* threads that give tokens back */
#define CW_RUNS_MAX 1024              /* pulls in flight in one process */
#define CW_PREPARERS 24               /* they wait, mostly */
#define CW_PREPARE_PER_HOST 2         /* so that one hanging hospital takes two of them at most */
#define CW_PREPARE_DOUBTFUL 6         /* and all whose last word was a time-out so many */
#define CW_RUNS_PER_HOST 32           /* of the pulls in flight: a backlog of one hospital leaves room for the others */
#define CW_TASK_TRIES 5               /* of one page */
#define CW_TASK_RESTARTS 3            /* of one search whose paging session expires */
#define CW_REFERENCE_LEVELS 3
#define CW_LEVEL_ORDINAL 100000u      /* ordinals of level n begin at n times this */
#define CW_PAGE_GUESS (128u * 1024u)  /* reserved of the byte budget before a page's size is known */

/* A hospital's server, over all pulls of this process. */
struct host {
    char name[300];                   /* "host:port" */
    unsigned running;                 /* fetches in flight */
    unsigned preparing;
    int64_t quiet_until_us;           /* Retry-After: nobody asks before */
    unsigned keeping;                 /* refreshes of the keep-alive in flight */
    unsigned keep_faults;             /* of it, in a row: the host did not answer */
    int64_t keep_next_us;             /* the next of them starts then at the earliest */
    int64_t keep_slot_us;             /* the last time that was given to one that had to wait */
    unsigned runs;                    /* pulls in hand */
    unsigned faults;                  /* in a row: time-outs, no connection, 5xx */
    bool answered, timed_out;         /* ever; the last time */
    int64_t open_until_us, open_pause_us; /* too many faults: nobody asks before, then one does; the pause is 0 while all is well */
    struct host *next;
};

/* health.c: lock held. */
enum host_word { HOST_ANSWERED, HOST_FAILED, HOST_TIMED_OUT };
void host_hears(struct host *host, enum host_word word, int64_t now_us);
bool host_is_open(const struct host *host);
/* When it may be asked next: after faults, and after its own word. */
int64_t host_quiet_us(const struct host *host);
/* How many requests at a time, where a host that is well takes `most`. */
unsigned host_room(const struct host *host, unsigned most);

/* One FHIR base, over all pulls of this process: servers count requests by practice or tenant, of which many can be on one host (eCW). */
struct tenant {
    char *base;
    struct budget budget;             /* what the profiles of its runs allow in a minute, refreshes included */
    int64_t quiet_until_us;           /* 429: nobody asks before */
    bool asking;                      /* one run asks for its metadata: the others wait for what comes of it */
    struct tenant *next;
};

enum run_phase {
    RUN_LOADING,     /* a preparer reads it from the database */
    RUN_LOADED,      /* waits for its turn at the host */
    RUN_PLANNING,    /* a preparer sees to the token and makes the plan */
    RUN_ASKING,      /* wants the server's metadata first */
    RUN_ASKED,       /* they are being fetched, or a preparer reads them */
    RUN_GOING,       /* tasks are fetched */
    RUN_REFRESHING,  /* a preparer gets a new token; pages in flight go on */
    RUN_ENDING,      /* a preparer writes the receipt and the end */
    RUN_GONE         /* ended, lost or given back: freed once nobody is busy with it */
};

/* One pull in hand. Constant after loading: everything up to `host`. */
struct run {
    struct cw_job job;
    struct cw_arena *arena;           /* what lives as long as the run */
    struct cw_pull pull;
    struct cw_connection connection;
    struct cw_pinned pinned;
    const struct cw_profile *profile;
    struct cw_url *base;
    struct cw_span upstream_patient;
    struct cw_data_key key;
    struct cw_record_target target;
    struct cw_http_header *headers;   /* of the profile, our client id put in */
    size_t header_count;
    struct host *host, *token_host;
    struct tenant *tenant;
    bool at_host;                     /* counted in host->runs */
    bool metadata_with_token;         /* the server wants it for its metadata */

    enum run_phase phase;             /* everything from here under the lock */
    unsigned busy;                    /* items in queues and transfers that point here */
    unsigned in_flight;               /* pages being fetched or digested */
    unsigned cap;                     /* parallel requests */
    bool stale;                       /* the waiting tasks must be read again */
    int64_t next_due_us;              /* when a waiting task becomes due; 0 none */
    struct task_item *ready;          /* tasks at hand, first in order */
    size_t page_size;                 /* largest seen: what to reserve */
    struct cw_secret token;
    uint32_t token_version;
    int64_t token_expires_us, token_obtained_us;
    int64_t later_us;                 /* what a preparer could not do makes sense then; 0: not told */
    int64_t renew_after_us;           /* a refresh failed: the next makes sense then; 0: not told */
    uint32_t refused_version;         /* the token of this version is in doubt: a new one is got first; 0: none is */
    int64_t renewed_us;               /* when a token was last renewed because of such a doubt; 0: not in this run */
    uint64_t asked;                   /* requests so far: each has its number */
    uint64_t good_asked;              /* the highest number of one that the present token brought what was asked; 0: none yet */
    bool any_good;                    /* some token of this run did */
    unsigned refused_in_row;          /* 401s to the present token since it last did */
    int64_t rest_until_us;            /* nothing is asked for this connection before */
    const char *accept;               /* what this server was found to take; NULL: the profile's */
    const char *binary_form, *file_form; /* the same of documents that are Binary resources, and of others; NULL: none came yet */
    bool documents_over;              /* the server gives no more documents today */
    const char *end_code;             /* why it must end now, or NULL */
    int64_t skew_us;                  /* the server's clock less ours, the least seen; 0 at most */
    struct run *next;
};

/* One page's way: ready → fetch → digest → ready or freed. Owned by whoever has it in hand. */
struct task_item {
    struct queue_node node;           /* first member */
    struct run *run;
    struct prepare_item *then;        /* metadata: what takes the answer; NULL for a page, which goes to the digesters */
    struct cw_task_id id;
    enum cw_task_kind kind;
    unsigned ordinal, tries, restarts;
    char *type;
    char *url;
    bool reshaped;                    /* the first page is asked with another query than the row's */
    char *planned_url;                /* what was asked before the first query was refused; NULL */
    char *first_url;                  /* the first page's, where url is a later one; NULL */
    const char *accept;               /* as asked: a literal or the profile's */
    unsigned forms_tried;             /* how many other forms were asked for after a refusal */
    const char *form;                 /* of a document: what `accept` is, a literal of document_forms */
    char *own_type;                   /* of a document: the type that its attachment tells; NULL */
    bool binary;                      /* of a document: a Binary by its URL */
    bool expects_hash;                /* of a document: with expect_size, what its attachment tells; 0: nothing */
    uint8_t expect_hash[CW_HASH_LEN];
    int64_t expect_size;
    const char *given_up;             /* not to be asked any more, and why; NULL */
    bool merged;                      /* a redirect said that the patient was merged into another (Epic 4107) */
    bool first_page;
    uint64_t asked_as;                /* the number of its request in its run */
    uint64_t refused_as;              /* the same of the last that was answered with 401 */
    uint32_t refused_version;         /* the token that came back with 401; 0: none did */
    unsigned redirects;
    unsigned asked;                   /* requests sent since the last commit of its task */
    size_t reserved;                  /* of the byte budget */
    uint32_t token_version;           /* it was asked with */
    struct cw_secret bearer;
    enum cw_code code;                /* of the transfer */
    struct cw_http_response response;
    struct task_item *next;
};

enum prepare_kind { PREPARE_LOAD, PREPARE_PLAN, PREPARE_METADATA, PREPARE_REFRESH, PREPARE_END };
struct prepare_item {
    struct queue_node node;           /* first member */
    struct run *run;
    enum prepare_kind kind;
    bool doubtful;                    /* counted in s->doubtful */
    struct task_item *answer;         /* PREPARE_METADATA: owned */
};

struct scheduler {
    const struct cw_config *config;
    struct cw_model model;
    struct cw_profiles *profiles;
    char owner[CW_OWNER_MAX + 1];     /* in leases: this process, and no other that ever was */
    const char *node;
    struct cw_actor actor;
    int64_t lease_us;
    unsigned per_connection, per_host, total;
    uint64_t byte_budget;
    int page_size;

    pthread_mutex_t lock;
    pthread_cond_t changed;           /* something for the dispatcher; on the monotonic clock */
    bool nudged;
    struct run *runs;
    unsigned run_count;
    struct host *hosts;
    int64_t keep_idle_until_us;       /* nothing was due: nobody looks before; monotonic */
    struct tenant *tenants;
    unsigned fetching;
    unsigned doubtful;                /* preparers at hosts whose last word was a time-out */
    uint64_t bytes;                   /* reserved or held by pages */

    struct queue prepare, fetch, digest;
    struct cw_http_multi *multi;
};

/* Wakes the dispatcher; takes the lock itself / with the lock held. */
void scheduler_nudge(struct scheduler *s);
void scheduler_nudge_locked(struct scheduler *s);

/* dispatch.c */
void dispatcher_run(struct scheduler *s);
void run_free(struct run *run);
void task_item_free(struct task_item *item);
/* Puts a task back into its run's ready list: in front, or behind all others where they are to show first whether the token is good (lock held). */
void run_give_back(struct run *run, struct task_item *item);
struct host *host_find(struct scheduler *s, const char *name); /* lock held; NULL out of memory */
struct tenant *tenant_find(struct scheduler *s, const char *base); /* the same */

/* fetch.c */
void *fetcher_main(void *scheduler);

/* judge.c: the form that a document is asked in first, and the header for it. */
#define CW_FORM_OWN "own"             /* the type that the attachment tells */
const char *document_form(const struct run *run, const struct task_item *item);
const char *accept_of_form(const struct task_item *item, const char *form);

/* digest.c */
void *digester_main(void *scheduler);
/* Takes a page out of the counts; `size` is what it was long (lock held). */
void task_item_leave(struct scheduler *s, struct task_item *item, size_t size);

/* prepare.c */
void *preparer_main(void *scheduler);

/* plan.c: plan and tasks of a pull that has none yet. *ret_ask true: the server's metadata are wanted first, and nothing was done; plan_told takes their
 * answer (or what came instead of one) and may want them once more. CW_E_UNSUPPORTED: a FHIR version that we do not read; CW_E_LIMITED: the server
 * wants quiet until run->later_us. */
enum cw_code plan_pull(struct scheduler *s, struct cw_http *http, struct run *run, bool *ret_ask, struct cw_err *err);
enum cw_code plan_told(struct scheduler *s, struct cw_http *http, struct run *run, const struct task_item *answer, bool *ret_ask,
                       struct cw_err *err);

/* end.c: receipt, status and the terminal event. *ret_more: it has not ended, there are tasks again (model/vanish.h). */
enum cw_code end_pull(struct scheduler *s, struct run *run, bool *ret_more, struct cw_err *err);

/* refresh.c: makes sure that run->token is good for a page. CW_E_AUTH: the grant is dead; CW_E_EXPIRED: one-time access has ended; others: later. */
enum cw_code refresh_token(struct scheduler *s, struct cw_http *http, struct run *run, struct cw_err *err);
bool token_is_due(const struct run *run, int64_t now_us);
struct cw_renewer renewer_of(struct scheduler *s);

/* owner.c: takes the node's lock file and makes the process' name in leases. CW_E_CONFIG: another scheduler of this node runs. */
enum cw_code owner_take(const char *state_dir, const char *node, char ret[CW_OWNER_MAX + 1], struct cw_err *err);

/* keeper.c: grants that are due without a pull. */
void *keeper_main(void *scheduler);

/* probe.c: the daily checks of registrations and sources, without a patient. */
void *prober_main(void *scheduler);
/* The one thing that is due longest, if this node has the duty. *ret_did false: nothing is due, or it is another node's. `pause_ms` between requests. */
enum cw_code probe_due(struct scheduler *s, struct cw_http *http, int pause_ms, bool *ret_did, struct cw_err *err);

/* revoke.c: tokens that nobody uses any more go back to who gave them. */
void *revoker_main(void *scheduler);

/* upkeep.c */
void *sequencer_main(void *scheduler);
void *upkeep_main(void *scheduler);

#endif
