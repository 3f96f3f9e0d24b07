/* SPDX-License-Identifier: Apache-2.0 */
/* What was written: clinical notes inline and as Binary, a CDA-like XML summary, a PDF, and who wrote them (Provenance). */
#include "config.h"
#include "sandbox/gen_int.h"

#include <stdio.h>
#include <openssl/evp.h>

#include "base/text.h"
#include "base/time.h"

#define DOCUMENT_MAX (2u * 1024u * 1024u)

static const char *const sentences[] = {
    "Comes in for the planned check and feels well on the whole.", "Sleeps six hours a night and wakes up once.",
    "Walks to work again, about two kilometres each way.", "Reports a dull ache in the left knee after stairs.",
    "No chest pain, no shortness of breath, no dizziness.", "The cough has gone since the last visit.",
    "Lungs are clear on both sides; heart sounds are regular.", "Abdomen soft, no tenderness anywhere.",
    "Skin without findings; the small scar on the forearm is pale and flat.", "Takes the tablets every morning, forgot twice this month.",
    "Blood was drawn; results will be sent to the portal.", "We spoke about salt, and about a smaller evening meal.",
    "Vaccination is offered and accepted.", "Asks whether the dose can be lowered; we wait for the next values.",
    "Next visit in three months, sooner if the fever comes back.", "A letter to the employer was not needed.",
};

static void paragraph(struct gen *g, struct cw_str *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cw_str_add_cstr(out, sentences[gen_below(g, CW_ARRAY_LEN(sentences))]);
        cw_str_add_char(out, i % 4 == 3 ? '\n' : ' ');
    }
    cw_str_add_char(out, '\n');
}

static void write_text(struct gen *g, struct cw_str *out, unsigned paragraphs)
{
    char day[CW_TIME_TEXT];
    cw_time_emit(g->at_us, day);
    cw_str_addf(out, "PROGRESS NOTE %.10s\nSynthetic text about a person who does not exist.\n\n", day);
    for (unsigned i = 0; i < paragraphs; i++) {
        paragraph(g, out, 3 + gen_below(g, 8));
    }
}

/* Enough of a CDA for a reader to know it as one: namespace, header, patient, sections with tables. */
static void write_cda(struct gen *g, struct cw_str *out, unsigned sections)
{
    char value[24];
    cw_str_add_cstr(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\">\n"
                         "<typeId root=\"2.16.840.1.113883.1.3\" extension=\"POCD_HD000040\"/>\n"
                         "<code code=\"34133-9\" codeSystem=\"2.16.840.1.113883.6.1\" displayName=\"Summarization of Episode Note\"/>\n"
                         "<title>Synthetic summary</title>\n");
    cw_str_addf(out, "<recordTarget><patientRole><id extension=\"%s\"/><patient><name><given>%s</given><family>%s</family></name>"
                     "</patient></patientRole></recordTarget>\n<component><structuredBody>\n",
                g->patient, g->who->given, g->who->family);
    for (unsigned i = 0; i < sections; i++) {
        cw_str_addf(out, "<component><section><title>Visit %u</title><text><table><tbody>\n", i + 1);
        for (unsigned row = 0; row < 24; row++) {
            cw_str_addf(out, "<tr><td>Measurement %u</td><td>%s</td></tr>\n", row + 1, gen_decimal(g, 1, 300, 2, value));
        }
        cw_str_add_cstr(out, "</tbody></table><paragraph>");
        paragraph(g, out, 6);
        cw_str_add_cstr(out, "</paragraph></text></section></component>\n");
    }
    cw_str_add_cstr(out, "</structuredBody></component>\n</ClinicalDocument>\n");
}

/* One page of the PDF: its text as a content stream. */
static void pdf_content(struct gen *g, struct cw_str *out, unsigned page)
{
    cw_str_addf(out, "BT /F1 11 Tf 56 780 Td 14 TL (Synthetic report, page %u) Tj T* T*\n", page + 1);
    for (unsigned line = 0; line < 48; line++) {
        cw_str_addf(out, "(%s) Tj T*\n", sentences[gen_below(g, CW_ARRAY_LEN(sentences))]);
    }
    cw_str_add_cstr(out, "ET");
}

#define PDF_PAGES_MAX 48u

/* A valid PDF 1.4 without compression: catalog, page tree, one font, and a page and its content each, with a true xref table. */
static void write_pdf(struct gen *g, struct cw_str *out, unsigned pages)
{
    size_t at[3 + 2 * PDF_PAGES_MAX];
    unsigned objects = 0;
    CW_AUTO_STR content;
    cw_str_init(&content, DOCUMENT_MAX);
    cw_str_add_cstr(out, "%PDF-1.4\n");
    at[objects++] = out->len;
    cw_str_add_cstr(out, "1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n");
    at[objects++] = out->len;
    cw_str_add_cstr(out, "2 0 obj\n<< /Type /Pages /Kids [");
    for (unsigned i = 0; i < pages; i++) {
        cw_str_addf(out, "%u 0 R ", 4 + 2 * i);
    }
    cw_str_addf(out, "] /Count %u >>\nendobj\n", pages);
    at[objects++] = out->len;
    cw_str_add_cstr(out, "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n");
    for (unsigned i = 0; i < pages; i++) {
        cw_str_clear(&content);
        pdf_content(g, &content, i);
        at[objects++] = out->len;
        cw_str_addf(out, "%u 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %u 0 R "
                         "/Resources << /Font << /F1 3 0 R >> >> >>\nendobj\n", 4 + 2 * i, 5 + 2 * i);
        at[objects++] = out->len;
        cw_str_addf(out, "%u 0 obj\n<< /Length %zu >>\nstream\n", 5 + 2 * i, content.len);
        cw_str_add_span(out, cw_str_span(&content));
        cw_str_add_cstr(out, "\nendstream\nendobj\n");
    }
    size_t xref = out->len;
    cw_str_addf(out, "xref\n0 %u\n0000000000 65535 f \n", objects + 1);
    for (unsigned i = 0; i < objects; i++) {
        cw_str_addf(out, "%010zu 00000 n \n", at[i]);
    }
    cw_str_addf(out, "trailer\n<< /Size %u /Root 1 0 R >>\nstartxref\n%zu\n%%%%EOF\n", objects + 1, xref);
}

/* --- FHIR around it --- */

struct attachment {
    const char *content_type;
    const char *category, *code, *title;
    bool inline_data;
};

static void add_base64(struct gen *g, struct cw_span bytes)
{
    cw_base64_encode(bytes, &g->out);
}

static void sha1_base64(struct cw_span bytes, struct cw_str *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(bytes.ptr, bytes.len, digest, &len, EVP_sha1(), NULL) == 1) {
        cw_base64_encode(cw_span_of(digest, len), out);
    }
}

static void provenance(struct gen *g, const char *document)
{
    gen_begin(g, "Provenance", "us-core-provenance");
    gen_put(g,
            ",'target':[{'reference':'DocumentReference/@1'}],'recorded':'@z','agent':[{'type':{'coding':[{'system':"
            "'http://terminology.hl7.org/CodeSystem/provenance-participant-type','code':'author'}]},'who':@r,'onBehalfOf':@o}]",
            GEN_ARGS(document));
    gen_end(g);
}

static void document(struct gen *g, const struct attachment *a, struct cw_span content)
{
    char binary[CW_SBX_ID_TEXT_MAX] = "", size[24];
    CW_AUTO_STR hash;
    cw_str_init(&hash, 64);
    sha1_base64(content, &hash);
    snprintf(size, sizeof(size), "%zu", content.len);
    if (!a->inline_data) {
        gen_begin(g, "Binary", NULL);
        snprintf(binary, sizeof(binary), "%s", g->id);
        gen_put(g, ",'contentType':'@1','securityContext':@p,'data':'", GEN_ARGS(a->content_type));
        add_base64(g, content);
        cw_str_add_char(&g->out, '"');
        gen_end(g);
    }
    gen_begin(g, "DocumentReference", "us-core-documentreference");
    gen_put(g,
            ",'status':'current','type':{'coding':[{'system':'http://loinc.org','code':'@1'}],'text':'@2'},'category':[{'coding':"
            "[{'system':'http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category','code':'@3'}]}],'subject':@p,"
            "'date':'@z','author':[@r],'custodian':@o,'content':[{'attachment':{'contentType':'@4','language':'en','title':'@2',"
            "'size':@5,'hash':'@6','creation':'@t'",
            GEN_ARGS(a->code, a->title, a->category, a->content_type, size, cw_str_cstr(&hash)));
    if (a->inline_data) {
        gen_put(g, ",'data':'", NULL);
        add_base64(g, content);
        cw_str_add_char(&g->out, '"');
    } else {
        gen_put(g, ",'url':'Binary/@1'", GEN_ARGS(binary));
    }
    gen_put(g, "}}],'context':{'encounter':[@e],'period':{'start':'@t','end':'@t'}}", NULL);
    gen_end(g);
    char id[CW_SBX_ID_TEXT_MAX];
    snprintf(id, sizeof(id), "%s", g->id);
    provenance(g, id);
}

static void write_and_file(struct gen *g, const struct attachment *a, void (*write)(struct gen *, struct cw_str *, unsigned),
                           unsigned size)
{
    CW_AUTO_STR content;
    cw_str_init(&content, DOCUMENT_MAX);
    write(g, &content, size);
    if (cw_str_code(&content) != CW_OK) {
        g->rc = g->rc != CW_OK ? g->rc : cw_err_set(g->err, content.code, "sandbox.gen", "a document could not be written");
        return;
    }
    document(g, a, cw_str_span(&content));
}

void gen_note(struct gen *g)
{
    static const struct attachment in_line = { "text/plain", "clinical-note", "11506-3", "Progress note", true };
    static const struct attachment apart = { "text/plain; charset=utf-8", "clinical-note", "11506-3", "Progress note", false };
    if (!gen_chance(g, 2, 3)) {
        return;
    }
    write_and_file(g, g->visit % 3 == 0 ? &in_line : &apart, write_text, 2 + gen_below(g, 5));
}

void gen_big_documents(struct gen *g)
{
    static const struct attachment cda = { "application/xml", "clinical-note", "34133-9", "Summary of care", false };
    static const struct attachment pdf = { "application/pdf", "clinical-note", "18842-5", "Discharge summary", false };
    static const struct attachment text = { "text/plain", "clinical-note", "34117-2", "History and physical", true };
    write_and_file(g, &cda, write_cda, 72);
    write_and_file(g, &pdf, write_pdf, 40);
    write_and_file(g, &text, write_text, 90);
}
