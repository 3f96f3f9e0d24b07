/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host may be asked, by what was heard of it. One that never answered, or whose last word was a time-out, has one request at a time, so that a
 * hundred that hang hold a hundred slots and no more. After five faults in a row nobody asks for a minute, then one request probes; while the
 * probes fail the pauses double, up to an hour. Values only: the scheduler's lock guards them.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include "base/time.h"

#define FAULTS_MAX 5u
#define PAUSE_FIRST_US CW_MINUTE_US
#define PAUSE_MOST_US CW_HOUR_US

static void open_it(struct host *host, int64_t now_us)
{
    int64_t pause_us = host->open_pause_us == 0 ? PAUSE_FIRST_US : 2 * host->open_pause_us;
    host->open_pause_us = pause_us > PAUSE_MOST_US ? PAUSE_MOST_US : pause_us;
    host->open_until_us = now_us + host->open_pause_us;
    host->faults = 0;
}

void host_hears(struct host *host, enum host_word word, int64_t now_us)
{
    host->timed_out = word == HOST_TIMED_OUT;
    if (word == HOST_ANSWERED) {
        host->answered = true;
        host->faults = 0;
        host->open_until_us = host->open_pause_us = 0;
    } else if (host->open_pause_us != 0 && now_us < host->open_until_us) {
        return; /* asked before it was opened */
    } else if (host->open_pause_us != 0 || ++host->faults >= FAULTS_MAX) {
        open_it(host, now_us);
    }
}

bool host_is_open(const struct host *host)
{
    return host->open_pause_us != 0;
}

int64_t host_quiet_us(const struct host *host)
{
    return host->open_until_us > host->quiet_until_us ? host->open_until_us : host->quiet_until_us;
}

unsigned host_room(const struct host *host, unsigned most)
{
    return host_is_open(host) || !host->answered || host->timed_out ? 1 : most;
}
