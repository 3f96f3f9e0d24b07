/* SPDX-License-Identifier: Apache-2.0 */
/* patient delete | patient reapply-deletions | connection disconnect | connection revocations: letting go. */
#include "config.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>

#include "base/time.h"
#include "model/deletion.h"
#include "model/disconnect.h"
#include "model/revocation.h"
#include "smart/pinned.h"
#include "smart/removal.h"

#define LIST_MAX 200

/* Where a source takes no revocation, what the patient does at the portal; into *ret, absent otherwise. */
static void way_of(struct ctl *ctl, const struct cw_connection *connection, struct cw_span *ret)
{
    struct cw_span none = { NULL, 0 };
    struct cw_err err = { 0 };
    struct cw_pinned pinned;
    struct cw_source source = { .name = none };
    struct cw_endpoint endpoint = { .discovery = none };
    *ret = none;
    if (cw_pinned_parse(connection->pinned, ctl->arena, &pinned, &err) != CW_OK) {
        return;
    }
    if (cw_endpoint_get(&ctl->model, connection->endpoint, ctl->arena, &endpoint, &err) != CW_OK ||
        cw_source_get(&ctl->model, endpoint.environment, connection->source, ctl->arena, &source, &err) != CW_OK) {
        endpoint.discovery = none; /* the sentence is less exact then */
    }
    *ret = cw_removal_way(&pinned, endpoint.discovery, source.portal_name.ptr != NULL ? source.portal_name : source.name,
                          ctl->arena);
}

static void print_way(struct ctl *ctl, const struct cw_connection *connection)
{
    struct cw_span way;
    struct cw_span id = ctl_id(ctl, CW_PREFIX_CONNECTION, connection->id.ulid);
    way_of(ctl, connection, &way);
    if (way.ptr != NULL) {
        (void)printf("%.*s: %.*s\n", (int)id.len, id.ptr, (int)way.len, way.ptr);
    }
}

/* ---------------------------------------------------------------------------------------------- patient delete */

/* The active connections of the patient, read before they are gone. */
static enum cw_code connections_of(struct ctl *ctl, struct cw_org_id org, struct cw_span patient_id,
                                   struct cw_connection **ret, size_t *ret_count, struct cw_err *err)
{
    struct cw_patient patient;
    *ret_count = 0;
    enum cw_code rc = cw_patient_get(&ctl->model, org, patient_id, ctl->arena, &patient, err);
    return rc == CW_OK ? cw_connection_list(&ctl->model, patient.row, ctl->arena, ret, ret_count, err) : rc;
}

static enum cw_code delete(struct ctl *ctl, struct cw_err *err)
{
    struct cw_org org;
    struct cw_span patient_id;
    struct cw_connection *connections = NULL;
    struct cw_deletion deletion;
    struct cw_err ignored = { 0 };
    size_t count = 0;
    enum cw_code rc = ctl_patient_of(ctl, &org, &patient_id, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (connections_of(ctl, org.id, patient_id, &connections, &count, &ignored) != CW_OK) {
        count = 0; /* deleted before, or unreadable: it is deleted all the same */
    }
    rc = cw_patient_delete(&ctl->model, &ctl->actor, org.id, patient_id, &deletion, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? cw_err_set(err, rc, "patient", "no such patient") : rc;
    }
    char final[CW_TIME_TEXT];
    cw_time_emit(deletion.tombstone.final_us, final);
    (void)printf("%s; nothing of the patient can be read any more; final at %s, when no backup of the keys is left\n",
                 deletion.repeated ? "deleted before" : "deleted", final);
    for (size_t i = 0; i < count; i++) {
        if (connections[i].status == CW_CONNECTION_ACTIVE) {
            print_way(ctl, &connections[i]);
        }
    }
    if (!deletion.journaled) {
        (void)fprintf(stderr, "not yet in the tombstone journal: %s\n", err->text);
    }
    return CW_OK;
}

/* ---------------------------------------------------------------------------------------------- after a restore */

struct reapplied {
    unsigned lines, unreadable, was_back;
};

static enum cw_code reapply_line(struct ctl *ctl, struct cw_span line, struct reapplied *counts, struct cw_err *err)
{
    struct cw_tombstone tombstone;
    bool was_back = false;
    if (cw_tombstone_parse(line, &tombstone) != CW_OK) {
        counts->unreadable++;
        return CW_OK;
    }
    counts->lines++;
    enum cw_code rc = cw_patient_delete_again(&ctl->model, &ctl->actor, &tombstone, &was_back, err);
    counts->was_back += was_back;
    return rc;
}

static enum cw_code reapply_file(struct ctl *ctl, const char *path, struct reapplied *counts, struct cw_err *err)
{
    char line[CW_TOMBSTONE_LINE_MAX + 2];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return cw_err_sys(err, CW_E_IO, errno, "journal", "%s cannot be read", path);
    }
    enum cw_code rc = CW_OK;
    while (rc == CW_OK && fgets(line, sizeof line, file) != NULL) {
        struct cw_span text = cw_span_trim(cw_span_cstr(line));
        rc = text.len == 0 ? CW_OK : reapply_line(ctl, text, counts, err);
    }
    if (rc == CW_OK && ferror(file) != 0) {
        rc = cw_err_sys(err, CW_E_IO, errno, "journal", "%s cannot be read", path);
    }
    (void)fclose(file);
    return rc;
}

static enum cw_code reapply(struct ctl *ctl, struct cw_err *err)
{
    struct reapplied counts = { 0 };
    unsigned keys = 0;
    enum cw_code rc = CW_OK;
    if (ctl->arg_count == 0) {
        rc = reapply_file(ctl, cw_config_text(ctl->config, CW_CONF_TOMBSTONE_JOURNAL), &counts, err);
    }
    for (size_t i = 0; rc == CW_OK && i < ctl->arg_count; i++) {
        rc = reapply_file(ctl, ctl_arg(ctl, i), &counts, err);
    }
    if (rc == CW_OK) {
        rc = cw_deleted_keys_destroy(&ctl->model, &keys, err);
    }
    (void)printf("%u deletions in the journal, %u patients or keys were back and are deleted again, %u keys of other"
                 " tombstones destroyed\n", counts.lines, counts.was_back, keys);
    if (rc == CW_OK && counts.unreadable > 0) {
        rc = cw_err_set(err, CW_E_SYNTAX, "journal", "%u lines are no whole tombstones; the others were applied",
                        counts.unreadable);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------- connections */

static enum cw_code disconnect(struct ctl *ctl, struct cw_err *err)
{
    struct cw_connection_id id;
    struct cw_disconnected done;
    if (!cw_id_parse(CW_PREFIX_CONNECTION, cw_span_cstr(ctl_arg(ctl, 0)), &id.ulid)) {
        return ctl_usage(err, "CONNECTION is a conn_ id");
    }
    enum cw_code rc = cw_connection_disconnect_any(&ctl->model, &ctl->actor, id, ctl->arena, &done, err);
    if (rc != CW_OK) {
        return rc == CW_E_NOT_FOUND ? cw_err_set(err, rc, "connection", "no such connection") : rc;
    }
    (void)puts(done.repeated ? "disconnected before" : "disconnected");
    print_way(ctl, &done.connection);
    return CW_OK;
}

static enum cw_code revocations(struct ctl *ctl, struct cw_err *err)
{
    static const struct ctl_column columns[] = {
        { "connection", CTL_TEXT }, { "source", CTL_TEXT },      { "status", CTL_TEXT }, { "failure", CTL_TEXT },
        { "created_at", CTL_TIME }, { "give_up_at", CTL_TIME },  { "ended_at", CTL_TIME },
    };
    enum { WIDTH = CW_ARRAY_LEN(columns) };
    struct cw_org org;
    struct cw_revocation *list = NULL;
    size_t count = 0;
    enum cw_code rc = ctl_org(ctl, &org, err);
    if (rc == CW_OK) {
        rc = cw_revocation_list(&ctl->model, org.id, LIST_MAX, ctl->arena, &list, &count, err);
    }
    if (rc != CW_OK) {
        return rc;
    }
    struct ctl_cell *cells = ctl_cells(ctl, count, WIDTH, err);
    if (cells == NULL) {
        return CW_E_TOO_BIG;
    }
    for (size_t i = 0; i < count; i++) {
        struct ctl_cell *row = cells + i * WIDTH;
        row[0] = CTL_T(ctl_id(ctl, CW_PREFIX_CONNECTION, list[i].connection.ulid));
        row[1] = CTL_T(ctl_id(ctl, CW_PREFIX_SOURCE, list[i].source.ulid));
        row[2] = CTL_T(cw_span_cstr(cw_revocation_status_name(list[i].status)));
        row[3] = CTL_T(list[i].failure_code);
        row[4] = CTL_N(list[i].created_us);
        row[5] = CTL_N(list[i].give_up_us);
        row[6] = CTL_N(list[i].ended_us);
    }
    struct ctl_table table = { columns, WIDTH, cells, count };
    return ctl_table_print(ctl, &table, err);
}

static const struct ctl_option delete_options[] = {
    { "--patient", "ID", false, "the id that the app chose; required" },
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { 0 },
};
static const struct ctl_option revocations_options[] = {
    { "--org", "ORG", false, "id or name; not needed where there is one organization" },
    { "--json", NULL, false, "as JSON" },
    { 0 },
};

const struct ctl_command ctl_patient_commands[] = {
    { "patient delete", "", 0, 0, CTL_NEED_MODEL, NULL, "Deletes a patient: the key is destroyed at once, the rows soon after.",
      delete_options, delete },
    { "patient reapply-deletions", "[FILE...]", 0, CTL_ARGS_MAX, CTL_NEED_MODEL, "patient.reapply",
      "After a restore: deletes again who stands in the tombstone journal.", NULL, reapply },
    { "connection disconnect", "CONNECTION", 1, 1, CTL_NEED_MODEL, NULL,
      "Lets go of a connection, and gives its tokens back.", NULL, disconnect },
    { "connection revocations", "", 0, 0, CTL_NEED_MODEL, "connection.revocations",
      "Lists tokens on their way back to their sources.", revocations_options, revocations },
    { 0 },
};
