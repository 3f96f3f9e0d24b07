/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapped keys as a whole: which master keys they hang on, moving them to another one while everything runs, and whether
 * they open. Single keys are keys.h.
 */
#ifndef CW_MODEL_KEYRING_H
#define CW_MODEL_KEYRING_H

#include "model/model.h"

enum cw_key_table { CW_KEYS_DATA, CW_KEYS_PATIENT, CW_KEYS_PURPOSE, CW_KEYS__COUNT };
const char *cw_key_table_name(enum cw_key_table table) CW_RETURNS_NONNULL;

/* At a program's start, before its second thread: every master key that the database needs is on the ring and is the right one (CW_E_CONFIG
 * names the one that is not: nothing may be served or written then), the active one's search and API keys are kept, and all kept ones adopted. */
enum cw_code cw_keyring_open(struct cw_model *m, struct cw_err *err) CW_NONNULL(1) CW_MUST_USE;

/* One master key that wraps something. */
struct cw_keyring_use {
    struct cw_span master_key_id;
    uint64_t keys[CW_KEYS__COUNT];
    int64_t oldest_us[CW_KEYS__COUNT]; /* 0: none */
};
#define CW_KEYRING_USES_MAX 64
/* *ret has room for CW_KEYRING_USES_MAX, in the order of their ids. */
enum cw_code cw_keyring_status(struct cw_model *m, struct cw_arena *arena, struct cw_keyring_use *ret, size_t *ret_count,
                               struct cw_err *err) CW_MUST_USE;

/* A key that is not as it should be. `code` CW_E_CONFIG: its master key is not on the ring; CW_E_AUTH: it does not open. */
struct cw_key_fault {
    enum cw_key_table table;
    struct cw_ulid owner;
    uint32_t version;
    struct cw_span master_key_id;
    enum cw_code code;
};
typedef void cw_key_fault_fn(void *arg, const struct cw_key_fault *fault);
struct cw_keyring_walk {
    cw_key_fault_fn *fault;            /* called outside of transactions */
    void *arg;
    uint64_t done[CW_KEYS__COUNT];     /* moved, or found good */
    uint64_t faults;
};
/* Moves every wrapped key to the active master key, in transactions of a few hundred; what is moved stays moved, so a run that was cut off is finished
 * by another. A key that does not open is told and left as it is. */
enum cw_code cw_keyring_rotate(struct cw_model *m, struct cw_keyring_walk *walk, struct cw_err *err) CW_MUST_USE;
/* Opens every wrapped key and changes nothing. */
enum cw_code cw_keyring_verify(struct cw_model *m, struct cw_keyring_walk *walk, struct cw_err *err) CW_MUST_USE;

#endif
