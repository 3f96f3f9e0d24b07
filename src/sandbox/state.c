/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: read at the start, written anew as a snapshot, then appended to. Lines go out by one write(2) each and are not synced: they
 * survive the end of the process, not of the machine, which is what a sandbox needs.
 */
#include "config.h"
#include "sandbox/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "os/sys.h"
#include "sandbox/state_int.h"

#define JOURNAL_MAX (256u * 1024u * 1024u)
#define COMPACT_BYTES (8u * 1024u * 1024u) /* grown by so much since the snapshot, it is written anew */
#define PATH_TEXT_MAX 4096u

static void snapshot(const struct cw_sbx_state *state, struct cw_str *out)
{
    grants_snapshot(state, out);
    rules_snapshot(state, out);
    personalities_snapshot(state, out);
}

/* Replaces the file by what is in memory and opens it for appending. */
static enum cw_code compact(struct cw_sbx_state *state, struct cw_err *err)
{
    CW_AUTO_STR all;
    cw_str_init(&all, JOURNAL_MAX);
    grants_sweep(state, cw_now_us());
    snapshot(state, &all);
    enum cw_code rc = cw_str_code(&all);
    if (rc == CW_OK) {
        rc = cw_file_replace(state->path, 0600, cw_str_span(&all), err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    int fd = open(state->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return cw_err_sys(err, CW_E_IO, errno, "sandbox.state", "cannot open the journal");
    }
    if (state->fd >= 0) {
        close(state->fd);
    }
    state->fd = fd;
    state->journal_bytes = state->snapshot_bytes = all.len;
    return CW_OK;
}

void state_journal(struct cw_sbx_state *state, struct cw_span line)
{
    if (state->quiet || state->fd < 0) {
        return;
    }
    CW_AUTO_STR whole;
    cw_str_init(&whole, STATE_LINE_MAX + 1);
    cw_str_add_span(&whole, line);
    cw_str_add_char(&whole, '\n');
    ssize_t put = cw_str_code(&whole) == CW_OK ? write(state->fd, whole.buf, whole.len) : -1;
    state->journal_bytes += put > 0 ? (size_t)put : 0;
    if (put != (ssize_t)whole.len || state->journal_bytes - state->snapshot_bytes > COMPACT_BYTES) {
        /* A line that was cut (disk full) would swallow the next one: write everything anew instead. */
        struct cw_err ignored;
        (void)!compact(state, &ignored);
    }
}

static enum cw_code apply(struct cw_sbx_state *state, const json_t *line)
{
    const char *op = json_string_value(json_object_get(line, "op"));
    if (op == NULL) {
        return CW_E_SYNTAX;
    }
    enum cw_code rc = grants_apply(state, op, line);
    rc = rc == CW_E_UNSUPPORTED ? rules_apply(state, op, line) : rc;
    return rc == CW_E_UNSUPPORTED ? personalities_apply(state, op, line) : rc;
}

/* Lines that make no sense are passed over: the last may be cut, and an older program may have written others. */
static enum cw_code replay(struct cw_sbx_state *state, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, JOURNAL_MAX);
    enum cw_code rc = cw_file_read(state->path, true, &text, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? CW_OK : rc;
    }
    struct cw_span rest = cw_str_span(&text), line;
    bool more;
    do {
        CW_AUTO_JSON *object = NULL;
        more = cw_span_cut(&rest, '\n', &line);
        struct cw_json_limits limits = { .max_bytes = STATE_LINE_MAX, .max_depth = 16 };
        if (line.len > 0 && cw_json_parse(line, limits, &object, NULL) == CW_OK && apply(state, object) == CW_E_OOM) {
            return cw_err_set(err, CW_E_OOM, "sandbox.state", "out of memory");
        }
    } while (more);
    return CW_OK;
}

/* One process at a time: two would not see each other's tokens. */
static enum cw_code take_folder(struct cw_sbx_state *state, const char *folder, struct cw_err *err)
{
    CW_AUTO_STR path;
    cw_str_init(&path, PATH_TEXT_MAX);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return cw_err_sys(err, CW_E_IO, errno, "sandbox.state", "cannot make the state folder");
    }
    if (cw_str_addf(&path, "%s/lock", folder) != CW_OK) {
        return cw_err_set(err, path.code, "sandbox.state", "the state folder's path is too long");
    }
    state->lock_fd = open(path.buf, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (state->lock_fd < 0) {
        return cw_err_sys(err, CW_E_IO, errno, "sandbox.state", "cannot open the lock file");
    }
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return cw_err_set(err, CW_E_STATE, "sandbox.state", "another chartway-sandbox uses this state folder");
    }
    cw_str_clear(&path);
    if (cw_str_addf(&path, "%s/journal", folder) != CW_OK || (state->path = cw_str_take(&path)) == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.state", "out of memory");
    }
    enum cw_code rc = replay(state, err);
    return rc == CW_OK ? compact(state, err) : rc;
}

static enum cw_code add_fixed_clients(struct cw_sbx_state *state, struct cw_err *err)
{
    CW_AUTO_JSON *list = NULL;
    enum cw_code rc = cw_sbx_clients_default(&list, err);
    for (size_t i = 0; rc == CW_OK && i < json_array_size(list); i++) {
        rc = cw_sbx_client_put(state, json_array_get(list, i), err);
    }
    state->fixed_clients = state->client_count;
    return rc;
}

enum cw_code cw_sbx_state_open(const char *folder, struct cw_span origin, struct cw_sbx_state **ret_state, struct cw_err *err)
{
    struct cw_sbx_state *state = calloc(1, sizeof(*state));
    if (state == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.state", "out of memory");
    }
    pthread_mutex_init(&state->lock, NULL);
    state->fd = state->lock_fd = -1;
    state->quiet = true;
    state->origin = cw_span_dup(origin);
    enum cw_code rc = state->origin == NULL ? cw_err_set(err, CW_E_OOM, "sandbox.state", "out of memory")
                                            : add_fixed_clients(state, err);
    if (rc == CW_OK && folder != NULL) {
        rc = take_folder(state, folder, err);
    }
    if (rc != CW_OK) {
        cw_sbx_state_free(state);
        return rc;
    }
    state->quiet = false;
    *ret_state = state;
    return CW_OK;
}

void cw_sbx_state_free(struct cw_sbx_state *state)
{
    if (state == NULL) {
        return;
    }
    grants_release(state);
    personalities_release(state);
    for (size_t i = 0; i < state->client_count; i++) {
        cw_sbx_client_free(state->clients[i]);
    }
    if (state->fd >= 0) {
        close(state->fd);
    }
    if (state->lock_fd >= 0) {
        close(state->lock_fd);
    }
    pthread_mutex_destroy(&state->lock);
    free(state->origin);
    free(state->path);
    free(state);
}
