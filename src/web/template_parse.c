/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates to operations. While the literal HTML goes by, a small state machine (a cut of the HTML standard's tokenizer) knows where it
 * is, so each {{name}} gets the escaping of its place here, once, and a place where no escaping is safe (a tag's or attribute's name, an
 * unquoted value, script, style, on…=) is an error at start. Includes are parsed in place, hence in the right state.
 */
#include "config.h"

#include "web/template_int.h"

#define INCLUDE_DEPTH_MAX 8u
#define SECTION_DEPTH_MAX 16u
#define NAME_MAX_BYTES 40u

enum html {
    H_TEXT,
    H_OPEN,         /* after '<' */
    H_TAG,          /* in a tag's name */
    H_BETWEEN,      /* in a tag, between attributes */
    H_ATTR,         /* in an attribute's name */
    H_EQUALS,       /* after '=' */
    H_BARE,         /* in an unquoted value */
    H_QUOTED,       /* in a quoted value */
    H_DECLARATION,  /* <!doctype …> */
    H_COMMENT,
    H_SCRIPT        /* between <script …> and </script>: nothing but blanks */
};

struct place {
    enum html html;
    char quote;
    bool url_begun;              /* the URL attribute has content already */
    bool closing;                /* "</…" */
    bool joint;                  /* a section has just ended between attributes: a name may not go on here */
    char tag[NAME_MAX_BYTES];
    char attr[NAME_MAX_BYTES];
};

struct section {
    size_t op;
    struct cw_span name;
    struct place place;
};

struct parser {
    const struct cw_templates *templates;
    struct cw_template *into;
    const struct cw_template *file; /* the one being read, which may be an include */
    struct place place;
    struct section sections[SECTION_DEPTH_MAX];
    size_t depth;
    unsigned includes;
    unsigned line;
    struct cw_err *err;
};

static enum cw_code parse_source(struct parser *p, const struct cw_template *file);

static enum cw_code fail(const struct parser *p, const char *what)
{
    return cw_err_set(p->err, CW_E_SYNTAX, "template", "%s.html:%u: %s", p->file->name, p->line, what);
}

/* --- the HTML around the values --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Adds to a name; the surplus of a long one is dropped, since no name that matters is long. */
static void add_to_name(char name[NAME_MAX_BYTES], char c)
{
    size_t length = strlen(name);
    if (length + 1 < NAME_MAX_BYTES) {
        name[length] = lower(c);
        name[length + 1] = '\0';
    }
}

static bool in_list(const char *name, const char *const *list)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_url_attr(const char *name)
{
    static const char *const names[] = { "href", "src", "action", "formaction", "poster", "cite", "data", NULL };
    return in_list(name, names);
}

/* Attributes whose values are code or hold URLs in a syntax of their own. */
static bool is_closed_attr(const char *name)
{
    static const char *const names[] = { "style", "srcdoc", "srcset", "imagesrcset", "content", "ping", NULL };
    return in_list(name, names) || strncmp(name, "on", 2) == 0;
}

static enum cw_code end_attr_name(const struct parser *p)
{
    if (strncmp(p->place.attr, "on", 2) == 0 || strcmp(p->place.attr, "style") == 0) {
        return fail(p, "inline script or style: the content security policy forbids it");
    }
    return CW_OK;
}

static enum cw_code end_tag(struct parser *p)
{
    if (!p->place.closing && strcmp(p->place.tag, "style") == 0) {
        return fail(p, "a style element: the content security policy forbids it");
    }
    p->place.html = !p->place.closing && strcmp(p->place.tag, "script") == 0 ? H_SCRIPT : H_TEXT;
    return CW_OK;
}

static void begin_tag(struct place *place, char c)
{
    place->tag[0] = '\0';
    place->closing = c == '/';
    place->html = c == '!' ? H_DECLARATION : H_TAG;
    if (c != '/' && c != '!') {
        add_to_name(place->tag, c);
    }
}

/* Within a tag, outside of values. */
static enum cw_code feed_tag(struct parser *p, char c)
{
    struct place *place = &p->place;
    if (place->joint && c != '>' && c != '/' && !is_blank(c)) {
        return fail(p, "a blank must follow a section between attributes");
    }
    place->joint = false;
    if (place->html == H_ATTR && (c == '=' || c == '>' || c == '/' || is_blank(c))) {
        enum cw_code rc = end_attr_name(p);
        if (rc != CW_OK) {
            return rc;
        }
    }
    if (c == '>') {
        return end_tag(p);
    }
    if (c == '=' && place->attr[0] != '\0') {
        place->html = H_EQUALS;
        place->url_begun = false;
    } else if (is_blank(c) || c == '/') {
        place->html = H_BETWEEN; /* "name =" is not used here: a value would then stand without its name */
    } else if (place->html == H_TAG) {
        add_to_name(place->tag, c);
    } else {
        if (place->html == H_BETWEEN) {
            place->attr[0] = '\0';
        }
        place->html = H_ATTR;
        add_to_name(place->attr, c);
    }
    return CW_OK;
}

static enum cw_code feed_value(struct parser *p, char c)
{
    struct place *place = &p->place;
    if (place->html == H_EQUALS) {
        place->quote = c;
        place->html = c == '"' || c == '\'' ? H_QUOTED : H_BARE;
        return c == '>' || is_blank(c) ? fail(p, "an attribute's value is missing") : CW_OK;
    }
    if (place->html == H_BARE && c == '>') {
        return end_tag(p);
    }
    if (place->html == H_BARE ? is_blank(c) : c == place->quote) {
        place->html = H_BETWEEN;
        place->attr[0] = '\0';
    }
    place->url_begun = true;
    return CW_OK;
}

/* One byte of literal HTML; `left` starts with it. */
static enum cw_code feed(struct parser *p, struct cw_span left)
{
    struct place *place = &p->place;
    char c = left.ptr[0];
    switch (place->html) {
    case H_TEXT:
        place->html = c == '<' ? H_OPEN : H_TEXT;
        return CW_OK;
    case H_OPEN:
        if (!(lower(c) >= 'a' && lower(c) <= 'z') && c != '/' && c != '!') {
            return fail(p, "a '<' that opens no tag");
        }
        begin_tag(place, c);
        place->html = cw_span_starts(left, CW_SPAN("!--")) ? H_COMMENT : place->html;
        return CW_OK;
    case H_DECLARATION:
        place->html = c == '>' ? H_TEXT : H_DECLARATION;
        return CW_OK;
    case H_COMMENT:
        if (c == '>' && left.ptr - p->file->source >= 2 && left.ptr[-1] == '-' && left.ptr[-2] == '-') {
            place->html = H_TEXT;
        }
        return CW_OK;
    case H_SCRIPT:
        place->html = c == '<' ? H_OPEN : H_SCRIPT;
        return c == '<' || is_blank(c) ? CW_OK : fail(p, "inline script: the content security policy forbids it");
    case H_TAG:
    case H_BETWEEN:
    case H_ATTR:
        return feed_tag(p, c);
    case H_EQUALS:
    case H_BARE:
    case H_QUOTED:
        return feed_value(p, c);
    }
    return CW_OK;
}

/* The escaping for a value that stands here. */
static enum cw_code place_of_value(struct parser *p, enum cw_place *ret_place)
{
    struct place *place = &p->place;
    if (place->html == H_TEXT) {
        *ret_place = CW_PLACE_TEXT;
        return CW_OK;
    }
    if (place->html != H_QUOTED) {
        return fail(p, "a value may stand in text or in a quoted attribute only");
    }
    if (is_closed_attr(place->attr)) {
        return fail(p, "no value may stand in this attribute");
    }
    if (!is_url_attr(place->attr)) {
        *ret_place = CW_PLACE_ATTR;
        return CW_OK;
    }
    *ret_place = place->url_begun ? CW_PLACE_URL_PART : CW_PLACE_URL;
    place->url_begun = true;
    return CW_OK;
}

/* --- operations --- */

static enum cw_code add_op(struct parser *p, struct cw_op op)
{
    struct cw_template *t = p->into;
    if (t->op_count == t->op_room) {
        size_t room = t->op_room == 0 ? 32 : t->op_room * 2;
        struct cw_op *ops = realloc(t->ops, room * sizeof *ops);
        if (ops == NULL) {
            return cw_err_set(p->err, CW_E_OOM, "template", "out of memory");
        }
        t->ops = ops;
        t->op_room = room;
    }
    t->ops[t->op_count++] = op;
    return CW_OK;
}

static enum cw_code add_literal(struct parser *p, struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        enum cw_code rc = feed(p, cw_span_from(text, i));
        if (rc != CW_OK) {
            return rc;
        }
        p->line += text.ptr[i] == '\n';
    }
    return text.len == 0 ? CW_OK : add_op(p, (struct cw_op){ .kind = CW_OP_LITERAL, .text = text });
}

static bool is_name(struct cw_span name)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_') {
            return false;
        }
    }
    return true;
}

static enum cw_code open_section(struct parser *p, enum cw_op_kind kind, struct cw_span name)
{
    if (!is_name(name)) {
        return fail(p, "not a section's name");
    }
    if (p->depth == SECTION_DEPTH_MAX) {
        return fail(p, "sections are nested too deep");
    }
    p->sections[p->depth++] = (struct section){ .op = p->into->op_count, .name = name, .place = p->place };
    return add_op(p, (struct cw_op){ .kind = kind, .text = name });
}

static bool is_in_tag(enum html html)
{
    return html == H_TAG || html == H_BETWEEN || html == H_ATTR;
}

/* A section may run any number of times, so what follows it must stand in the same kind of place as its content. */
static enum cw_code close_section(struct parser *p, struct cw_span name)
{
    if (p->depth == 0 || !cw_span_eq(p->sections[p->depth - 1].name, name)) {
        return fail(p, "this section is not open");
    }
    const struct section *section = &p->sections[--p->depth];
    const struct place *then = &section->place;
    struct place *now = &p->place;
    bool same = then->html == H_TEXT && now->html == H_TEXT;
    if (then->html == H_QUOTED && now->html == H_QUOTED) {
        same = then->quote == now->quote && strcmp(then->attr, now->attr) == 0;
    }
    if (is_in_tag(then->html) && is_in_tag(now->html)) {
        enum cw_code rc = now->html == H_ATTR ? end_attr_name(p) : CW_OK;
        if (rc != CW_OK) {
            return rc;
        }
        same = strcmp(then->tag, now->tag) == 0;
        now->html = H_BETWEEN;
        now->attr[0] = '\0';
        now->joint = true;
    }
    if (!same) {
        return fail(p, "a section must end in the kind of place where it began");
    }
    p->into->ops[section->op].index = p->into->op_count;
    return CW_OK;
}

static enum cw_code include(struct parser *p, struct cw_span name)
{
    const struct cw_template *file = cw_templates_find(p->templates, name);
    if (file == NULL) {
        return fail(p, "no such file to include");
    }
    if (p->includes == INCLUDE_DEPTH_MAX) {
        return fail(p, "includes are nested too deep");
    }
    const struct cw_template *outer = p->file;
    unsigned line = p->line;
    size_t depth = p->depth;
    p->includes++;
    enum cw_code rc = parse_source(p, file);
    if (rc == CW_OK && p->depth != depth) {
        rc = fail(p, "a section is still open at the end of the file");
    }
    p->includes--;
    p->file = outer;
    p->line = line;
    return rc;
}

static enum cw_code add_value(struct parser *p, struct cw_span name)
{
    struct cw_op op = { .kind = CW_OP_VALUE, .text = name };
    enum cw_code rc = place_of_value(p, &op.place);
    if (rc != CW_OK) {
        return rc;
    }
    if (cw_span_starts(name, CW_SPAN("t."))) {
        op.kind = CW_OP_LOCALE;
        if (op.place >= CW_PLACE_URL) {
            return fail(p, "a text of the language in a URL");
        }
        if (!cw_locales_key(p->templates->locales, cw_span_from(name, 2), &op.index)) {
            return fail(p, "en.json has no such text");
        }
    } else if (!is_name(name)) {
        return fail(p, "not a value's name");
    }
    return add_op(p, op);
}

/* What stands between {{ and }}. */
static enum cw_code add_tag(struct parser *p, struct cw_span tag)
{
    char kind = tag.len == 0 ? '\0' : tag.ptr[0];
    struct cw_span name = cw_span_trim(cw_span_from(tag, 1));
    switch (kind) {
    case '!':
        for (size_t i = 0; i < tag.len; i++) {
            p->line += tag.ptr[i] == '\n';
        }
        return CW_OK;
    case '#':
        return open_section(p, CW_OP_SECTION, name);
    case '^':
        return open_section(p, CW_OP_INVERTED, name);
    case '/':
        return close_section(p, name);
    case '>':
        return include(p, name);
    default:
        return add_value(p, cw_span_trim(tag));
    }
}

static enum cw_code parse_source(struct parser *p, const struct cw_template *file)
{
    struct cw_span left = { file->source, file->source_len };
    p->file = file;
    p->line = 1;
    for (;;) {
        size_t open = cw_span_find_span(left, CW_SPAN("{{"));
        enum cw_code rc = add_literal(p, cw_span_upto(left, open));
        if (rc != CW_OK || open == left.len) {
            return rc;
        }
        left = cw_span_from(left, open + 2);
        size_t close = cw_span_find_span(left, CW_SPAN("}}"));
        if (close == left.len) {
            return fail(p, "\"{{\" without \"}}\"");
        }
        rc = add_tag(p, cw_span_upto(left, close));
        if (rc != CW_OK) {
            return rc;
        }
        left = cw_span_from(left, close + 2);
    }
}

enum cw_code cw_template_parse(const struct cw_templates *templates, struct cw_template *template, struct cw_err *err)
{
    struct parser p = { .templates = templates, .into = template, .err = err };
    enum cw_code rc = parse_source(&p, template);
    if (rc == CW_OK && p.depth > 0) {
        rc = fail(&p, "a section is still open at the end of the file");
    }
    if (rc == CW_OK && p.place.html != H_TEXT) {
        rc = fail(&p, "the file ends inside a tag");
    }
    return rc;
}
