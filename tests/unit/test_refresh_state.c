/* SPDX-License-Identifier: Apache-2.0 */
/* The refresh as the database sees it: who may begin, what commits, what each failure leaves, when something is due or told. */
#include "config.h"

#include "tests/unit/test_refresh.h"

#include <pthread.h>
#include <stdio.h>

#include "model/breaker.h"
#include "model/keep_alive.h"

#define m (&refresh_model)

static struct cw_err err;

static struct cw_refreshed tokens_of(const char *access, const char *refresh)
{
    int64_t now_us = cw_now_us();
    return (struct cw_refreshed){ .access_token = cw_span_cstr(access), .refresh_token = cw_span_cstr(refresh),
                                  .rotated = refresh != NULL, .obtained_us = now_us, .expires_us = now_us + CW_HOUR_US };
}

static void expect_tokens(uint32_t version, const char *access, const char *refresh)
{
    struct cw_grant grant = { 0 };
    refresh_must(cw_grant_get(m, refresh_connection, &grant, &err), &err);
    ck_assert_uint_eq(grant.version, version);
    ck_assert(cw_span_eq_cstr(cw_secret_span(&grant.access), access));
    ck_assert(cw_span_eq_cstr(cw_secret_span(&grant.refresh), refresh));
    cw_grant_release(&grant);
}

static void abandon(const struct cw_refresh_lease *lease, struct cw_refresh_fault fault)
{
    refresh_must(cw_refresh_abandon(m, lease, &fault, &err), &err);
}

START_TEST(one_refresher_wins)
{
    struct cw_refresh_lease lease, second;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("node/1", 1, &lease), CW_OK);
    ck_assert_int_eq(refresh_begin("other/1", 1, &second), CW_E_CONFLICT);
    ck_assert_int_eq(refresh_begin("node/1", 1, &second), CW_E_CONFLICT); /* another thread of this very process */
    struct cw_refreshed tokens = tokens_of("access-2", "refresh-2");
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err); /* the answer of the first commit was lost */
    ck_assert_int_eq(refresh_begin("other/1", 1, &second), CW_E_STATE);
    expect_tokens(2, "access-2", "refresh-2");
    ck_assert_int_eq(refresh_number("g.rotates"), 1);

    /* No refresh token in the answer: the old one stays (RFC 6749 section 6). */
    ck_assert_int_eq(refresh_begin("node/1", 2, &lease), CW_OK);
    tokens = tokens_of("access-3", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    expect_tokens(3, "access-3", "refresh-2");
    ck_assert_int_eq(refresh_number("g.rotates"), 0);
}
END_TEST

struct racer {
    struct cw_refresh_lease lease;
    enum cw_code rc;
    char owner[16];
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct cw_err ignored = { 0 };
    struct cw_grant grant = { 0 };
    struct cw_refresh_ask ask = { .owner = racer->owner, .connection = refresh_connection, .seen_version = 1 };
    racer->rc = cw_refresh_begin(m, &ask, &racer->lease, &grant, &ignored);
    cw_grant_release(&grant);
    return NULL;
}

START_TEST(of_six_that_begin_at_once_one_may)
{
    struct racer racers[6];
    pthread_t threads[6];
    unsigned won = 0;
    refresh_connect((struct refresh_start){ 0 });
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(racers[i].owner, sizeof racers[i].owner, "node-%u/%u", i / 2, i % 2);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(racers[i].rc == CW_OK || racers[i].rc == CW_E_CONFLICT);
        won += racers[i].rc == CW_OK;
    }
    ck_assert_uint_eq(won, 1);
    ck_assert_int_eq(refresh_number("g.fence"), 1);
}
END_TEST

START_TEST(what_a_dead_process_left_is_asked_again_after_a_pause)
{
    struct cw_refresh_lease lease, again;
    unsigned count = 0;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a.x.1/first", 1, &lease), CW_OK);
    refresh_must(cw_refresh_take_back(m, "b.x.1/now", &count, &err), &err);
    ck_assert_uint_eq(count, 0); /* another machine of the same name has another family */
    refresh_must(cw_refresh_take_back(m, "a.x.1/first", &count, &err), &err);
    ck_assert_uint_eq(count, 0); /* its own */
    refresh_must(cw_refresh_take_back(m, "a.x.1/second", &count, &err), &err);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(refresh_begin("a.x.1/second", 1, &again), CW_E_LIMITED);
    int64_t pause_us = again.wait_until_us - cw_now_us();
    ck_assert(pause_us > CW_SECOND_US && pause_us <= 5 * CW_SECOND_US);
    ck_assert_int_le(refresh_number("TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), g.refresh_due_at)"), 5); /* without a pull too */
    cw_clock_shift_us(6 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("a.x.1/second", 1, &again), CW_OK);
    ck_assert_int_eq(refresh_number("g.refresh_tries"), 2);

    /* Nobody of its family ever comes back: the lease runs out, and then there is the same pause. */
    cw_clock_shift_us(80 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("other/1", 1, &lease), CW_E_LIMITED);
    cw_clock_shift_us(90 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("other/1", 1, &lease), CW_OK);
}
END_TEST

START_TEST(new_tokens_go_in_after_the_lease_ran_out)
{
    struct cw_refresh_lease first, second;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &first), CW_OK);
    cw_clock_shift_us(100 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("b/1", 1, &second), CW_E_LIMITED);
    cw_clock_shift_us(110 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("b/1", 1, &second), CW_OK);

    struct cw_refreshed early = tokens_of("access-a", "refresh-a"), late = tokens_of("access-b", "refresh-b");
    refresh_must(cw_refresh_commit(m, &first, &early, &err), &err);
    expect_tokens(2, "access-a", "refresh-a");
    /* The answer to the younger request overtakes it: what the server said last counts. */
    refresh_must(cw_refresh_commit(m, &second, &late, &err), &err);
    expect_tokens(3, "access-b", "refresh-b");
    ck_assert_int_eq(cw_refresh_commit(m, &first, &early, &err), CW_E_CONFLICT);
    bool ended = true;
    ck_assert_int_eq(cw_refresh_refused(m, &refresh_actor, &first, &ended, &err), CW_E_CONFLICT);
    struct cw_refresh_fault fault = { .maybe_lost = true };
    ck_assert_int_eq(cw_refresh_abandon(m, &second, &fault, &err), CW_E_CONFLICT);
    expect_tokens(3, "access-b", "refresh-b");
}
END_TEST

START_TEST(failures_wait_longer_and_longer)
{
    static const int64_t ladder[] = { 1, 5, 15, 60, 60 };
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    int64_t shift_us = 0;
    for (size_t i = 0; i < CW_ARRAY_LEN(ladder); i++) {
        ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
        abandon(&lease, (struct cw_refresh_fault){ 0 });
        ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
        int64_t wait_us = lease.wait_until_us - cw_now_us(), step_us = ladder[i] * CW_MINUTE_US;
        ck_assert_msg(wait_us > step_us * 7 / 10 && wait_us <= step_us * 12 / 10, "step %zu: %lld", i, (long long)wait_us);
        shift_us += wait_us + CW_SECOND_US;
        cw_clock_shift_us(shift_us);
    }
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    abandon(&lease, (struct cw_refresh_fault){ .retry_us = cw_now_us() + 5 * CW_HOUR_US });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
    ck_assert_int_gt(lease.wait_until_us - cw_now_us(), 5 * CW_HOUR_US - CW_MINUTE_US); /* Retry-After */
    ck_assert_int_eq(refresh_number("g.refresh_tries"), 0);
    ck_assert_int_eq(refresh_number("g.refresh_started_at IS NULL"), 1);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
}
END_TEST

START_TEST(a_day_of_failures_is_told_once_and_its_end_too)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    for (int hour = 0; hour <= 50; hour += 2) {
        cw_clock_shift_us(hour * CW_HOUR_US);
        ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
        abandon(&lease, (struct cw_refresh_fault){ 0 });
        ck_assert_int_eq(refresh_events(CW_EVENT_REFRESH_DELAYED), hour >= 24);
    }
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
    ck_assert_int_eq(refresh_events(CW_EVENT_TOKEN_REFRESH_FAILED), 0); /* the contract's event means: tokens cleared */
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_RECOVERED), 0);
    cw_clock_shift_us(60 * CW_HOUR_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_RECOVERED), 1);
    ck_assert_int_eq(refresh_begin("a/1", 2, &lease), CW_OK);
    tokens = tokens_of("access-3", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_RECOVERED), 1);
}
END_TEST

static bool refused(const struct cw_refresh_lease *lease)
{
    bool ended = false;
    refresh_must(cw_refresh_refused(m, &refresh_actor, lease, &ended, &err), &err);
    return ended;
}

START_TEST(a_token_that_stays_is_refused_twice)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    ck_assert(!refused(&lease));
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
    cw_clock_shift_us(9 * CW_MINUTE_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
    cw_clock_shift_us(11 * CW_MINUTE_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    ck_assert(refused(&lease));
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_REFRESH_FAILED);
    ck_assert_int_eq(refresh_number("c.failure_code = 'refresh_refused'"), 1);
    ck_assert_int_eq(refresh_number("g.version"), -1); /* tokens destroyed */
    ck_assert_int_eq(refresh_events(CW_EVENT_TOKEN_REFRESH_FAILED), 1);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(a_success_between_two_refusals_forgets_the_first)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    ck_assert(!refused(&lease));
    cw_clock_shift_us(11 * CW_MINUTE_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    ck_assert_int_eq(refresh_begin("a/1", 2, &lease), CW_OK);
    ck_assert(!refused(&lease));
}
END_TEST

START_TEST(a_token_that_rotates_is_refused_once)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", "refresh-2");
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    ck_assert_int_eq(refresh_begin("a/1", 2, &lease), CW_OK);
    ck_assert(refused(&lease));
    ck_assert_int_eq(refresh_number("c.failure_code = 'refresh_refused'"), 1);
}
END_TEST

START_TEST(refused_after_a_lost_answer_the_rotation_was_lost)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    abandon(&lease, (struct cw_refresh_fault){ .maybe_lost = true });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
    int64_t pause_us = lease.wait_until_us - cw_now_us();
    ck_assert(pause_us > CW_SECOND_US && pause_us <= 5 * CW_SECOND_US);
    cw_clock_shift_us(6 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    ck_assert(refused(&lease));
    ck_assert_int_eq(refresh_number("c.failure_code = 'lost_rotation'"), 1);
}
END_TEST

START_TEST(a_second_lost_answer_waits_like_a_failure)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    abandon(&lease, (struct cw_refresh_fault){ .maybe_lost = true });
    cw_clock_shift_us(6 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    abandon(&lease, (struct cw_refresh_fault){ .maybe_lost = true });
    cw_clock_shift_us(20 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_LIMITED);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
}
END_TEST

START_TEST(no_refresh_for_our_kind_makes_it_one_time)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    refresh_must(cw_refresh_not_offered(m, &refresh_actor, &lease, &err), &err);
    ck_assert_int_eq(refresh_number("c.one_time"), 1);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
    ck_assert_int_eq(refresh_number("g.refresh_sealed IS NULL AND g.refresh_due_at IS NULL"), 1);
    ck_assert_int_eq(refresh_number("g.ends_at = g.expires_at"), 1);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- the breaker */

START_TEST(a_rejected_client_stops_all_but_one_probe)
{
    struct cw_refresh_lease lease;
    bool edge = false;
    refresh_connect((struct refresh_start){ 0 });
    refresh_must(cw_breaker_open(m, refresh_registration, false, &edge, &err), &err);
    ck_assert(edge);
    refresh_must(cw_breaker_open(m, refresh_registration, false, &edge, &err), &err);
    ck_assert(!edge); /* one that was under way */
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_CONFIG);
    ck_assert_int_gt(lease.wait_until_us, cw_now_us());
    ck_assert_int_eq(refresh_number("g.fence"), 0); /* no intent, no lease */

    cw_clock_shift_us(90 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    ck_assert(lease.probe);
    abandon(&lease, (struct cw_refresh_fault){ .ours = true });
    refresh_must(cw_breaker_open(m, refresh_registration, true, &edge, &err), &err);
    ck_assert(!edge);
    ck_assert_int_eq(refresh_number("g.failures"), 0); /* no fault of the grant's */
    ck_assert_int_eq(cw_test_db_number(&refresh_test, "SELECT rejections FROM registration_breaker"), 2);
    cw_clock_shift_us(4 * CW_MINUTE_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_E_CONFIG); /* the second pause is five minutes */

    cw_clock_shift_us(9 * CW_MINUTE_US);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    refresh_must(cw_breaker_close(m, refresh_registration, &edge, &err), &err);
    ck_assert(edge);
    refresh_must(cw_breaker_close(m, refresh_registration, &edge, &err), &err);
    ck_assert(!edge);
    struct cw_refreshed tokens = tokens_of("access-2", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    ck_assert_int_eq(refresh_begin("a/1", 2, &lease), CW_OK);
    ck_assert(!lease.probe);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- by the clock */

static unsigned claim(struct cw_due *due)
{
    unsigned count = 0;
    refresh_must(cw_due_claim(m, CW_MINUTE_US, CW_DUE_MAX, due, &count, &err), &err);
    return count;
}

START_TEST(due_grants_are_claimed_once)
{
    struct cw_due due[CW_DUE_MAX];
    refresh_connect((struct refresh_start){ 0 });
    cw_clock_shift_us(23 * CW_DAY_US);
    ck_assert_uint_eq(claim(due), 0);
    cw_clock_shift_us(30 * CW_DAY_US);
    ck_assert_uint_eq(claim(due), 1);
    ck_assert(cw_ulid_eq(due[0].connection.ulid, refresh_connection.ulid));
    ck_assert_uint_eq(due[0].version, 1);
    ck_assert_uint_eq(claim(due + 1), 0);
    refresh_must(cw_due_defer(m, &due[0], cw_now_us() + CW_HOUR_US, &err), &err);
    cw_clock_shift_us(30 * CW_DAY_US + 2 * CW_MINUTE_US);
    ck_assert_uint_eq(claim(due), 0);
    cw_clock_shift_us(30 * CW_DAY_US + 2 * CW_HOUR_US);
    ck_assert_uint_eq(claim(due), 1);
    cw_clock_shift_us(30 * CW_DAY_US + 3 * CW_HOUR_US);
    ck_assert_uint_eq(claim(due), 1); /* whoever claimed it is dead */

    /* Refreshed since the claim: a late deferral changes nothing, and it is due in a month. */
    struct cw_refresh_lease lease;
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", NULL);
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    refresh_must(cw_due_defer(m, &due[0], cw_now_us(), &err), &err);
    ck_assert_uint_eq(claim(due), 0);
}
END_TEST

START_TEST(due_times_are_spread_and_within_the_period)
{
    unsigned days[31] = { 0 };
    struct grant_end none = { .ends_us = 0 }, rolling = { .ends_us = 90 * CW_MINUTE_US }, fixed = { 5 * CW_DAY_US, true };
    for (unsigned i = 0; i < 6000; i++) {
        struct cw_connection_id id = { cw_ulid_new() };
        int64_t due_us = grant_due_us(id, 0, 0, none);
        ck_assert(due_us >= 24 * CW_DAY_US && due_us < 30 * CW_DAY_US);
        days[due_us / CW_DAY_US]++;
        due_us = grant_due_us(id, 0, 10 * CW_DAY_US, none);
        ck_assert(due_us >= 8 * CW_DAY_US && due_us < 10 * CW_DAY_US);
        due_us = grant_due_us(id, 0, 0, rolling);
        ck_assert(due_us >= 36 * CW_MINUTE_US && due_us < 45 * CW_MINUTE_US); /* before it ends of idleness */
        ck_assert_int_eq(grant_due_us(id, 0, 0, fixed), fixed.ends_us);
    }
    for (unsigned day = 24; day < 30; day++) {
        ck_assert_msg(days[day] > 850 && days[day] < 1150, "day %u: %u", day, days[day]);
    }
}
END_TEST

static void sweep(void)
{
    unsigned count = 0;
    refresh_must(cw_ends_sweep(m, &refresh_actor, 100, &count, &err), &err);
}

START_TEST(an_end_is_told_at_each_threshold_once)
{
    static const struct {
        int64_t day;
        int told;
    } steps[] = { { 0, 0 }, { 5, 0 }, { 6, 1 }, { 7, 1 }, { 12, 1 }, { 13, 2 }, { 18, 2 }, { 19, 3 }, { 20, 3 }, { 30, 3 } };
    refresh_connect((struct refresh_start){ .ends_in_us = 20 * CW_DAY_US, .ends_fixed = true });
    for (size_t i = 0; i < CW_ARRAY_LEN(steps); i++) {
        cw_clock_shift_us(steps[i].day * CW_DAY_US + CW_MINUTE_US);
        sweep();
        sweep();
        ck_assert_msg(refresh_events(CW_EVENT_CONNECTION_EXPIRING) == steps[i].told, "day %lld", (long long)steps[i].day);
    }
    ck_assert_int_eq(refresh_number("g.warn_at IS NULL"), 1);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE); /* the server has the last word */
}
END_TEST

START_TEST(of_thresholds_that_have_passed_the_nearest_is_told)
{
    refresh_connect((struct refresh_start){ .ends_in_us = 20 * CW_DAY_US, .ends_fixed = true });
    cw_clock_shift_us(14 * CW_DAY_US); /* nobody was up while 14 and 7 days went by */
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
    ck_assert_int_eq(refresh_number("g.warned_days"), 7);
    cw_clock_shift_us(21 * CW_DAY_US); /* and none after the end */
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
}
END_TEST

START_TEST(an_end_that_moves_away_is_told_anew)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ .ends_in_us = 20 * CW_DAY_US });
    cw_clock_shift_us(19 * CW_DAY_US + CW_HOUR_US);
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", "refresh-2");
    tokens.ends_us = cw_now_us() + 40 * CW_DAY_US;
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
    cw_clock_shift_us(46 * CW_DAY_US);
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 2);
    ck_assert_int_eq(refresh_number("g.warned_days"), 14);

    /* The same end in another answer is no news, and shows that refreshing does not move it. */
    ck_assert_int_eq(refresh_begin("a/1", 2, &lease), CW_OK);
    tokens = tokens_of("access-3", "refresh-3");
    tokens.ends_us = refresh_number("ROUND(UNIX_TIMESTAMP(g.ends_at) * 1000000)");
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 2);
}
END_TEST

START_TEST(short_rolling_ends_are_no_news)
{
    struct cw_refresh_lease lease;
    refresh_connect((struct refresh_start){ .ends_in_us = 30 * CW_MINUTE_US });
    sweep();
    ck_assert_int_eq(refresh_begin("a/1", 1, &lease), CW_OK);
    struct cw_refreshed tokens = tokens_of("access-2", "refresh-2");
    tokens.ends_us = cw_now_us() + 40 * CW_MINUTE_US;
    refresh_must(cw_refresh_commit(m, &lease, &tokens, &err), &err);
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 0);
}
END_TEST

START_TEST(one_time_access_is_told_and_ends)
{
    refresh_connect((struct refresh_start){ .one_time = true });
    sweep();
    sweep();
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
    ck_assert_int_eq(refresh_number("g.refresh_due_at IS NULL"), 1);
    cw_clock_shift_us(59 * CW_MINUTE_US);
    sweep();
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
    cw_clock_shift_us(61 * CW_MINUTE_US);
    sweep();
    sweep();
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_EXPIRED);
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRED), 1);
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
}
END_TEST

/* The patient signs in again between the look at an ended token and its end. */
START_TEST(one_time_access_ends_with_its_own_token)
{
    refresh_connect((struct refresh_start){ .one_time = true });
    ck_assert_int_eq(cw_connection_end_one_time(m, &refresh_actor, refresh_connection, 2, &err), CW_E_STATE);
    ck_assert_int_eq(refresh_number("c.status"), CW_CONNECTION_ACTIVE);
    refresh_must(cw_connection_end_one_time(m, &refresh_actor, refresh_connection, 1, &err), &err);
    ck_assert_int_eq(cw_connection_end_one_time(m, &refresh_actor, refresh_connection, 1, &err), CW_E_NOT_FOUND);
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(cw_connection_end_one_time(m, &refresh_actor, refresh_connection, 1, &err), CW_E_STATE);
}
END_TEST

/* A machine that slept between its lease and its request sends nothing: somebody else may be asking. */
START_TEST(who_overslept_sends_nothing)
{
    struct cw_refresh_lease slow, next;
    refresh_connect((struct refresh_start){ 0 });
    ck_assert_int_eq(refresh_begin("node/1", 1, &slow), CW_OK);
    refresh_must(cw_refresh_held(m, &slow, &err), &err);
    cw_clock_shift_us(15 * CW_SECOND_US); /* what is left does not do for two requests */
    ck_assert_int_eq(cw_refresh_held(m, &slow, &err), CW_E_CONFLICT);
    cw_clock_shift_us(61 * CW_SECOND_US);
    ck_assert_int_eq(refresh_begin("node/2", 1, &next), CW_E_LIMITED); /* settled: the pause of a lost answer */
    cw_clock_shift_us(0);
    ck_assert_int_eq(cw_refresh_held(m, &slow, &err), CW_E_CONFLICT);
    /* its answer, had one come all the same, would still be taken */
    struct cw_refreshed tokens = tokens_of("access-2", "refresh-2");
    refresh_must(cw_refresh_commit(m, &slow, &tokens, &err), &err);
    expect_tokens(2, "access-2", "refresh-2");
}
END_TEST

static void *sweep_thread(void *arg)
{
    unsigned count = 0;
    struct cw_err ignored = { 0 };
    *(enum cw_code *)arg = cw_ends_sweep(m, &refresh_actor, 100, &count, &ignored);
    return NULL;
}

START_TEST(two_nodes_that_sweep_at_once_tell_once)
{
    enum cw_code rc[4];
    pthread_t threads[4];
    refresh_connect((struct refresh_start){ .ends_in_us = 6 * CW_DAY_US, .ends_fixed = true });
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sweep_thread, &rc[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(rc[i], CW_OK);
    }
    ck_assert_int_eq(refresh_events(CW_EVENT_CONNECTION_EXPIRING), 1);
}
END_TEST

Suite *refresh_state_suite(void)
{
    Suite *s = suite_create("refresh_state");
    TCase *t = tcase_create("state");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, refresh_setup, refresh_teardown);
    tcase_add_test(t, one_refresher_wins);
    tcase_add_test(t, of_six_that_begin_at_once_one_may);
    tcase_add_test(t, what_a_dead_process_left_is_asked_again_after_a_pause);
    tcase_add_test(t, new_tokens_go_in_after_the_lease_ran_out);
    tcase_add_test(t, failures_wait_longer_and_longer);
    tcase_add_test(t, a_day_of_failures_is_told_once_and_its_end_too);
    tcase_add_test(t, a_token_that_stays_is_refused_twice);
    tcase_add_test(t, a_success_between_two_refusals_forgets_the_first);
    tcase_add_test(t, a_token_that_rotates_is_refused_once);
    tcase_add_test(t, refused_after_a_lost_answer_the_rotation_was_lost);
    tcase_add_test(t, a_second_lost_answer_waits_like_a_failure);
    tcase_add_test(t, no_refresh_for_our_kind_makes_it_one_time);
    tcase_add_test(t, a_rejected_client_stops_all_but_one_probe);
    tcase_add_test(t, due_grants_are_claimed_once);
    tcase_add_test(t, due_times_are_spread_and_within_the_period);
    tcase_add_test(t, an_end_is_told_at_each_threshold_once);
    tcase_add_test(t, of_thresholds_that_have_passed_the_nearest_is_told);
    tcase_add_test(t, an_end_that_moves_away_is_told_anew);
    tcase_add_test(t, short_rolling_ends_are_no_news);
    tcase_add_test(t, one_time_access_is_told_and_ends);
    tcase_add_test(t, one_time_access_ends_with_its_own_token);
    tcase_add_test(t, who_overslept_sends_nothing);
    tcase_add_test(t, two_nodes_that_sweep_at_once_tell_once);
    suite_add_tcase(s, t);
    return s;
}
