/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching the mapped index. Each word typed is matched against the vocabulary (whole, as a beginning, and, when too little was found so,
 * with a typing error); each source keeps its best match of each word; sources that match all words are ranked.
 *
 * The mapping is shared by reference count: a search holds the one it began with, so that a new file never pulls it away.
 */
#include "config.h"

#include "catalog/search.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "catalog/index.h"
#include "catalog/index_int.h"
#include "catalog/match.h"
#include "os/sys.h"

/* --- the file in memory --- */

/* What tells one file from its replacement. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct mapping {
    atomic_uint users;
    void *memory;
    size_t len;
    struct cw_index_view view;
};

struct cw_search {
    char *path;
    pthread_mutex_t mutex;   /* guards all below */
    struct mapping *mapping; /* NULL: none yet */
    struct stamp seen;       /* of the file last looked into, good or not */
    enum cw_code fault;      /* of that file; CW_E_NOT_FOUND: there is none */
    int64_t next_look_us;
};

static void mapping_put(struct mapping *mapping)
{
    if (mapping != NULL && atomic_fetch_sub(&mapping->users, 1) == 1) {
        (void)munmap(mapping->memory, mapping->len);
        free(mapping);
    }
}

static enum cw_code mapping_open(int fd, size_t len, struct mapping **ret_mapping, struct cw_err *err)
{
    void *memory = len == 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED) {
        return len == 0 ? cw_err_set(err, CW_E_CONFIG, "search", "the index file is empty")
                        : cw_err_sys(err, CW_E_IO, errno, "search", "cannot map the index");
    }
    struct mapping *mapping = calloc(1, sizeof *mapping);
    enum cw_code rc = mapping == NULL ? cw_err_set(err, CW_E_OOM, "search", "no memory for a mapping")
                                      : cw_index_open(cw_span_of(memory, len), &mapping->view, err);
    if (rc != CW_OK) {
        (void)munmap(memory, len);
        free(mapping);
        return rc;
    }
    atomic_init(&mapping->users, 1);
    mapping->memory = memory;
    mapping->len = len;
    *ret_mapping = mapping;
    return CW_OK;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Takes a new file into use. An index that was good stays in use when its replacement is not. */
static enum cw_code look(struct cw_search *search, struct cw_err *err)
{
    int fd = open(search->path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        int number = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        search->seen = (struct stamp){ 0 };
        return cw_err_sys(err, number == ENOENT ? CW_E_NOT_FOUND : CW_E_IO, number, "search", "no index file");
    }
    struct stamp stamp = { status.st_dev, status.st_ino, status.st_size, status.st_ctim };
    enum cw_code rc = search->fault;
    if (!same_stamp(&stamp, &search->seen)) {
        struct mapping *fresh = NULL;
        rc = mapping_open(fd, (size_t)status.st_size, &fresh, err);
        if (rc == CW_OK) {
            mapping_put(search->mapping);
            search->mapping = fresh;
        }
        search->seen = stamp;
    } else if (rc != CW_OK) {
        (void)cw_err_set(err, rc, "search", "the index file is still not good");
    }
    (void)close(fd);
    return rc;
}

/* The mapping to search in, held until mapping_put. */
static enum cw_code mapping_get(struct cw_search *search, struct mapping **ret_mapping, struct cw_err *err)
{
    (void)pthread_mutex_lock(&search->mutex);
    int64_t now = cw_monotonic_us();
    enum cw_code rc = CW_OK;
    if (now >= search->next_look_us) {
        search->next_look_us = now + CW_SEARCH_LOOK_US;
        rc = search->fault = look(search, err);
    } else if (search->mapping == NULL) {
        rc = cw_err_set(err, search->fault, "search", "there is no index in use");
    }
    if (search->mapping != NULL) {
        rc = CW_OK;
        atomic_fetch_add(&search->mapping->users, 1);
        *ret_mapping = search->mapping;
    }
    (void)pthread_mutex_unlock(&search->mutex);
    return rc;
}

void cw_search_free(struct cw_search *search)
{
    if (search == NULL) {
        return;
    }
    mapping_put(search->mapping);
    (void)pthread_mutex_destroy(&search->mutex);
    free(search->path);
    free(search);
}

struct cw_search *cw_search_new(const char *path)
{
    struct cw_search *search = calloc(1, sizeof *search);
    if (search == NULL) {
        return NULL;
    }
    search->fault = CW_E_NOT_FOUND;
    search->path = strdup(path);
    if (search->path == NULL || pthread_mutex_init(&search->mutex, NULL) != 0) {
        free(search->path);
        free(search);
        return NULL;
    }
    return search;
}

size_t cw_search_count(struct cw_search *search)
{
    struct mapping *mapping = NULL;
    if (mapping_get(search, &mapping, NULL) != CW_OK) {
        return 0;
    }
    size_t count = mapping->view.source_count;
    mapping_put(mapping);
    return count;
}

enum cw_code cw_search_run(struct cw_search *search, const struct cw_search_ask *ask, struct cw_search_hit *hits, size_t max,
                           size_t *ret_count, struct cw_err *err)
{
    struct mapping *mapping = NULL;
    enum cw_code rc = mapping_get(search, &mapping, err);
    if (rc != CW_OK) {
        return rc;
    }
    rc = cw_match_run(&mapping->view, ask, hits, max > CW_SEARCH_HITS_MAX ? CW_SEARCH_HITS_MAX : max, ret_count, err);
    mapping_put(mapping);
    return rc;
}
