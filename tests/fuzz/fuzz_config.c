/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: what is accepted can be shown, and what is shown is accepted. */
#include "os/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_config *config = NULL;
    struct cw_config *again = NULL;
    struct cw_err err = { 0 };
    if (cw_config_parse(cw_span_of(data, size), &config, &err) != CW_OK) {
        if (err.code == CW_OK || err.text[0] == '\0') {
            cw_bug("refused without a reason");
        }
        return 0;
    }
    struct cw_str shown;
    cw_str_init(&shown, 1 << 20);
    if (cw_config_show(config, &shown) == CW_OK && shown.len <= 65536
        && cw_config_parse(cw_str_span(&shown), &again, &err) != CW_OK) {
        cw_bug("what is shown is not accepted");
    }
    cw_config_free(again);
    cw_config_free(config);
    cw_str_release(&shown);
    return 0;
}
