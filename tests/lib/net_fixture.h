/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration that lets the script server of a test be reached, and clients over it. */
#ifndef CW_TESTS_NET_FIXTURE_H
#define CW_TESTS_NET_FIXTURE_H

#include <check.h>

#include "net/http.h"
#include "os/config.h"
#include "script_server.h"

/* `more` are further lines of [net]. */
static inline struct cw_config *net_fixture_config(const struct script_server *server, const char *more)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 4096);
    (void)cw_str_add_cstr(&text, "[server]\norigin = https://chartway.example\n[vault]\nmaster_keys = a=/x\n[net]\n");
    if (server != NULL) {
        (void)cw_str_addf(&text, "allow = 127.0.0.1:%u\n", script_server_port(server));
    }
    (void)cw_str_add_cstr(&text, more);
    struct cw_config *config = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(cw_config_parse(cw_str_span(&text), &config, &err) == CW_OK, "%s", err.text);
    return config;
}

static inline struct cw_http *net_fixture_http(const struct script_server *server, const char *more)
{
    struct cw_config *config = net_fixture_config(server, more);
    struct cw_http *http = NULL;
    struct cw_err err = { 0 };
    ck_assert_msg(cw_http_new(config, &http, &err) == CW_OK, "%s", err.text);
    cw_config_free(config);
    return http;
}

#endif
