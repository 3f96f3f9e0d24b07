/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the configuration. Every key is a row of the table; what the file says is checked by its row, what it does
 * not say comes from the row's default. Reasons name line and key, never the value.
 */
#include "os/config.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/text.h"
#include "os/config_int.h"
#include "os/sys.h"

#define DEFAULT_PATH CW_SYSCONFDIR "/chartway/chartway.conf"

struct cw_config {
    struct {
        char *text; /* NULL until given or defaulted */
        int64_t number;
    } values[CW_CONF__COUNT];
};

void cw_config_free(struct cw_config *config)
{
    if (config == NULL) {
        return;
    }
    for (int key = 0; key < CW_CONF__COUNT; key++) {
        free(config->values[key].text);
    }
    free(config);
}

static enum cw_code fault(struct cw_err *err, unsigned line, const struct config_row *row, const char *reason)
{
    return cw_err_set(err, CW_E_CONFIG, "config", "line %u: [%s] %s %s", line, row->section, row->name, reason);
}

static enum cw_code out_of_memory(struct cw_err *err)
{
    return cw_err_set(err, CW_E_OOM, "config", "out of memory");
}

static enum cw_code set_value(struct cw_config *config, int key, struct cw_span value)
{
    char *text = malloc(value.len + 1);
    if (text == NULL) {
        return CW_E_OOM;
    }
    if (value.len > 0) {
        memcpy(text, value.ptr, value.len);
    }
    text[value.len] = '\0';
    free(config->values[key].text);
    config->values[key].text = text;
    return CW_OK;
}

static int find_key(struct cw_span section, struct cw_span name)
{
    for (int key = 0; key < CW_CONF__COUNT; key++) {
        const struct config_row *row = &cw_config_table[key];
        if (cw_span_eq_cstr(section, row->section) && cw_span_eq_cstr(name, row->name)) {
            return key;
        }
    }
    return -1;
}

static bool is_section(struct cw_span section)
{
    for (int key = 0; key < CW_CONF__COUNT; key++) {
        if (cw_span_eq_cstr(section, cw_config_table[key].section)) {
            return true;
        }
    }
    return false;
}

/* An unknown name is shown as far as it looks like one: somebody may have pasted a secret. */
static int shown_length(struct cw_span name)
{
    size_t len = 0;
    while (len < name.len && len < 40 && ((name.ptr[len] >= 'a' && name.ptr[len] <= 'z') || name.ptr[len] == '_')) {
        len++;
    }
    return (int)len;
}

static enum cw_code read_assignment(struct cw_config *config, struct cw_span section, struct cw_span line,
                                    unsigned number, struct cw_err *err)
{
    struct cw_span name;
    if (!cw_span_cut(&line, '=', &name)) {
        return cw_err_set(err, CW_E_CONFIG, "config", "line %u: neither [section] nor key = value", number);
    }
    name = cw_span_trim(name);
    struct cw_span value = cw_span_trim(line);
    int key = find_key(section, name);
    if (key < 0) {
        return cw_err_set(err, CW_E_CONFIG, "config", "line %u: unknown key %.*s in [%.*s]", number,
                          shown_length(name), name.ptr, (int)section.len, section.len == 0 ? "" : section.ptr);
    }
    const struct config_row *row = &cw_config_table[key];
    const char *reason = "";
    if (config->values[key].text != NULL) {
        return fault(err, number, row, "is set twice");
    }
    if (cw_utf8_has_control(value)) {
        return fault(err, number, row, "holds a control character");
    }
    if (!cw_config_check(row, value, &config->values[key].number, &reason)) {
        return fault(err, number, row, reason);
    }
    return set_value(config, key, value) == CW_OK ? CW_OK : out_of_memory(err);
}

static enum cw_code read_lines(struct cw_config *config, struct cw_span text, struct cw_err *err)
{
    struct cw_span section = { NULL, 0 };
    for (unsigned number = 1; text.len > 0; number++) {
        struct cw_span line;
        (void)cw_span_cut(&text, '\n', &line);
        line = cw_span_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';') {
            continue;
        }
        if (line.ptr[0] == '[') {
            section = cw_span_trim(cw_span_of(line.ptr + 1, line.len > 1 ? line.len - 2 : 0));
            if (line.ptr[line.len - 1] != ']' || !is_section(section)) {
                return cw_err_set(err, CW_E_CONFIG, "config", "line %u: unknown section", number);
            }
            continue;
        }
        enum cw_code rc = read_assignment(config, section, line, number, err);
        if (rc != CW_OK) {
            return rc;
        }
    }
    return CW_OK;
}

static enum cw_code expand_name(const struct cw_config *config, struct cw_span name, struct cw_str *out)
{
    if (cw_span_eq_cstr(name, "pkgdatadir")) {
        return cw_str_add_cstr(out, CW_PKGDATADIR);
    }
    if (cw_span_eq_cstr(name, "localstatedir")) {
        return cw_str_add_cstr(out, CW_LOCALSTATEDIR);
    }
    if (cw_span_eq_cstr(name, "state_dir")) {
        return cw_str_add_cstr(out, cw_config_text(config, CW_CONF_STATE_DIR));
    }
    char host[65] = "";
    if (!cw_span_eq_cstr(name, "hostname") || gethostname(host, sizeof host - 1) != 0) {
        cw_bug("a default that cannot be expanded");
    }
    return cw_str_add_cstr(out, host[0] == '\0' ? "localhost" : host);
}

static enum cw_code expand(const struct cw_config *config, struct cw_span fallback, struct cw_str *out)
{
    for (;;) {
        size_t at = cw_span_find_span(fallback, CW_SPAN("${"));
        (void)cw_str_add_span(out, cw_span_upto(fallback, at));
        if (at == fallback.len) {
            return cw_str_code(out);
        }
        struct cw_span name;
        fallback = cw_span_from(fallback, at + 2);
        (void)cw_span_cut(&fallback, '}', &name);
        (void)expand_name(config, name, out);
    }
}

static enum cw_code fill_default(struct cw_config *config, int key, struct cw_err *err)
{
    const struct config_row *row = &cw_config_table[key];
    if (row->required) {
        return cw_err_set(err, CW_E_CONFIG, "config", "[%s] %s is required", row->section, row->name);
    }
    CW_AUTO_STR value;
    cw_str_init(&value, 4096);
    if (expand(config, cw_span_cstr(row->fallback), &value) != CW_OK
        || set_value(config, key, cw_str_span(&value)) != CW_OK) {
        return out_of_memory(err);
    }
    const char *reason = "";
    if (!cw_config_check(row, cw_str_span(&value), &config->values[key].number, &reason)) {
        return cw_err_set(err, CW_E_CONFIG, "config", "the default of [%s] %s %s", row->section, row->name, reason);
    }
    return CW_OK;
}

enum cw_code cw_config_parse(struct cw_span text, struct cw_config **ret_config, struct cw_err *err)
{
    if (text.len > CW_CONFIG_FILE_MAX) {
        return cw_err_set(err, CW_E_CONFIG, "config", "over %u bytes", CW_CONFIG_FILE_MAX);
    }
    if (!cw_utf8_valid(text)) {
        return cw_err_set(err, CW_E_CONFIG, "config", "not UTF-8");
    }
    struct cw_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return out_of_memory(err);
    }
    enum cw_code rc = read_lines(config, text, err);
    /* In the order of the table: a default may name a key before it. */
    for (int key = 0; rc == CW_OK && key < CW_CONF__COUNT; key++) {
        if (config->values[key].text == NULL) {
            rc = fill_default(config, key, err);
        }
    }
    if (rc != CW_OK) {
        cw_config_free(config);
        return rc;
    }
    *ret_config = config;
    return CW_OK;
}

enum cw_code cw_config_load(const char *path, struct cw_config **ret_config, struct cw_err *err)
{
    if (path == NULL) {
        const char *chosen = getenv("CHARTWAY_CONF");
        path = chosen != NULL && chosen[0] != '\0' ? chosen : DEFAULT_PATH;
    }
    CW_AUTO_STR text;
    cw_str_init(&text, CW_CONFIG_FILE_MAX);
    enum cw_code rc = cw_file_read(path, false, &text, err);
    if (rc == CW_OK) {
        rc = cw_config_parse(cw_str_span(&text), ret_config, err);
        if (rc != CW_OK) {
            (void)cw_err_wrap(err, path);
        }
    }
    return rc;
}

static bool is_number(enum cw_config_key key)
{
    enum config_kind kind = cw_config_table[key].kind;
    return kind == CONFIG_INT || kind == CONFIG_BYTES;
}

const char *cw_config_text(const struct cw_config *config, enum cw_config_key key)
{
    if (is_number(key) || cw_config_table[key].kind == CONFIG_BOOL) {
        cw_bug("a configuration number asked for as text");
    }
    const char *text = config->values[key].text;
    if (text == NULL) {
        cw_bug("a configuration value asked for before it is known");
    }
    return text;
}

int64_t cw_config_int(const struct cw_config *config, enum cw_config_key key)
{
    if (!is_number(key) && cw_config_table[key].kind != CONFIG_CHOICE) {
        cw_bug("a configuration text asked for as a number");
    }
    return config->values[key].number;
}

bool cw_config_bool(const struct cw_config *config, enum cw_config_key key)
{
    if (cw_config_table[key].kind != CONFIG_BOOL) {
        cw_bug("a configuration value asked for as true or false");
    }
    return config->values[key].number != 0;
}

/* A comment line, wrapped so that the file reads well in 100 columns. */
static void add_doc(struct cw_str *out, const char *doc)
{
    struct cw_span rest = cw_span_cstr(doc);
    struct cw_span word;
    size_t column = 0;
    while (cw_span_word(&rest, &word)) {
        if (column == 0 || column + 1 + word.len > 100) {
            (void)cw_str_add_cstr(out, column == 0 ? "#" : "\n#");
            column = 1;
        }
        (void)cw_str_add_char(out, ' ');
        (void)cw_str_add_span(out, word);
        column += 1 + word.len;
    }
    (void)cw_str_add_char(out, '\n');
}

static void add_section(struct cw_str *out, int key)
{
    const char *section = cw_config_table[key].section;
    if (key == 0 || strcmp(section, cw_config_table[key - 1].section) != 0) {
        (void)cw_str_addf(out, "\n[%s]\n", section);
    } else {
        (void)cw_str_add_char(out, '\n');
    }
}

enum cw_code cw_config_show(const struct cw_config *config, struct cw_str *out)
{
    (void)cw_str_add_cstr(out, "# Chartway's configuration in effect.\n");
    for (int key = 0; key < CW_CONF__COUNT; key++) {
        const struct config_row *row = &cw_config_table[key];
        add_section(out, key);
        add_doc(out, row->doc);
        const char *text = config->values[key].text;
        (void)cw_str_addf(out, "%s =%s%s\n", row->name, text[0] == '\0' ? "" : " ", text);
    }
    return cw_str_code(out);
}

enum cw_code cw_config_example(struct cw_str *out)
{
    (void)cw_str_add_cstr(out, "# Chartway's configuration: every key, with its default behind a '#'.\n");
    for (int key = 0; key < CW_CONF__COUNT; key++) {
        const struct config_row *row = &cw_config_table[key];
        add_section(out, key);
        add_doc(out, row->doc);
        const char *text = row->example != NULL ? row->example : row->fallback;
        (void)cw_str_addf(out, "%s%s =%s%s\n", row->example != NULL ? "" : "#", row->name, text[0] == '\0' ? "" : " ",
                          text);
    }
    return cw_str_code(out);
}
