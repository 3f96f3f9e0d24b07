/* SPDX-License-Identifier: Apache-2.0 */
/* The cache keeps texts, not trees: each reader parses its own, so no tree is shared between threads. No lock is held over a request. */
#include "config.h"

#include "smart/jwks.h"

#include <pthread.h>

#include "base/limits.h"
#include "base/time.h"
#include "os/sys.h"

#define FETCH_MS 10000 /* a browser waits, and the exchange may have taken its time already */
#define GOOD_MIN_S 300
#define GOOD_MAX_S 86400
#define GOOD_DEFAULT_S 3600
#define UNKNOWN_KEY_US (5 * CW_MINUTE_US)
#define FAILED_US CW_MINUTE_US

struct place {
    char *uri;
    char *text;              /* NULL: none at hand */
    size_t text_len;
    int64_t fetched_us, good_until_us;
    int64_t tried_us;        /* the last request, whatever came of it */
    int64_t used_us;
};

struct cw_jwks_cache {
    pthread_mutex_t lock;
    int64_t (*now)(void);
    size_t count;
    struct place places[CW_JWKS_CACHED_MAX];
};

static void place_clear(struct place *place)
{
    free(place->uri);
    free(place->text);
    *place = (struct place){ .uri = NULL };
}

void cw_jwks_cache_free(struct cw_jwks_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < cache->count; i++) {
        place_clear(&cache->places[i]);
    }
    (void)pthread_mutex_destroy(&cache->lock);
    free(cache);
}

struct cw_jwks_cache *cw_jwks_cache_new(int64_t (*now)(void))
{
    struct cw_jwks_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return NULL;
    }
    cache->now = now == NULL ? cw_monotonic_us : now;
    if (pthread_mutex_init(&cache->lock, NULL) != 0) {
        free(cache);
        return NULL;
    }
    return cache;
}

int64_t cw_jwks_good_for_s(struct cw_span cache_control)
{
    int64_t seconds = GOOD_DEFAULT_S;
    struct cw_span directive;
    bool more = cache_control.len > 0;
    while (more) {
        more = cw_span_cut(&cache_control, ',', &directive);
        struct cw_span value = directive;
        struct cw_span name;
        uint64_t told = 0;
        bool valued = cw_span_cut(&value, '=', &name);
        name = cw_span_trim(name);
        if (cw_span_eq_nocase(name, CW_SPAN("no-store")) || cw_span_eq_nocase(name, CW_SPAN("no-cache"))) {
            return GOOD_MIN_S;
        }
        if (valued && cw_span_eq_nocase(name, CW_SPAN("max-age")) && cw_span_u64(cw_span_trim(value), INT32_MAX, &told)) {
            seconds = (int64_t)told;
        }
    }
    return seconds < GOOD_MIN_S ? GOOD_MIN_S : seconds > GOOD_MAX_S ? GOOD_MAX_S : seconds;
}

/* ---- with the lock held */

static struct place *find(struct cw_jwks_cache *cache, const char *uri)
{
    for (size_t i = 0; i < cache->count; i++) {
        if (strcmp(cache->places[i].uri, uri) == 0) {
            return &cache->places[i];
        }
    }
    return NULL;
}

/* A place for this URI, in the room of the one used longest ago where all are taken. NULL: out of memory. */
static struct place *find_or_add(struct cw_jwks_cache *cache, const char *uri)
{
    struct place *place = find(cache, uri);
    if (place != NULL) {
        return place;
    }
    char *copy = strdup(uri);
    if (copy == NULL) {
        return NULL;
    }
    if (cache->count < CW_JWKS_CACHED_MAX) {
        place = &cache->places[cache->count++];
    } else {
        place = &cache->places[0];
        for (size_t i = 1; i < cache->count; i++) {
            place = cache->places[i].used_us < place->used_us ? &cache->places[i] : place;
        }
        place_clear(place);
    }
    *place = (struct place){ .uri = copy, .tried_us = INT64_MIN / 2 };
    return place;
}

/* A set of the last 24 hours is better than none while its server is away. */
static bool has_text(const struct place *place, int64_t now_us)
{
    return place->text != NULL && now_us - place->fetched_us < GOOD_MAX_S * CW_SECOND_US;
}

enum step { STEP_FETCH, STEP_USE, STEP_REFUSE };

/* What to do for a wish; marks the try, so that of several threads one asks. */
static enum step next_step(struct place *place, enum cw_jwks_wish wish, int64_t now_us)
{
    place->used_us = now_us;
    if (wish == CW_JWKS_ANY && has_text(place, now_us) && now_us < place->good_until_us) {
        return STEP_USE;
    }
    int64_t pause_us = wish == CW_JWKS_NEWER && place->text != NULL ? UNKNOWN_KEY_US : FAILED_US;
    if (now_us - place->tried_us < pause_us) {
        return wish == CW_JWKS_ANY && has_text(place, now_us) ? STEP_USE : STEP_REFUSE;
    }
    place->tried_us = now_us;
    return STEP_FETCH;
}

/* ---- fetching */

static enum cw_code parse(struct cw_span text, json_t **ret_jwks, struct cw_err *err)
{
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = CW_JSON_DEPTH_MAX };
    enum cw_code rc = cw_json_parse(text, limits, &root, err);
    if (rc == CW_E_OOM) {
        return rc;
    }
    if (rc != CW_OK || !json_is_array(json_object_get(root, "keys"))) {
        return cw_err_set(err, CW_E_UPSTREAM, "jwks", "the answer is no JWK Set");
    }
    *ret_jwks = root;
    root = NULL;
    return CW_OK;
}

static void keep(struct cw_jwks_cache *cache, const char *uri, const struct cw_http_response *response)
{
    int64_t good_us = cw_jwks_good_for_s(cw_http_header_get(response, "Cache-Control")) * CW_SECOND_US;
    char *text = cw_span_dup(cw_str_span(&response->body));
    (void)pthread_mutex_lock(&cache->lock);
    struct place *place = text == NULL ? NULL : find_or_add(cache, uri);
    if (place != NULL) {
        free(place->text);
        place->text = text;
        place->text_len = response->body.len;
        place->fetched_us = cache->now();
        place->good_until_us = place->fetched_us + good_us;
        place->used_us = place->tried_us = place->fetched_us;
        text = NULL;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    free(text);
}

static enum cw_code fetch(struct cw_jwks_cache *cache, struct cw_http *http, const char *uri, json_t **ret_jwks,
                          struct cw_err *err)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = { .url = uri, .body_max = CW_JWKS_MAX, .redirects = CW_REDIRECTS_MAX, .total_ms = FETCH_MS };
    enum cw_code rc = cw_http_perform(http, &request, &response, err);
    if (rc == CW_OK && response.status != 200) {
        rc = cw_err_sys(err, CW_E_UPSTREAM, (int)response.status, "jwks", "answered with status %ld", response.status);
    }
    if (rc == CW_OK) {
        rc = parse(cw_str_span(&response.body), ret_jwks, err);
    }
    if (rc == CW_OK) {
        keep(cache, uri, &response);
    }
    cw_http_response_release(&response);
    return rc;
}

enum cw_code cw_jwks_get(struct cw_jwks_cache *cache, struct cw_http *http, const char *uri, enum cw_jwks_wish wish,
                         json_t **ret_jwks, struct cw_err *err)
{
    CW_AUTO_STR copy;
    cw_str_init(&copy, CW_JWKS_MAX);
    (void)pthread_mutex_lock(&cache->lock);
    int64_t now_us = cache->now();
    struct place *place = find_or_add(cache, uri);
    enum step step = place == NULL ? STEP_FETCH : next_step(place, wish, now_us);
    if (place != NULL && has_text(place, now_us)) {
        (void)cw_str_add(&copy, place->text, place->text_len);
    }
    (void)pthread_mutex_unlock(&cache->lock);
    if (step == STEP_REFUSE) {
        return cw_err_set(err, CW_E_LIMITED, "jwks", "asked for too lately");
    }
    if (step == STEP_USE) {
        return cw_str_code(&copy) != CW_OK ? cw_str_code(&copy) : parse(cw_str_span(&copy), ret_jwks, err);
    }
    enum cw_code rc = fetch(cache, http, uri, ret_jwks, err);
    bool stale_is_good = wish == CW_JWKS_ANY && copy.len > 0;
    return rc != CW_OK && rc != CW_E_OOM && stale_is_good ? parse(cw_str_span(&copy), ret_jwks, err) : rc;
}
