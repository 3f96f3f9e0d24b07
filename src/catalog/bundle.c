/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundles of Organization and Endpoint, as brands name their endpoints and as vendors name their customers. Both directions are
 * followed: first every Organization with endpoints of its own (or its parent's), then every Endpoint that none of them named.
 *
 * Tolerated, since big vendors publish it: resourceType in any case, references without a type or without '#', Oracle's
 * managingOrganization.id, Epic's contained ids with '/', '+' and '=', entries that are bare resources (smart-client-rules 8.2).
 */
#include "config.h"

#include "catalog/import_int.h"

#include <stdlib.h>

#include "base/limits.h"

#define WHERE "bundle"
#define PARENTS_MAX 4       /* levels of partOf */
#define ENDPOINTS_MAX 64u   /* of one Organization */
#define ALIASES_TEXT_MAX 8192u

struct node {
    json_t *entry;     /* owned */
    json_t *resource;  /* in it */
    bool organization; /* else an Endpoint */
    bool used;         /* a row or a reject tells of it */
    size_t position;
};

struct key {
    struct cw_span text;
    size_t node;
};

struct graph {
    struct importer *im;
    struct node *nodes;
    size_t count, room;
    struct key *keys;    /* sorted by text */
    size_t key_count;
};

/* --- reading the nodes --- */

static bool oom(struct importer *im)
{
    (void)cw_err_set(im->err, CW_E_OOM, WHERE, "no memory for entries");
    return false;
}

static bool add_node(struct graph *g, json_t *entry, size_t position)
{
    json_t *resource = json_object_get(entry, "resource");
    resource = resource == NULL ? entry : resource;
    struct cw_span type = cw_json_peek_text(resource, "resourceType");
    bool organization = cw_span_eq_nocase(type, CW_SPAN("Organization"));
    if (!organization && !cw_span_eq_nocase(type, CW_SPAN("Endpoint"))) {
        json_decref(entry); /* HealthcareService, Location and others say nothing that we use */
        return true;
    }
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 256 : 2 * g->room;
        struct node *fresh = realloc(g->nodes, room * sizeof(*fresh));
        if (fresh == NULL) {
            json_decref(entry);
            return oom(g->im);
        }
        g->nodes = fresh;
        g->room = room;
    }
    g->nodes[g->count++] = (struct node){ .entry = entry, .resource = resource, .organization = organization, .position = position };
    return true;
}

static bool read_nodes(struct graph *g, struct cw_span entries)
{
    struct cw_scan scan;
    cw_scan_init(&scan, entries);
    (void)cw_scan_next(&scan);
    enum cw_token token;
    for (size_t position = 0; (token = cw_scan_next(&scan)) != CW_T_CLOSE; position++) {
        struct cw_span element;
        json_t *entry = NULL;
        if (!cw_scan_skip(&scan, token, &element)) {
            (void)cw_scan_err(&scan, g->im->err, WHERE);
            return false;
        }
        if (!cw_importer_element(g->im, position, element, &entry) || (entry != NULL && !add_node(g, entry, position))) {
            return false;
        }
        if (g->count > CW_CATALOG_ROWS_MAX) {
            (void)cw_err_set(g->im->err, CW_E_TOO_BIG, WHERE, "more than %u entries", CW_CATALOG_ROWS_MAX);
            return false;
        }
    }
    return true;
}

/* --- references --- */

static int by_text(const void *left, const void *right)
{
    const struct key *a = left;
    const struct key *b = right;
    size_t shorter = a->text.len < b->text.len ? a->text.len : b->text.len;
    int order = shorter == 0 ? 0 : memcmp(a->text.ptr, b->text.ptr, shorter);
    if (order != 0) {
        return order;
    }
    return a->text.len < b->text.len ? -1 : a->text.len > b->text.len;
}

static bool index_nodes(struct graph *g)
{
    g->keys = calloc(g->count == 0 ? 1 : 2 * g->count, sizeof(*g->keys));
    if (g->keys == NULL) {
        return oom(g->im);
    }
    for (size_t i = 0; i < g->count; i++) {
        const struct cw_span names[] = { cw_json_peek_text(g->nodes[i].resource, "id"), cw_json_peek_text(g->nodes[i].entry, "fullUrl") };
        for (size_t n = 0; n < CW_ARRAY_LEN(names); n++) {
            if (names[n].len > 0) {
                g->keys[g->key_count++] = (struct key){ names[n], i };
            }
        }
    }
    qsort(g->keys, g->key_count, sizeof(*g->keys), by_text);
    return true;
}

/* The node of that kind under exactly this text. */
static struct node *find_exact(const struct graph *g, struct cw_span text, bool organization)
{
    size_t low = 0;
    size_t high = g->key_count;
    const struct key wanted = { .text = text };
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_text(&g->keys[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < g->key_count && cw_span_eq(g->keys[low].text, text); low++) {
        struct node *node = &g->nodes[g->keys[low].node];
        if (node->organization == organization) {
            return node;
        }
    }
    return NULL;
}

static struct node *find(const struct graph *g, struct cw_span reference, bool organization)
{
    if (cw_span_starts(reference, CW_SPAN("#"))) {
        reference = cw_span_from(reference, 1);
    }
    if (reference.len == 0) {
        return NULL;
    }
    struct node *node = find_exact(g, reference, organization);
    size_t slash = reference.len;
    while (node == NULL && slash > 0 && reference.ptr[slash - 1] != '/') {
        slash--;
    }
    return node != NULL || slash == 0 ? node : find_exact(g, cw_span_from(reference, slash), organization);
}

/* --- an Organization's own words --- */

static bool url_ends(const json_t *extension, const char *suffix)
{
    return cw_span_ends(cw_json_peek_text(extension, "url"), cw_span_cstr(suffix));
}

/* The first text that a child extension of that name has, under any of the value[x] that are texts. */
static struct cw_span extension_text(const json_t *parent, const char *name)
{
    static const char *const values[] = { "valueString", "valueUrl", "valueUri", "valueCode", "valueMarkdown" };
    size_t index;
    const json_t *child;
    json_array_foreach(json_object_get(parent, "extension"), index, child)
    {
        if (!cw_span_eq_cstr(cw_json_peek_text(child, "url"), name)) {
            continue;
        }
        for (size_t i = 0; i < CW_ARRAY_LEN(values); i++) {
            struct cw_span text = cw_json_peek_text(child, values[i]);
            if (text.ptr != NULL) {
                return text;
            }
        }
    }
    return (struct cw_span){ NULL, 0 };
}

static struct cw_span brand_logo(const json_t *organization)
{
    size_t index;
    const json_t *extension;
    json_array_foreach(json_object_get(organization, "extension"), index, extension)
    {
        if (url_ends(extension, "/organization-brand")) {
            return extension_text(extension, "brandLogo");
        }
    }
    return (struct cw_span){ NULL, 0 };
}

static void add_line(struct cw_str *out, struct cw_span text)
{
    if (text.len > 0 && out->len + text.len + 1 <= out->max) {
        if (out->len > 0) {
            cw_str_add_char(out, '\n');
        }
        cw_str_add_span(out, text);
    }
}

/* Names that patients may know it by, and its other places: searched, not shown. */
static void collect_aliases(const struct graph *g, const json_t *organization, struct cw_str *out, struct cw_span *ret_parent)
{
    size_t index;
    const json_t *element;
    json_array_foreach(json_object_get(organization, "alias"), index, element)
    {
        if (json_is_string(element)) {
            add_line(out, cw_span_of(json_string_value(element), json_string_length(element)));
        }
    }
    const json_t *up = organization;
    for (int level = 0; level < PARENTS_MAX; level++) {
        const struct node *parent = find(g, cw_json_peek_text(json_object_get(up, "partOf"), "reference"), true);
        if (parent == NULL || parent->resource == organization) {
            break;
        }
        up = parent->resource;
        struct cw_span name = cw_json_peek_text(up, "name");
        *ret_parent = level == 0 ? name : *ret_parent;
        add_line(out, name);
    }
    json_array_foreach(json_object_get(organization, "address"), index, element)
    {
        if (index > 0) {
            add_line(out, cw_json_peek_text(element, "city"));
            add_line(out, cw_json_peek_text(element, "postalCode"));
        }
    }
}

static void describe(const json_t *organization, struct draft *draft)
{
    const json_t *address = json_array_get(json_object_get(organization, "address"), 0);
    const json_t *line = json_array_get(json_object_get(address, "line"), 0);
    draft->name = cw_json_peek_text(organization, "name");
    draft->line = json_is_string(line) ? cw_span_of(json_string_value(line), json_string_length(line)) : draft->line;
    draft->city = cw_json_peek_text(address, "city");
    draft->state = cw_json_peek_text(address, "state");
    draft->postal_code = cw_json_peek_text(address, "postalCode");
    draft->country = cw_json_peek_text(address, "country");
    draft->logo_url = brand_logo(organization);
}

/* --- an Endpoint's own words --- */

static struct cw_span fhir_version(const json_t *endpoint)
{
    struct cw_span found = { NULL, 0 };
    size_t index;
    const json_t *extension;
    json_array_foreach(json_object_get(endpoint, "extension"), index, extension)
    {
        if (url_ends(extension, "/endpoint-fhir-version")) {
            struct cw_span code = cw_json_peek_text(extension, "valueCode");
            found = found.ptr == NULL || cw_span_starts(code, CW_SPAN("4")) ? code : found;
        }
    }
    return found;
}

/* NULL, or why it cannot be connected to. Some vendors leave the connectionType out. */
static const char *judge_endpoint(const json_t *endpoint)
{
    static const char *const dead[] = { "off", "error", "entered-in-error" };
    struct cw_span status = cw_json_peek_text(endpoint, "status");
    for (size_t i = 0; i < CW_ARRAY_LEN(dead); i++) {
        if (cw_span_eq_cstr(status, dead[i])) {
            return CW_REJECT_INACTIVE;
        }
    }
    const json_t *type = json_object_get(endpoint, "connectionType");
    type = json_is_array(type) ? json_array_get(type, 0) : type;
    struct cw_span code = cw_json_peek_text(type, "code");
    return code.len == 0 || cw_span_starts(code, CW_SPAN("hl7-fhir-rest")) ? NULL : CW_REJECT_NOT_FHIR;
}

/* One row: this organization (NULL: the Endpoint's own name) at this endpoint, through this portal (NULL: none told). */
static bool add_row(struct graph *g, const json_t *organization, const struct node *endpoint, const json_t *portal)
{
    struct draft draft = { .position = endpoint->position, .url = cw_json_peek_text(endpoint->resource, "address") };
    describe(organization, &draft);
    if (draft.name.len == 0) {
        draft.name = cw_json_peek_text(endpoint->resource, "name");
    }
    const char *reason = judge_endpoint(endpoint->resource);
    if (reason != NULL) {
        return cw_importer_reject(g->im, draft.position, reason, draft.name, draft.url);
    }
    draft.fhir_version = fhir_version(endpoint->resource);
    draft.portal_name = extension_text(portal, "portalName");
    draft.portal_url = extension_text(portal, "portalUrl");
    struct cw_span portal_logo = extension_text(portal, "portalLogo");
    draft.logo_url = draft.logo_url.len > 0 ? draft.logo_url : portal_logo;
    struct cw_str aliases;
    cw_str_init(&aliases, ALIASES_TEXT_MAX);
    collect_aliases(g, organization, &aliases, &draft.brand);
    draft.aliases = cw_str_span(&aliases);
    bool good = cw_importer_add(g->im, &draft);
    cw_str_release(&aliases);
    return good;
}

/* --- from brands to endpoints --- */

struct links {
    struct node *endpoints[ENDPOINTS_MAX];
    const json_t *portals[ENDPOINTS_MAX];
    size_t count;
};

static void add_link(struct links *links, struct node *endpoint, const json_t *portal)
{
    for (size_t i = 0; i < links->count; i++) {
        if (links->endpoints[i] == endpoint) {
            return;
        }
    }
    if (endpoint != NULL && links->count < ENDPOINTS_MAX) {
        links->endpoints[links->count] = endpoint;
        links->portals[links->count++] = portal;
    }
}

static void collect_links(const struct graph *g, const json_t *organization, struct links *links)
{
    size_t index, inner;
    const json_t *extension, *element;
    const json_t *only_portal = NULL;
    json_array_foreach(json_object_get(organization, "extension"), index, extension)
    {
        if (!url_ends(extension, "/organization-portal")) {
            continue;
        }
        only_portal = extension;
        json_array_foreach(json_object_get(extension, "extension"), inner, element)
        {
            if (cw_span_eq_cstr(cw_json_peek_text(element, "url"), "portalEndpoint")) {
                add_link(links, find(g, cw_json_peek_text(json_object_get(element, "valueReference"), "reference"), false), extension);
            }
        }
    }
    json_array_foreach(json_object_get(organization, "endpoint"), index, element)
    {
        add_link(links, find(g, cw_json_peek_text(element, "reference"), false), only_portal);
    }
}

/* A part of a brand without endpoints of its own is reached through the brand's. */
static void inherit_links(const struct graph *g, const json_t *organization, struct links *links)
{
    for (int level = 0; links->count == 0 && level < PARENTS_MAX; level++) {
        const struct node *parent = find(g, cw_json_peek_text(json_object_get(organization, "partOf"), "reference"), true);
        if (parent == NULL) {
            return;
        }
        organization = parent->resource;
        collect_links(g, organization, links);
    }
}

static bool from_organization(struct graph *g, struct node *node)
{
    struct links links = { .count = 0 };
    collect_links(g, node->resource, &links);
    if (links.count == 0) {
        inherit_links(g, node->resource, &links);
    }
    for (size_t i = 0; i < links.count; i++) {
        if (!add_row(g, node->resource, links.endpoints[i], links.portals[i])) {
            return false;
        }
        links.endpoints[i]->used = true;
        node->used = true;
    }
    return true;
}

/* --- from endpoints to organizations --- */

static const json_t *contained_by_id(const json_t *endpoint, struct cw_span id)
{
    id = cw_span_starts(id, CW_SPAN("#")) ? cw_span_from(id, 1) : id;
    size_t index;
    const json_t *contained;
    json_array_foreach(json_object_get(endpoint, "contained"), index, contained)
    {
        if (id.len > 0 && cw_span_eq(cw_json_peek_text(contained, "id"), id)) {
            return contained;
        }
    }
    return NULL;
}

static bool from_endpoint(struct graph *g, struct node *node)
{
    const json_t *manager = json_object_get(node->resource, "managingOrganization");
    struct cw_span reference = cw_json_peek_text(manager, "reference");
    reference = reference.len > 0 ? reference : cw_json_peek_text(manager, "id");
    const json_t *organization = contained_by_id(node->resource, reference);
    if (organization == NULL) {
        struct node *found = find(g, reference, true);
        organization = found == NULL ? NULL : found->resource;
        if (found != NULL) {
            found->used = true;
        }
    }
    if (organization == NULL) { /* a reference to nowhere, but somebody is there */
        organization = json_array_get(json_object_get(node->resource, "contained"), 0);
    }
    return add_row(g, organization, node, NULL);
}

static bool make_rows(struct graph *g)
{
    struct cw_span none = { NULL, 0 };
    for (size_t i = 0; i < g->count; i++) {
        if (g->nodes[i].organization && !from_organization(g, &g->nodes[i])) {
            return false;
        }
    }
    g->im->catalog->format = g->im->catalog->count > 0 ? "smart_brands" : "endpoint_bundle";
    for (size_t i = 0; i < g->count; i++) {
        if (!g->nodes[i].organization && !g->nodes[i].used && !from_endpoint(g, &g->nodes[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < g->count; i++) {
        const struct node *node = &g->nodes[i];
        if (node->organization && !node->used &&
            !cw_importer_reject(g->im, node->position, CW_REJECT_NO_ENDPOINT, cw_json_peek_text(node->resource, "name"), none)) {
            return false;
        }
    }
    return true;
}

bool cw_importer_bundle(struct importer *im, struct cw_span entries)
{
    struct graph graph = { .im = im };
    bool good = read_nodes(&graph, entries) && index_nodes(&graph) && make_rows(&graph);
    for (size_t i = 0; i < graph.count; i++) {
        json_decref(graph.nodes[i].entry);
    }
    free(graph.nodes);
    free(graph.keys);
    return good;
}
