/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bases of the big vendors look like. Hospitals run Epic under their own names, so its path tells; others host themselves, so their
 * host tells.
 */
#include "config.h"

#include "catalog/import.h"

static const struct {
    const char *host_suffix; /* "" for any */
    const char *path_part;   /* "" for any; ASCII case is ignored */
    const char *vendor;
} shapes[] = {
    { ".cerner.com", "", "cerner" },
    { ".platform.athenahealth.com", "", "athena" },
    { ".fhirapi.athenahealth.com", "", "athena-practice" },
    { ".eclinicalworks.com", "", "ecw" },
    { ".healow.com", "", "ecw" },
    { ".meditech.com", "", "meditech" },
    { ".meditech.cloud", "", "meditech" },
    { "", "/v2/uscore/r4", "meditech" },
    { ".nextgen.com", "", "nextgen" },
    { ".allscripts.com", "", "veradigm" },
    { ".veradigm.com", "", "veradigm" },
    { ".allscriptscloud.com", "", "veradigm" },
    { ".bluebutton.cms.gov", "", "bluebutton" },
    { ".epic.com", "", "epic" },
    { ".epichosted.com", "", "epic" },
    { "", "/api/fhir/r4", "epic" },
};

static struct cw_span host_of(struct cw_span base, struct cw_span *ret_path)
{
    size_t scheme = cw_span_find_span(base, CW_SPAN("://"));
    struct cw_span rest = scheme == base.len ? base : cw_span_from(base, scheme + 3);
    size_t slash = cw_span_find(rest, '/');
    *ret_path = cw_span_from(rest, slash);
    struct cw_span host = cw_span_upto(rest, slash);
    return cw_span_upto(host, cw_span_find(host, ':'));
}

static bool holds_nocase(struct cw_span text, struct cw_span part)
{
    for (size_t i = 0; i + part.len <= text.len; i++) {
        if (cw_span_eq_nocase(cw_span_upto(cw_span_from(text, i), part.len), part)) {
            return true;
        }
    }
    return false;
}

struct cw_span cw_catalog_guess_vendor(struct cw_span normal_base)
{
    struct cw_span path;
    struct cw_span host = host_of(normal_base, &path);
    for (size_t i = 0; i < CW_ARRAY_LEN(shapes); i++) {
        struct cw_span suffix = cw_span_cstr(shapes[i].host_suffix);
        bool host_fits = suffix.len == 0 || cw_span_ends(host, suffix) || cw_span_eq(host, cw_span_from(suffix, 1));
        if (host_fits && holds_nocase(path, cw_span_cstr(shapes[i].path_part))) {
            return cw_span_cstr(shapes[i].vendor);
        }
    }
    return (struct cw_span){ NULL, 0 };
}
