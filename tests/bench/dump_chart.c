/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes every resource of the sandbox hospital's patients into a folder, one file each: what the zstd dictionaries are trained on.
 * Nothing but generated data ever goes into a dictionary (design 13).
 *
 *   make dump_chart && mkdir /tmp/train && ./dump_chart /tmp/train
 *   zstd --train -r /tmp/train --maxdict=65536 --dictID=1 -o conf/zstd/fhir-1.dict
 *
 * A dictionary that rows name is never changed: a better one is a new version beside it (model/codec_dict.h).
 */
#include "config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "sandbox/chart.h"
#include "sandbox/gen.h"
#include "sandbox/persona.h"

#define DOCUMENT_MIN 65536u /* inline documents would crowd out everything else */

static bool write_resource(const char *folder, size_t persona, size_t at, struct cw_span bytes)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%02zu-%06zu.json", folder, persona, at) >= (int)sizeof(path)) {
        return false;
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return false;
    }
    bool good = fwrite(bytes.ptr, 1, bytes.len, file) == bytes.len;
    return fclose(file) == 0 && good;
}

static bool dump_persona(const char *folder, size_t persona)
{
    struct cw_sbx_chart *chart = cw_sbx_chart_new();
    bool good = chart != NULL && cw_sbx_generate(persona, chart, NULL) == CW_OK && cw_sbx_chart_seal(chart) == CW_OK;
    for (size_t i = 0; good && i < cw_sbx_chart_count(chart); i++) {
        struct cw_span bytes = cw_sbx_chart_at(chart, i)->bytes;
        good = bytes.len >= DOCUMENT_MIN || write_resource(folder, persona, i, bytes);
    }
    cw_sbx_chart_drop(chart);
    return good;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: dump_chart FOLDER\n", stderr);
        return EXIT_FAILURE;
    }
    for (size_t persona = 0; persona < cw_sbx_persona_count(); persona++) {
        if (!dump_persona(argv[1], persona)) {
            fprintf(stderr, "dump_chart: patient %zu could not be written\n", persona);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}
