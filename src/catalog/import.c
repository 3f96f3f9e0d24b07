/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the format and walks the file element by element: a small tree for each, never one for the whole file. */
#include "config.h"

#include "catalog/import.h"

#include <stdlib.h>

#include "base/limits.h"
#include "catalog/import_int.h"
#include "net/url.h"

#define WHERE "import"

bool cw_importer_element(struct importer *im, size_t position, struct cw_span json, json_t **ret)
{
    struct cw_json_limits limits = {
        .max_bytes = CW_CATALOG_ENTRY_MAX, .max_depth = CW_JSON_DEPTH_MAX, .flags = CW_JSON_DUPLICATES_TOO,
    };
    *ret = NULL;
    enum cw_code rc = cw_json_parse(json, limits, ret, NULL);
    if (rc == CW_E_OOM) {
        (void)cw_err_set(im->err, rc, WHERE, "no memory for an element");
        return false;
    }
    struct cw_span none = { NULL, 0 };
    return rc == CW_OK || cw_importer_reject(im, position, CW_REJECT_UNREADABLE, none, none);
}

/* --- Lantern --- */

static bool lantern_row(struct importer *im, size_t position, struct cw_span element)
{
    CW_AUTO_JSON *row = NULL;
    if (!cw_importer_element(im, position, element, &row)) {
        return false;
    }
    if (row == NULL) {
        return true;
    }
    struct draft draft = {
        .position = position,
        .name = cw_json_peek_text(row, "OrganizationName"),
        .url = cw_json_peek_text(row, "URL"),
        .postal_code = cw_json_peek_text(row, "OrganizationZipCode"),
    };
    return cw_importer_add(im, &draft);
}

static bool read_lantern(struct importer *im, struct cw_span array)
{
    struct cw_scan scan;
    cw_scan_init(&scan, array);
    (void)cw_scan_next(&scan);
    enum cw_token token;
    im->catalog->format = "lantern";
    for (size_t position = 0; (token = cw_scan_next(&scan)) != CW_T_CLOSE; position++) {
        struct cw_span element;
        if (!cw_scan_skip(&scan, token, &element)) {
            (void)cw_scan_err(&scan, im->err, WHERE);
            return false;
        }
        if (!lantern_row(im, position, element)) {
            return false;
        }
    }
    return true;
}

/* --- one URL --- */

static bool read_url(struct importer *im, struct cw_span text)
{
    struct cw_url *url = NULL;
    if (cw_url_parse(text, &url, im->err) != CW_OK) {
        return false;
    }
    struct draft draft = { .url = text, .name = im->options->name };
    if (draft.name.ptr == NULL) {
        draft.name = cw_span_cstr(cw_url_host(url));
    }
    im->catalog->format = "url";
    bool good = cw_importer_add(im, &draft);
    cw_url_free(url);
    return good;
}

/* --- which format --- */

struct root {
    bool bundle;
    struct cw_span entries;   /* of a Bundle */
    struct cw_span endpoints; /* Lantern's */
};

/* Walks the whole file once: what follows may rely on its being JSON. */
static enum cw_code look(struct cw_span file, struct root *root, struct cw_err *err)
{
    struct cw_scan scan;
    cw_scan_init(&scan, file);
    enum cw_token token = cw_scan_next(&scan);
    if (token != CW_T_OBJECT) {
        return token == CW_T_FAULT ? cw_scan_err(&scan, err, WHERE)
                                   : cw_err_set(err, CW_E_UNSUPPORTED, WHERE, "JSON, but no object");
    }
    while (cw_scan_member(&scan)) {
        struct cw_span name = scan.text;
        token = cw_scan_next(&scan);
        if (token == CW_T_STRING && cw_span_eq_cstr(name, "resourceType")) {
            root->bundle = cw_span_eq_nocase(scan.text, CW_SPAN("Bundle"));
        }
        struct cw_span value;
        bool array = token == CW_T_ARRAY;
        if (!cw_scan_skip(&scan, token, &value)) {
            return cw_scan_err(&scan, err, WHERE);
        }
        if (array && cw_span_eq_cstr(name, "entry")) {
            root->entries = value;
        } else if (array && cw_span_eq_cstr(name, "Endpoints")) {
            root->endpoints = value;
        }
    }
    if (scan.code != CW_OK || cw_scan_next(&scan) != CW_T_END) {
        return cw_scan_err(&scan, err, WHERE);
    }
    return CW_OK;
}

static bool read_json(struct importer *im, struct cw_span file)
{
    struct root root = { .bundle = false };
    if (look(file, &root, im->err) != CW_OK) {
        return false;
    }
    if (root.bundle && root.entries.ptr != NULL) {
        return cw_importer_bundle(im, root.entries);
    }
    if (root.endpoints.ptr != NULL) {
        return read_lantern(im, root.endpoints);
    }
    (void)cw_err_set(im->err, CW_E_UNSUPPORTED, WHERE, "neither a Bundle with entries nor a list of Endpoints");
    return false;
}

enum cw_code cw_catalog_read(struct cw_span file, const struct cw_catalog_options *options, struct cw_arena *arena,
                             struct cw_catalog *ret, struct cw_err *err)
{
    if (file.len > CW_CATALOG_FILE_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, WHERE, "a file of %zu bytes", file.len);
    }
    if (cw_span_starts(file, CW_SPAN("\xef\xbb\xbf"))) {
        file = cw_span_from(file, 3);
    }
    file = cw_span_trim(file);
    struct cw_err own = { .code = CW_OK };
    struct cw_catalog catalog = { .format = "" };
    struct importer im = { .options = options, .arena = arena, .catalog = &catalog, .err = err == NULL ? &own : err };
    im.err->code = CW_OK;
    bool json = file.len > 0 && (file.ptr[0] == '{' || file.ptr[0] == '[');
    bool good = json ? read_json(&im, file) : read_url(&im, file);
    free(im.seen);
    if (!good) {
        return im.err->code;
    }
    *ret = catalog;
    return CW_OK;
}
