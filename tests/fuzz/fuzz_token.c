/* SPDX-License-Identifier: Apache-2.0 */
/* API keys and states as strangers send them: the first byte chooses the reader. Nothing may be taken for good that we did not sign. */
#include "config.h"

#include <unistd.h>

#include "os/config.h"
#include "os/sys.h"
#include "vault/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One vault for the whole run, over a key that exists for a moment only. */
static struct cw_vault *vault_once(void)
{
    static struct cw_vault *vault;
    if (vault != NULL) {
        return vault;
    }
    char path[] = "/tmp/cw-fuzz-key-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0 || unlink(path) != 0 || cw_vault_make_master(path, NULL) != CW_OK) {
        cw_bug("no master key");
    }
    char text[256];
    int len = snprintf(text, sizeof text, "[server]\norigin = http://127.0.0.1:1\n[vault]\nmaster_keys = a=%s\n", path);
    struct cw_config *config = NULL;
    if (cw_config_parse(cw_span_of(text, (size_t)len), &config, NULL) != CW_OK ||
        cw_vault_new(config, &vault, NULL) != CW_OK) {
        cw_bug("no vault");
    }
    cw_config_free(config);
    (void)unlink(path);
    return vault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct cw_span text = cw_span_of(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        struct cw_api_token token;
        if (cw_api_token_read(vault_once(), text, &token, NULL) == CW_OK) {
            cw_bug("a forged API key was taken");
        }
        return 0;
    }
    struct cw_state_token state;
    enum cw_code rc = cw_state_read(vault_once(), "reg-a", text, 1, &state, NULL);
    if (rc == CW_OK && text.len != 43) {
        cw_bug("a forged state was taken");
    }
    return 0;
}
