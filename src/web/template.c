/* SPDX-License-Identifier: Apache-2.0 */
/* Loading www/tpl, and rendering: a walk over the operations with a scope of values, each escaped for the place that the parser found. */
#include "config.h"

#include "web/template_int.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/text.h"
#include "os/sys.h"

#define TEMPLATE_FILE_MAX (256u * 1024u)
#define TEMPLATES_MAX 256u
#define PATH_SIZE 1024u
#define FOLDER_DEPTH_MAX 2u

struct render {
    const struct cw_templates *templates;
    const struct cw_template *template;
    size_t language;
    struct cw_str *out;
};

/* --- loading --- */

void cw_templates_free(struct cw_templates *templates)
{
    if (templates == NULL) {
        return;
    }
    for (size_t i = 0; i < templates->count; i++) {
        free(templates->items[i].name);
        free(templates->items[i].source);
        free(templates->items[i].ops);
    }
    free(templates->items);
    cw_locales_free(templates->locales);
    free(templates);
}

struct cw_template *cw_templates_find(const struct cw_templates *templates, struct cw_span name)
{
    for (size_t i = 0; i < templates->count; i++) {
        if (cw_span_eq_cstr(name, templates->items[i].name)) {
            return &templates->items[i];
        }
    }
    return NULL;
}

static enum cw_code load_file(struct cw_templates *templates, const char *path, const char *name, struct cw_err *err)
{
    if (templates->count == TEMPLATES_MAX) {
        return cw_err_set(err, CW_E_TOO_BIG, "template", "more than %u templates", TEMPLATES_MAX);
    }
    CW_AUTO_STR text;
    cw_str_init(&text, TEMPLATE_FILE_MAX);
    enum cw_code rc = cw_file_read(path, false, &text, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (!cw_utf8_valid(cw_str_span(&text))) {
        return cw_err_set(err, CW_E_SYNTAX, "template", "%s.html is not UTF-8", name);
    }
    struct cw_template *template = &templates->items[templates->count++];
    template->source_len = text.len;
    template->source = cw_str_take(&text);
    template->name = strdup(name);
    if (template->source == NULL || template->name == NULL) {
        return cw_err_set(err, CW_E_OOM, "template", "out of memory");
    }
    return CW_OK;
}

/* Reads all *.html of www_dir/tpl and its folders; `below` is "" or "folder/". */
static enum cw_code load_folder(struct cw_templates *templates, const char *root, const char *below, unsigned depth,
                                struct cw_err *err)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", root, below);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return cw_err_sys(err, CW_E_CONFIG, errno, "template", "the folder of templates cannot be read");
    }
    enum cw_code rc = CW_OK;
    const struct dirent *entry;
    while (rc == CW_OK && (entry = readdir(folder)) != NULL) {
        char name[PATH_SIZE];
        struct stat info;
        int n = snprintf(name, sizeof name, "%s%s", below, entry->d_name);
        int m = snprintf(path, sizeof path, "%s/%s", root, name);
        if (entry->d_name[0] == '.' || n >= (int)sizeof name - 1 || m >= (int)sizeof path || stat(path, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode) && depth < FOLDER_DEPTH_MAX) {
            name[n] = '/';
            name[n + 1] = '\0';
            rc = load_folder(templates, root, name, depth + 1, err);
        } else if (cw_span_ends(cw_span_cstr(name), CW_SPAN(".html"))) {
            name[n - 5] = '\0';
            rc = load_file(templates, path, name, err);
        }
    }
    closedir(folder);
    return rc;
}

enum cw_code cw_templates_load(const char *www_dir, struct cw_templates **ret_templates, struct cw_err *err)
{
    char path[PATH_SIZE];
    struct cw_templates *templates = calloc(1, sizeof *templates);
    if (templates != NULL) {
        templates->items = calloc(TEMPLATES_MAX, sizeof *templates->items);
    }
    if (templates == NULL || templates->items == NULL) {
        cw_templates_free(templates);
        return cw_err_set(err, CW_E_OOM, "template", "out of memory");
    }
    snprintf(path, sizeof path, "%s/locales", www_dir);
    enum cw_code rc = cw_locales_load(path, &templates->locales, err);
    if (rc == CW_OK) {
        snprintf(path, sizeof path, "%s/tpl", www_dir);
        rc = load_folder(templates, path, "", 1, err);
    }
    for (size_t i = 0; i < templates->count && rc == CW_OK; i++) {
        rc = cw_template_parse(templates, &templates->items[i], err);
    }
    if (rc != CW_OK) {
        cw_templates_free(templates);
        return rc;
    }
    *ret_templates = templates;
    return CW_OK;
}

/* --- escaping --- */

static void add_escaped(struct cw_str *out, struct cw_span text)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        const char *entity = NULL;
        switch (text.ptr[i]) {
        case '&':
            entity = "&amp;";
            break;
        case '<':
            entity = "&lt;";
            break;
        case '>':
            entity = "&gt;";
            break;
        case '"':
            entity = "&quot;";
            break;
        case '\'':
            entity = "&#39;";
            break;
        default:
            continue;
        }
        cw_str_add(out, text.ptr + from, i - from);
        cw_str_add_cstr(out, entity);
        from = i + 1;
    }
    cw_str_add_span(out, cw_span_from(text, from));
}

/* http, https, or a path, query or fragment on this very site. Browsers drop tabs and line ends inside URLs and read '\' as '/',
 * so none of these may occur: "/\t/evil.example" would lead elsewhere. */
static bool is_safe_url(struct cw_span url)
{
    for (size_t i = 0; i < url.len; i++) {
        if ((unsigned char)url.ptr[i] <= 0x20 || url.ptr[i] == '\\' || url.ptr[i] == 0x7f) {
            return false;
        }
    }
    if (cw_span_starts(url, CW_SPAN("https://")) || cw_span_starts(url, CW_SPAN("http://"))) {
        return true;
    }
    return url.len > 0 && (url.ptr[0] == '?' || url.ptr[0] == '#' ||
                           (url.ptr[0] == '/' && !cw_span_starts(url, CW_SPAN("//"))));
}

static void add_placed(struct cw_str *out, enum cw_place place, struct cw_span text)
{
    switch (place) {
    case CW_PLACE_TEXT:
    case CW_PLACE_ATTR:
        add_escaped(out, text);
        break;
    case CW_PLACE_URL:
        add_escaped(out, is_safe_url(text) ? text : CW_SPAN("#"));
        break;
    case CW_PLACE_URL_PART:
        cw_percent_encode(text, out);
        break;
    }
}

/* Bytes that are not UTF-8 (a column from elsewhere) could join with what follows; they become U+FFFD. */
static void add_checked(struct cw_str *out, enum cw_place place, struct cw_span text)
{
    if (cw_utf8_valid(text)) {
        add_placed(out, place, text);
        return;
    }
    CW_AUTO_STR repaired;
    cw_str_init(&repaired, CW_RESPONSE_MAX);
    if (cw_utf8_repair(text, &repaired) != CW_OK) {
        out->code = cw_str_code(&repaired);
        return;
    }
    add_placed(out, place, cw_str_span(&repaired));
}

/* --- rendering --- */

static void add_value(const struct render *r, const struct cw_op *op, const struct cw_page *page)
{
    const struct cw_page_value *value = cw_page_find(page, op->text);
    if (value != NULL) {
        add_checked(r->out, op->place, value->text);
    } else if (cw_span_eq(op->text, CW_SPAN("lang"))) {
        add_checked(r->out, op->place, cw_span_cstr(cw_locales_tag(r->templates->locales, r->language)));
    } else if (cw_span_eq(op->text, CW_SPAN("dir"))) {
        add_checked(r->out, op->place, cw_span_cstr(cw_locales_dir(r->templates->locales, r->language)));
    } else {
#ifdef CW_SANITIZED
        cw_bug(r->template->name); /* the page lacks a value that this template names */
#endif
    }
}

static void add_locale_text(const struct render *r, const struct cw_op *op, const struct cw_page *page)
{
    CW_AUTO_STR text;
    cw_str_init(&text, CW_RESPONSE_MAX);
    enum cw_code rc = cw_locales_fill(r->templates->locales, r->language, op->index, page, &text);
    if (rc != CW_OK) {
        r->out->code = rc;
        return;
    }
    add_checked(r->out, op->place, cw_str_span(&text));
}

/* Operations [from, to). Nested as deep as the sections of the template, which the parser bounds. */
static void render_ops(const struct render *r, size_t from, size_t to, const struct cw_page *page)
{
    const struct cw_op *ops = r->template->ops;
    for (size_t i = from; i < to; i++) {
        const struct cw_op *op = &ops[i];
        const struct cw_page_value *value = NULL;
        switch (op->kind) {
        case CW_OP_LITERAL:
            cw_str_add_span(r->out, op->text);
            continue;
        case CW_OP_VALUE:
            add_value(r, op, page);
            continue;
        case CW_OP_LOCALE:
            add_locale_text(r, op, page);
            continue;
        case CW_OP_SECTION:
        case CW_OP_INVERTED:
            value = cw_page_find(page, op->text);
            break;
        }
        bool truth = value != NULL && value->truth;
        if (truth && op->kind == CW_OP_SECTION && value->kind == CW_PAGE_LIST) {
            for (const struct cw_page *item = value->first_item; item != NULL; item = item->next_item) {
                render_ops(r, i + 1, op->index, item);
            }
        } else if (truth == (op->kind == CW_OP_SECTION)) {
            render_ops(r, i + 1, op->index, page);
        }
        i = op->index - 1;
    }
}

enum cw_code cw_template_render(const struct cw_templates *templates, const char *name, const char *language,
                                const struct cw_page *page, struct cw_str *out, struct cw_err *err)
{
    const struct cw_template *template = cw_templates_find(templates, cw_span_cstr(name));
    if (template == NULL) {
        return cw_err_set(err, CW_E_NOT_FOUND, "template", "no template \"%s\"", name);
    }
    if (cw_page_code(page) != CW_OK) {
        return cw_err_set(err, cw_page_code(page), "template", "the page's values did not fit its memory");
    }
    struct render r = { templates, template, cw_locales_find(templates->locales, language), out };
    render_ops(&r, 0, template->op_count, page);
    enum cw_code rc = cw_str_code(out);
    return rc == CW_OK ? CW_OK : cw_err_set(err, rc, "template", "the page did not fit its memory");
}

/* --- languages --- */

/* Our tag for "es-MX": itself or its first subtag; NULL when we have neither. */
static const char *language_of(const struct cw_templates *templates, struct cw_span wanted)
{
    for (int whole = 1; whole >= 0; whole--) {
        struct cw_span tag = whole ? wanted : cw_span_upto(wanted, cw_span_find(wanted, '-'));
        for (size_t i = 0; i < cw_locales_count(templates->locales); i++) {
            const char *ours = cw_locales_tag(templates->locales, i);
            if (cw_span_eq_nocase(tag, cw_span_cstr(ours))) {
                return ours;
            }
        }
    }
    return NULL;
}

/* The q of "es;q=0.8" in thousandths (RFC 9110 12.4.2); 1000 when it has none, 0 when it is broken. */
static unsigned quality(struct cw_span parameters)
{
    struct cw_span name;
    parameters = cw_span_trim(parameters);
    if (parameters.len == 0) {
        return 1000;
    }
    if (!cw_span_cut(&parameters, '=', &name) || !cw_span_eq_nocase(cw_span_trim(name), CW_SPAN("q"))) {
        return 0;
    }
    struct cw_span whole;
    uint64_t ones = 0;
    uint64_t thousandths = 0;
    parameters = cw_span_trim(parameters);
    bool fraction = cw_span_cut(&parameters, '.', &whole);
    if (!cw_span_u64(whole, 1, &ones) ||
        (fraction && (parameters.len > 3 || (parameters.len > 0 && !cw_span_u64(parameters, 999, &thousandths))))) {
        return 0;
    }
    for (size_t digits = parameters.len; digits < 3; digits++) {
        thousandths *= 10;
    }
    return ones == 1 ? 1000 : (unsigned)thousandths;
}

const char *cw_language_choose(const struct cw_templates *templates, struct cw_span explicit_tag,
                               struct cw_span accept_language)
{
    const char *best = explicit_tag.len == 0 ? NULL : language_of(templates, explicit_tag);
    unsigned best_quality = best == NULL ? 0 : 1001;
    bool more = best == NULL && accept_language.len > 0;
    while (more) {
        struct cw_span item;
        struct cw_span tag;
        more = cw_span_cut(&accept_language, ',', &item);
        cw_span_cut(&item, ';', &tag);
        const char *ours = language_of(templates, cw_span_trim(tag));
        unsigned q = ours == NULL ? 0 : quality(item);
        if (q > best_quality) {
            best = ours;
            best_quality = q;
        }
    }
    return best == NULL ? cw_locales_tag(templates->locales, 0) : best;
}

enum cw_code cw_locale_text(const struct cw_templates *templates, const char *language, const char *key,
                            const struct cw_page *values, struct cw_str *out)
{
    size_t index;
    if (!cw_locales_key(templates->locales, cw_span_cstr(key), &index)) {
        return CW_E_NOT_FOUND;
    }
    return cw_locales_fill(templates->locales, cw_locales_find(templates->locales, language), index, values, out);
}

bool cw_locale_has(const struct cw_templates *templates, const char *key)
{
    size_t index;
    return cw_locales_key(templates->locales, cw_span_cstr(key), &index);
}

size_t cw_language_count(const struct cw_templates *templates)
{
    return cw_locales_count(templates->locales);
}

const char *cw_language_at(const struct cw_templates *templates, size_t at, const char **ret_name)
{
    if (ret_name != NULL) {
        *ret_name = cw_locales_name(templates->locales, at);
    }
    return cw_locales_tag(templates->locales, at);
}
