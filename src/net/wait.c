/* SPDX-License-Identifier: Apache-2.0 */
/* See wait.h. */
#include "config.h"

#include "net/wait.h"

#include "base/time.h"

#define SKIPPED_MAX 24u /* between the words and their number: " in another ", " at least ", ": " */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static long bounded(uint64_t seconds)
{
    return seconds > (uint64_t)CW_WAIT_MAX_S ? CW_WAIT_MAX_S : (long)seconds;
}

/* Whether text has `word` (lower case) at `at`, in whatever case. */
static bool has_at(struct cw_span text, size_t at, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < len; i++) {
        if (at + i >= text.len || lower(text.ptr[at + i]) != word[i]) {
            return false;
        }
    }
    return true;
}

/* The digits at the head, cut off; false when there are none. */
static bool cut_number(struct cw_span *text, uint64_t *ret)
{
    size_t len = 0;
    while (len < text->len && is_digit(text->ptr[len])) {
        len++;
    }
    if (len == 0) {
        return false;
    }
    if (!cw_span_u64(cw_span_upto(*text, len), UINT64_MAX, ret)) {
        *ret = (uint64_t)CW_WAIT_MAX_S; /* more than any number: or with zeros in front, which nobody writes */
    }
    *text = cw_span_from(*text, len);
    return true;
}

/* "53 seconds", "2min", "1 hour"; a bare number counts seconds. Another unit is none that we know: -1. */
static long read_span(struct cw_span text)
{
    static const struct {
        const char *head;
        uint64_t seconds;
    } units[] = { { "millisecond", 0 }, { "ms", 0 }, { "s", 1 }, { "m", 60 }, { "h", 3600 } };
    uint64_t number = 0;
    if (!cut_number(&text, &number)) {
        return -1;
    }
    bool fraction = text.len > 1 && text.ptr[0] == '.' && is_digit(text.ptr[1]);
    uint64_t ignored;
    if (fraction) {
        text = cw_span_from(text, 1);
        (void)cut_number(&text, &ignored);
    }
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '-')) {
        text = cw_span_from(text, 1);
    }
    if (text.len == 0 || !is_letter(text.ptr[0])) {
        return bounded(number + fraction);
    }
    number = number > (uint64_t)CW_WAIT_MAX_S ? (uint64_t)CW_WAIT_MAX_S : number;
    for (size_t i = 0; i < CW_ARRAY_LEN(units); i++) {
        if (has_at(text, 0, units[i].head)) {
            return units[i].seconds == 0 ? bounded(number / 1000 + 1) : bounded((number + fraction) * units[i].seconds);
        }
    }
    return -1;
}

/* What follows such words: a number soon, with no sentence ending before it. */
static long read_after(struct cw_span text)
{
    for (size_t i = 0; i < text.len && i <= SKIPPED_MAX; i++) {
        char c = text.ptr[i];
        if (is_digit(c)) {
            return read_span(cw_span_from(text, i));
        }
        if (c == '.' || c == '<' || c == '{' || c == '\n') {
            return -1;
        }
    }
    return -1;
}

long cw_wait_of_words(struct cw_span text)
{
    static const char *const words[] = { "again in", "again after", "retry in", "retry after", "retry-after", "retryafter",
                                         "please wait", "wait for", "resets in", "reset in", "replenished in" };
    text = cw_span_upto(text, CW_WAIT_TEXT_MAX);
    for (size_t at = 0; at < text.len; at++) {
        for (size_t w = 0; w < CW_ARRAY_LEN(words); w++) {
            long seconds = has_at(text, at, words[w]) ? read_after(cw_span_from(text, at + strlen(words[w]))) : -1;
            if (seconds >= 0) {
                return seconds;
            }
        }
    }
    return -1;
}

long cw_wait_of_reset(struct cw_span value, int64_t now_us)
{
    static const char *const names[] = { "reset=", ";t=", "; t=" }; /* RateLimit of the older and the newer draft */
    value = cw_span_upto(cw_span_trim(value), 512);
    for (size_t n = 0; n < CW_ARRAY_LEN(names); n++) {
        size_t at = cw_span_find_span(value, cw_span_cstr(names[n]));
        value = at < value.len ? cw_span_from(value, at + strlen(names[n])) : value;
    }
    uint64_t number = 0;
    if (!cut_number(&value, &number) || (value.len > 0 && (is_letter(value.ptr[0]) || value.ptr[0] == '-'))) {
        return -1;
    }
    if (number <= (uint64_t)CW_WAIT_MAX_S) {
        return (long)number;
    }
    uint64_t now_s = now_us < 0 ? 0 : (uint64_t)(now_us / CW_SECOND_US);
    number = number > now_s * 100 ? number / 1000 : number; /* milliseconds */
    return number <= now_s ? 0 : bounded(number - now_s);
}

long cw_http_wait_s(const struct cw_http_response *response, int64_t now_us)
{
    static const char *const names[] = { "RateLimit-Reset", "X-RateLimit-Reset", "X-Rate-Limit-Reset", "RateLimit" };
    bool busy = response->status == 429 || response->status == 503; /* many gateways send the others with every answer */
    long wait_s = response->retry_after_s;
    for (size_t i = 0; busy && i < CW_ARRAY_LEN(names) && wait_s < 0; i++) {
        struct cw_span value = cw_http_header_get(response, names[i]);
        wait_s = value.ptr == NULL ? -1 : cw_wait_of_reset(value, now_us);
    }
    return wait_s >= 0 ? wait_s : cw_wait_of_words(cw_str_span(&response->body));
}
