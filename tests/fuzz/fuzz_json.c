/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON gate: whatever comes in, a tree within the limits or a code comes out, and its strings can be written. */
#include "base/json.h"
#include "base/jsonw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cw_json_limits limits = { .max_bytes = 65536, .max_depth = 16, .flags = CW_JSON_ARRAY_TOO };
    CW_AUTO_JSON *root = NULL;
    struct cw_err err = { 0 };
    struct cw_str out;
    cw_str_init(&out, 1 << 20);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &out);
    if (cw_json_parse(cw_span_of(data, size), limits, &root, &err) == CW_OK) {
        struct cw_span text;
        int64_t number = 0;
        bool found = cw_json_text(root, "a", &text, &err) == CW_OK;
        cw_jsonw_text(&w, found ? text : cw_json_peek_text(root, "b"));
        if (cw_json_int(root, "c", &number, &err) != CW_OK && err.text[0] == '\0') {
            cw_bug("a getter failed without a reason");
        }
    } else {
        /* Foreign bytes as a text: what is written must be JSON again. */
        cw_jsonw_text(&w, cw_span_of(data, size));
    }
    if (cw_jsonw_end(&w) == CW_OK) {
        json_t *back = json_loadb(out.buf, out.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (back == NULL) {
            cw_bug("what the writer wrote is not JSON");
        }
        json_decref(back);
    }
    cw_str_release(&out);
    return 0;
}
