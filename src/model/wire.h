/* SPDX-License-Identifier: Apache-2.0 */
/* How things look on the wire: used by the API's answers and by events, so that both are the same. Field order as in the contract. */
#ifndef CW_MODEL_WIRE_H
#define CW_MODEL_WIRE_H

#include "base/jsonw.h"
#include "model/connection.h"
#include "model/session.h"
#include "model/source.h"

/* PatientSession; `origin` makes `url` = origin/c/secret. Extension members reconnect_connection_id and ended_reason only where they are set. */
void cw_wire_session(struct cw_jsonw *w, const struct cw_session *session, const char *origin) CW_NONNULL(1, 2, 3);
/* Patient without the closing bracket's extras: a whole object. */
void cw_wire_patient(struct cw_jsonw *w, const struct cw_patient *patient) CW_NONNULL(1, 2);
/* PatientDetail: with connections[]. */
void cw_wire_patient_detail(struct cw_jsonw *w, const struct cw_patient *patient,
                            const struct cw_connection *connections, size_t count) CW_NONNULL(1, 2);
/* Extension members missing_types, one_time and access_ends_at only where they say something. */
void cw_wire_connection(struct cw_jsonw *w, const struct cw_connection *connection) CW_NONNULL(1, 2);
/* FhirSource. */
void cw_wire_source(struct cw_jsonw *w, const struct cw_source *source) CW_NONNULL(1, 2);

#endif
