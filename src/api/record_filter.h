/* SPDX-License-Identifier: Apache-2.0 */
/* The `type` filter of records: comma-separated resource types. */
#ifndef CW_API_RECORD_FILTER_H
#define CW_API_RECORD_FILTER_H

#include <stdbool.h>

#include "model/record.h"

/* Fills types sorted and each once, so that a cursor does not depend on how they were written; borrows from `text`. An empty text is
 * no filter. False: an item that is no type's name, or more than CW_RECORD_TYPES_MAX. */
bool cw_record_types_parse(struct cw_span text, struct cw_record_filter *filter) CW_NONNULL(2) CW_MUST_USE;

#endif
