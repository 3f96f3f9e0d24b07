/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shipped dictionaries, by version. One that has been released is never changed or removed: rows name it. A better one is the next
 * number. They are trained by zstd on what tests/bench/dump_chart.c writes, generated data only.
 */
#ifndef CW_MODEL_CODEC_DICT_H
#define CW_MODEL_CODEC_DICT_H

#include "base/span.h"

#define CW_CODEC_DICTIONARIES 1u /* the newest version, which packs */

/* The bytes of one version, 1 to CW_CODEC_DICTIONARIES. */
struct cw_span cw_codec_dictionary(unsigned version);

#endif
