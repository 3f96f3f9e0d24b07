/* SPDX-License-Identifier: Apache-2.0 */
/* Indexing a folder: map the files in order of their names, cut them into slices, find out whose each slice is. */
#include "config.h"
#include "sandbox/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/str.h"
#include "sandbox/walk.h"

#define PATH_TEXT_MAX 4096u
#define NOBODY ((size_t)-1)

/* A transaction's name for a resource: "urn:uuid:…" → Type/id. */
struct urn {
    struct cw_span urn, type, id;
};

struct file {
    char *path;
    struct cw_span bytes;   /* mapped */
    bool lines;             /* NDJSON */
    struct urn *urns;       /* sorted */
    size_t urn_count, urn_cap;
};

struct slice {
    struct cw_span bytes, type, id;
    size_t file;
    size_t patient;         /* NOBODY: the hospital's */
    bool id_missing;        /* the id is its fullUrl's and has to be put in */
};

struct cw_sbx_folder {
    struct file *files;
    size_t file_count, file_cap;
    struct slice *slices;
    size_t slice_count, slice_cap;
    size_t *patients;       /* slices of the Patients, in order */
    size_t patient_count;
    size_t *by_id;          /* slices sorted by type, id, file */
};

static enum cw_code oom(struct cw_err *err)
{
    return cw_err_set(err, CW_E_OOM, "sandbox.folder", "out of memory");
}

/* Room for one more; NULL when out of memory. */
static void *grow(void *array, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return array;
    }
    size_t more = *cap == 0 ? 64 : *cap * 2;
    void *bigger = reallocarray(array, more, size);
    if (bigger != NULL) {
        *cap = more;
    }
    return bigger;
}

/* --- files --- */

static bool ends_in(const char *name, const char *suffix)
{
    return cw_span_ends(cw_span_cstr(name), cw_span_cstr(suffix));
}

static enum cw_code map_file(struct file *file, struct cw_err *err)
{
    struct stat st;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum cw_code rc = cw_err_sys(err, CW_E_IO, errno, "sandbox.folder", "cannot open a data file");
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    void *at = st.st_size == 0 ? NULL : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int failed = errno;
    close(fd);
    if (at == MAP_FAILED) {
        return cw_err_sys(err, CW_E_IO, failed, "sandbox.folder", "cannot map a data file");
    }
    file->bytes = cw_span_of(at, (size_t)st.st_size);
    return CW_OK;
}

static enum cw_code add_file(struct cw_sbx_folder *folder, const char *dir, const char *name, struct cw_err *err)
{
    CW_AUTO_STR path;
    cw_str_init(&path, PATH_TEXT_MAX);
    if (folder->file_count == CW_SBX_FILES_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "sandbox.folder", "too many data files");
    }
    struct file *files = grow(folder->files, folder->file_count, &folder->file_cap, sizeof(*files));
    if (files == NULL || cw_str_addf(&path, "%s/%s", dir, name) != CW_OK) {
        return oom(err);
    }
    folder->files = files;
    struct file *file = &files[folder->file_count];
    *file = (struct file){ .path = cw_str_take(&path), .lines = ends_in(name, ".ndjson") };
    if (file->path == NULL) {
        return oom(err);
    }
    folder->file_count++;
    return map_file(file, err);
}

static enum cw_code list_folder(struct cw_sbx_folder *folder, const char *path, unsigned depth, struct cw_err *err);

static enum cw_code take_entry(struct cw_sbx_folder *folder, const char *path, const char *name, unsigned depth,
                               struct cw_err *err)
{
    CW_AUTO_STR whole;
    struct stat st;
    cw_str_init(&whole, PATH_TEXT_MAX);
    if (name[0] == '.' || cw_str_addf(&whole, "%s/%s", path, name) != CW_OK || stat(whole.buf, &st) != 0) {
        return CW_OK; /* hidden, over-long or gone meanwhile */
    }
    if (S_ISDIR(st.st_mode)) {
        return depth < CW_SBX_FOLDER_DEPTH_MAX ? list_folder(folder, whole.buf, depth + 1, err) : CW_OK;
    }
    bool ours = S_ISREG(st.st_mode) && (ends_in(name, ".json") || ends_in(name, ".ndjson"));
    return ours ? add_file(folder, path, name, err) : CW_OK;
}

/* In order of names, so that two starts see the same. As deep as CW_SBX_FOLDER_DEPTH_MAX. */
static enum cw_code list_folder(struct cw_sbx_folder *folder, const char *path, unsigned depth, struct cw_err *err)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        return cw_err_sys(err, CW_E_IO, errno, "sandbox.folder", "cannot read the data folder");
    }
    enum cw_code rc = CW_OK;
    for (int i = 0; i < count; i++) {
        if (rc == CW_OK) {
            rc = take_entry(folder, path, names[i]->d_name, depth, err);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

/* --- slices --- */

static enum cw_code add_urn(struct file *file, struct urn urn, struct cw_err *err)
{
    struct urn *urns = grow(file->urns, file->urn_count, &file->urn_cap, sizeof(*urns));
    if (urns == NULL) {
        return oom(err);
    }
    file->urns = urns;
    urns[file->urn_count++] = urn;
    return CW_OK;
}

static enum cw_code add_slice(struct cw_sbx_folder *folder, size_t file, struct cw_span bytes, struct cw_span full_url,
                              struct cw_err *err)
{
    static const struct cw_span uuid = { "urn:uuid:", 9 };
    struct slice slice = { .bytes = bytes, .file = file, .patient = NOBODY, .type = cw_walk_member_string(bytes, "resourceType"),
                           .id = cw_walk_member_string(bytes, "id") };
    if (slice.id.len == 0 && cw_span_starts(full_url, uuid)) {
        slice.id = cw_span_from(full_url, uuid.len);
        slice.id_missing = true;
    }
    if (slice.type.len == 0 || slice.id.len == 0) {
        return cw_err_set(err, CW_E_SYNTAX, "sandbox.folder", "data file %zu: a resource without resourceType or id", file + 1);
    }
    if (cw_span_starts(full_url, CW_SPAN("urn:"))) {
        enum cw_code rc = add_urn(&folder->files[file], (struct urn){ full_url, slice.type, slice.id }, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    struct slice *slices = grow(folder->slices, folder->slice_count, &folder->slice_cap, sizeof(*slices));
    if (slices == NULL) {
        return oom(err);
    }
    folder->slices = slices;
    slices[folder->slice_count++] = slice;
    return CW_OK;
}

static enum cw_code cut_bundle(struct cw_sbx_folder *folder, size_t file, struct cw_err *err)
{
    struct cw_span rest = folder->files[file].bytes, whole, key, entry;
    struct cw_walk entries;
    if (rest.len == 0 || !cw_walk_value(&rest, &whole) ||
        !cw_span_eq_cstr(cw_walk_member_string(whole, "resourceType"), "Bundle")) {
        return cw_err_set(err, CW_E_SYNTAX, "sandbox.folder", "data file %zu: not a Bundle", file + 1);
    }
    if (!cw_walk_open(&entries, cw_walk_member(whole, "entry"))) {
        return CW_OK;
    }
    while (cw_walk_next(&entries, &key, &entry)) {
        struct cw_span resource = cw_walk_member(entry, "resource");
        if (resource.ptr == NULL) {
            continue;
        }
        enum cw_code rc = add_slice(folder, file, resource, cw_walk_member_string(entry, "fullUrl"), err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return entries.bad ? cw_err_set(err, CW_E_SYNTAX, "sandbox.folder", "data file %zu: broken JSON", file + 1) : CW_OK;
}

static enum cw_code cut_lines(struct cw_sbx_folder *folder, size_t file, struct cw_err *err)
{
    struct cw_span rest = folder->files[file].bytes, line;
    bool more = rest.len > 0;
    while (more) {
        more = cw_span_cut(&rest, '\n', &line);
        line = cw_span_trim(line);
        if (line.len == 0) {
            continue;
        }
        struct cw_span text = line, value;
        if (!cw_walk_value(&text, &value) || cw_span_trim(text).len > 0) {
            return cw_err_set(err, CW_E_SYNTAX, "sandbox.folder", "data file %zu: a line that is not JSON", file + 1);
        }
        enum cw_code rc = add_slice(folder, file, value, (struct cw_span){ NULL, 0 }, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

/* --- references --- */

static int compare_span(struct cw_span a, struct cw_span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_urn(const void *a, const void *b)
{
    const struct urn *x = a, *y = b;
    return compare_span(x->urn, y->urn);
}

static const struct urn *find_urn(const struct file *file, struct cw_span text)
{
    struct urn wanted = { .urn = text };
    return file->urn_count == 0 ? NULL : bsearch(&wanted, file->urns, file->urn_count, sizeof(wanted), by_urn);
}

static int by_type_id_file(const void *a, const void *b, void *arg)
{
    const struct cw_sbx_folder *folder = arg;
    const struct slice *x = &folder->slices[*(const size_t *)a], *y = &folder->slices[*(const size_t *)b];
    int order = compare_span(x->type, y->type);
    order = order != 0 ? order : compare_span(x->id, y->id);
    return order != 0 ? order : (x->file > y->file) - (x->file < y->file);
}

/* The slice of that type and id, best from the same file; NOBODY when there is none. */
static size_t find_slice(const struct cw_sbx_folder *folder, struct cw_span type, struct cw_span id, size_t file)
{
    size_t low = 0, high = folder->slice_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct slice *at = &folder->slices[folder->by_id[middle]];
        int order = compare_span(at->type, type);
        order = order != 0 ? order : compare_span(at->id, id);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    size_t best = NOBODY;
    for (size_t i = low; i < folder->slice_count; i++) {
        const struct slice *at = &folder->slices[folder->by_id[i]];
        if (compare_span(at->type, type) != 0 || compare_span(at->id, id) != 0) {
            break;
        }
        if (best == NOBODY || at->file == file) {
            best = folder->by_id[i];
        }
    }
    return best;
}

/* What a reference's text names: Type/id, an absolute URL that ends so, or a urn of the file. */
static bool resolve(const struct file *file, struct cw_span text, struct cw_span *ret_type, struct cw_span *ret_id)
{
    const struct urn *urn = find_urn(file, text);
    if (urn != NULL) {
        *ret_type = urn->type;
        *ret_id = urn->id;
        return true;
    }
    size_t slash = text.len;
    while (slash > 0 && text.ptr[slash - 1] != '/') {
        slash--;
    }
    if (slash < 2) {
        return false;
    }
    size_t start = slash - 1;
    while (start > 0 && text.ptr[start - 1] != '/') {
        start--;
    }
    *ret_type = cw_span_upto(cw_span_from(text, start), slash - 1 - start);
    *ret_id = cw_span_from(text, slash);
    return ret_id->len > 0 && cw_sbx_type_find(*ret_type) != NULL;
}

/* --- whose it is --- */

static size_t patient_with(const struct cw_sbx_folder *folder, size_t file, struct cw_span reference)
{
    struct cw_span type, id;
    if (reference.ptr == NULL || !resolve(&folder->files[file], reference, &type, &id) || !cw_span_eq_cstr(type, "Patient")) {
        return NOBODY;
    }
    size_t slice = find_slice(folder, type, id, file);
    return slice == NOBODY ? NOBODY : folder->slices[slice].patient;
}

static size_t owner_by_members(const struct cw_sbx_folder *folder, const struct slice *slice)
{
    static const char *const members[] = { "subject", "patient", "beneficiary", "for", "individual", "securityContext" };
    for (size_t i = 0; i < CW_ARRAY_LEN(members); i++) {
        struct cw_span reference = cw_walk_member_string(cw_walk_member(slice->bytes, members[i]), "reference");
        size_t patient = patient_with(folder, slice->file, reference);
        if (patient != NOBODY) {
            return patient;
        }
    }
    return NOBODY;
}

/* Provenance has targets only: it goes with the first whose owner is known. */
static size_t owner_by_targets(const struct cw_sbx_folder *folder, const struct slice *slice)
{
    struct cw_walk targets;
    struct cw_span key, target, type, id;
    if (!cw_walk_open(&targets, cw_walk_member(slice->bytes, "target"))) {
        return NOBODY;
    }
    while (cw_walk_next(&targets, &key, &target)) {
        struct cw_span reference = cw_walk_member_string(target, "reference");
        if (reference.ptr != NULL && resolve(&folder->files[slice->file], reference, &type, &id)) {
            size_t other = find_slice(folder, type, id, slice->file);
            if (other != NOBODY && folder->slices[other].patient != NOBODY) {
                return folder->slices[other].patient;
            }
        }
    }
    return NOBODY;
}

/* Equal ids of a Patient in several files are one patient: the first file's Patient is served. */
static void name_patients(struct cw_sbx_folder *folder)
{
    for (size_t i = 0; i < folder->slice_count; i++) {
        struct slice *slice = &folder->slices[i];
        if (!cw_span_eq_cstr(slice->type, "Patient")) {
            continue;
        }
        size_t first = find_slice(folder, slice->type, slice->id, NOBODY);
        if (folder->slices[first].patient == NOBODY) {
            folder->slices[first].patient = folder->patient_count;
            folder->patients[folder->patient_count++] = first;
        }
        slice->patient = folder->slices[first].patient;
    }
}

static enum cw_code find_owners(struct cw_sbx_folder *folder, struct cw_err *err)
{
    folder->by_id = calloc(folder->slice_count + 1, sizeof(*folder->by_id));
    folder->patients = calloc(folder->slice_count + 1, sizeof(*folder->patients));
    if (folder->by_id == NULL || folder->patients == NULL) {
        return oom(err);
    }
    for (size_t i = 0; i < folder->slice_count; i++) {
        folder->by_id[i] = i;
    }
    qsort_r(folder->by_id, folder->slice_count, sizeof(*folder->by_id), by_type_id_file, folder);
    name_patients(folder);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < folder->slice_count; i++) {
            struct slice *slice = &folder->slices[i];
            if (slice->patient == NOBODY) {
                slice->patient = pass == 0 ? owner_by_members(folder, slice) : owner_by_targets(folder, slice);
            }
        }
    }
    return CW_OK;
}

/* --- serving --- */

/* The slice's bytes with urns turned into Type/id; everything else as it is. */
static enum cw_code rewrite(const struct file *file, const struct slice *slice, struct cw_str *out)
{
    static const struct cw_span start = { "\"urn:", 5 };
    struct cw_span rest = slice->bytes;
    if (slice->id_missing) {
        cw_str_add_cstr(out, "{\"id\":\"");
        cw_str_add_span(out, slice->id);
        cw_str_add_cstr(out, "\",");
        rest = cw_span_from(rest, 1);
    }
    size_t at;
    while ((at = cw_span_find_span(rest, start)) < rest.len) {
        struct cw_span text = cw_span_from(rest, at + 1);
        text = cw_span_upto(text, cw_span_find(text, '"'));
        const struct urn *urn = find_urn(file, text);
        cw_str_add(out, rest.ptr, at + 1);
        rest = cw_span_from(rest, at + 1);
        if (urn != NULL) {
            cw_str_add_span(out, urn->type);
            cw_str_add_char(out, '/');
            cw_str_add_span(out, urn->id);
            rest = cw_span_from(rest, text.len);
        }
    }
    cw_str_add_span(out, rest);
    return cw_str_code(out);
}

/* The hospital's resources that these bytes name, not yet taken, go to the end of the list. */
static void follow(const struct cw_sbx_folder *folder, const struct slice *slice, bool *taken, size_t *list, size_t *count)
{
    struct cw_span rest = slice->bytes, text, type, id;
    while (cw_span_cut(&rest, '"', &text)) {
        if (text.len < 3 || cw_span_find(text, ' ') < text.len || !resolve(&folder->files[slice->file], text, &type, &id)) {
            continue;
        }
        size_t other = find_slice(folder, type, id, slice->file);
        if (other != NOBODY && folder->slices[other].patient == NOBODY && !taken[other]) {
            taken[other] = true;
            list[(*count)++] = other;
        }
    }
}

static enum cw_code add_one(const struct cw_sbx_folder *folder, const struct slice *slice, struct cw_sbx_chart *chart,
                            struct cw_err *err)
{
    CW_AUTO_STR bytes;
    cw_str_init(&bytes, CW_FHIR_RESOURCE_MAX);
    enum cw_code rc = rewrite(&folder->files[slice->file], slice, &bytes);
    rc = rc == CW_OK ? cw_sbx_chart_add(chart, cw_str_span(&bytes), err)
                     : cw_err_set(err, rc, "sandbox.folder", "a resource is too large");
    return rc == CW_E_UNSUPPORTED ? CW_OK : rc; /* a type that the hospital does not serve */
}

enum cw_code cw_sbx_folder_fill(const struct cw_sbx_folder *folder, size_t at, struct cw_sbx_chart *chart, struct cw_err *err)
{
    bool *taken = calloc(folder->slice_count + 1, sizeof(*taken));
    size_t *list = calloc(folder->slice_count + 1, sizeof(*list)), count = 0;
    enum cw_code rc = taken == NULL || list == NULL ? oom(err) : CW_OK;
    for (size_t i = 0; rc == CW_OK && i < folder->slice_count; i++) {
        if (folder->slices[i].patient == at) {
            taken[i] = true;
            list[count++] = i;
        }
    }
    for (size_t i = 0; rc == CW_OK && i < count; i++) {
        const struct slice *slice = &folder->slices[list[i]];
        rc = add_one(folder, slice, chart, err);
        follow(folder, slice, taken, list, &count);
    }
    free(taken);
    free(list);
    return rc;
}

/* --- life --- */

void cw_sbx_folder_free(struct cw_sbx_folder *folder)
{
    if (folder == NULL) {
        return;
    }
    for (size_t i = 0; i < folder->file_count; i++) {
        struct file *file = &folder->files[i];
        if (file->bytes.ptr != NULL) {
            union {
                const char *borrowed;
                void *mapped;
            } at = { .borrowed = file->bytes.ptr };
            munmap(at.mapped, file->bytes.len);
        }
        free(file->path);
        free(file->urns);
    }
    free(folder->files);
    free(folder->slices);
    free(folder->patients);
    free(folder->by_id);
    free(folder);
}

enum cw_code cw_sbx_folder_open(const char *path, struct cw_sbx_folder **ret_folder, struct cw_err *err)
{
    struct cw_sbx_folder *folder = calloc(1, sizeof(*folder));
    if (folder == NULL) {
        return oom(err);
    }
    enum cw_code rc = list_folder(folder, path, 0, err);
    for (size_t i = 0; rc == CW_OK && i < folder->file_count; i++) {
        struct file *file = &folder->files[i];
        rc = file->lines ? cut_lines(folder, i, err) : cut_bundle(folder, i, err);
        if (rc == CW_OK && file->urn_count > 0) {
            qsort(file->urns, file->urn_count, sizeof(*file->urns), by_urn);
        }
    }
    if (rc == CW_OK) {
        rc = find_owners(folder, err);
    }
    if (rc != CW_OK) {
        cw_sbx_folder_free(folder);
        return rc;
    }
    *ret_folder = folder;
    return CW_OK;
}

size_t cw_sbx_folder_patients(const struct cw_sbx_folder *folder)
{
    return folder->patient_count;
}

struct cw_span cw_sbx_folder_patient(const struct cw_sbx_folder *folder, size_t at, struct cw_span *ret_bytes)
{
    const struct slice *slice = &folder->slices[folder->patients[at]];
    *ret_bytes = slice->bytes;
    return slice->id;
}
