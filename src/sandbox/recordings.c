/* SPDX-License-Identifier: Apache-2.0 */
/* The folder: files in order of their names, each mapped and read once. */
#include "config.h"
#include "sandbox/recordings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define PATH_TEXT_MAX 4096u
#define PREFIX "recorded-"
#define SUFFIX ".ndjson"

struct row {
    char name[CW_SBX_PERSONALITY_NAME_MAX + 1];
    struct cw_span bytes; /* mapped */
    struct cw_sbx_recording *recording;
};

struct cw_sbx_recordings {
    struct row rows[CW_SBX_RECORDINGS_MAX];
    size_t count;
};

static enum cw_code map_file(const char *path, struct cw_span *ret_bytes, struct cw_err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum cw_code rc = cw_err_sys(err, CW_E_IO, errno, "sandbox.recordings", "cannot be opened");
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > CW_SBX_RECORDING_FILE_MAX) {
        close(fd);
        return cw_err_set(err, CW_E_TOO_BIG, "sandbox.recordings", "no file, or a too big one");
    }
    void *at = st.st_size == 0 ? NULL : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int failed = errno;
    close(fd);
    if (at == MAP_FAILED) {
        return cw_err_sys(err, CW_E_IO, failed, "sandbox.recordings", "cannot be mapped");
    }
    *ret_bytes = cw_span_of(at, (size_t)st.st_size);
    return CW_OK;
}

static void name_of(struct cw_span file, char *out, size_t size)
{
    struct cw_span stem = cw_span_upto(file, file.len - strlen(SUFFIX));
    (void)snprintf(out, size, PREFIX "%.*s", (int)stem.len, stem.ptr);
    for (char *c = out; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z') {
            *c = (char)(*c | 0x20);
        } else if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'))) {
            *c = '-';
        }
    }
}

static enum cw_code add(struct cw_sbx_recordings *recordings, const char *folder, const char *file, struct cw_err *err)
{
    CW_AUTO_STR path;
    struct cw_sbx_personality taken;
    struct row row = { .recording = NULL };
    cw_str_init(&path, PATH_TEXT_MAX);
    name_of(cw_span_cstr(file), row.name, sizeof row.name);
    if (recordings->count == CW_SBX_RECORDINGS_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "sandbox.recordings", "more than %u recordings", CW_SBX_RECORDINGS_MAX);
    }
    if (cw_sbx_recordings_find(recordings, cw_span_cstr(row.name), &taken) != NULL) {
        return cw_err_set(err, CW_E_CONFLICT, "sandbox.recordings", "%s: two files have this name", row.name);
    }
    enum cw_code rc = cw_str_addf(&path, "%s/%s", folder, file);
    if (rc == CW_OK) {
        rc = map_file(cw_str_cstr(&path), &row.bytes, err);
    }
    if (rc == CW_OK) {
        recordings->rows[recordings->count] = row;
        rc = cw_sbx_recording_read(row.bytes, &recordings->rows[recordings->count++].recording, err);
    }
    return rc == CW_OK ? CW_OK : cw_err_wrap(err, row.name);
}

enum cw_code cw_sbx_recordings_open(const char *folder, struct cw_sbx_recordings **ret_recordings, struct cw_err *err)
{
    struct dirent **names = NULL;
    struct cw_sbx_recordings *recordings = calloc(1, sizeof *recordings);
    int count = folder == NULL || folder[0] == '\0' ? 0 : scandir(folder, &names, NULL, alphasort);
    if (recordings == NULL) {
        return cw_err_set(err, CW_E_OOM, "sandbox.recordings", "out of memory");
    }
    enum cw_code rc = count < 0 ? cw_err_sys(err, CW_E_IO, errno, "sandbox.recordings", "cannot read the folder") : CW_OK;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (rc == CW_OK && name[0] != '.' && cw_span_ends(cw_span_cstr(name), CW_SPAN(SUFFIX))) {
            rc = add(recordings, folder, name, err);
        }
        free(names[i]);
    }
    free(names);
    if (rc != CW_OK) {
        cw_sbx_recordings_free(recordings);
        return rc;
    }
    *ret_recordings = recordings;
    return CW_OK;
}

void cw_sbx_recordings_free(struct cw_sbx_recordings *recordings)
{
    if (recordings == NULL) {
        return;
    }
    for (size_t i = 0; i < recordings->count; i++) {
        cw_sbx_recording_free(recordings->rows[i].recording);
        if (recordings->rows[i].bytes.len > 0) {
            munmap((void *)(uintptr_t)recordings->rows[i].bytes.ptr, recordings->rows[i].bytes.len);
        }
    }
    free(recordings);
}

size_t cw_sbx_recordings_count(const struct cw_sbx_recordings *recordings)
{
    return recordings->count;
}

struct cw_sbx_recording *cw_sbx_recordings_at(const struct cw_sbx_recordings *recordings, size_t at, struct cw_sbx_personality *ret_as)
{
    *ret_as = (struct cw_sbx_personality){ .name = recordings->rows[at].name, .doc = "A recording of a vendor's test system.",
                                           .software = "", .publisher = "" };
    return recordings->rows[at].recording;
}

struct cw_sbx_recording *cw_sbx_recordings_find(const struct cw_sbx_recordings *recordings, struct cw_span name,
                                                struct cw_sbx_personality *ret_as)
{
    for (size_t i = 0; i < recordings->count; i++) {
        if (cw_span_eq_cstr(name, recordings->rows[i].name)) {
            return cw_sbx_recordings_at(recordings, i, ret_as);
        }
    }
    return NULL;
}
