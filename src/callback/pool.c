/* SPDX-License-Identifier: Apache-2.0 */
/* A stack of HTTP clients under a lock. */
#include "config.h"

#include "callback/callback.h"

struct cw_http_pool {
    const struct cw_config *config;
    pthread_mutex_t lock;
    unsigned most;
    unsigned count;
    struct cw_http *idle[];
};

void cw_http_pool_free(struct cw_http_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (unsigned i = 0; i < pool->count; i++) {
        cw_http_free(pool->idle[i]);
    }
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}

struct cw_http_pool *cw_http_pool_new(const struct cw_config *config, unsigned most)
{
    struct cw_http_pool *pool = calloc(1, sizeof *pool + most * sizeof(struct cw_http *));
    if (pool == NULL) {
        return NULL;
    }
    pool->config = config;
    pool->most = most;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    return pool;
}

enum cw_code cw_http_pool_take(struct cw_http_pool *pool, struct cw_http **ret_http, struct cw_err *err)
{
    struct cw_http *http = NULL;
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->count > 0) {
        http = pool->idle[--pool->count];
    }
    (void)pthread_mutex_unlock(&pool->lock);
    if (http == NULL) {
        return cw_http_new(pool->config, ret_http, err);
    }
    *ret_http = http;
    return CW_OK;
}

void cw_http_pool_give(struct cw_http_pool *pool, struct cw_http *http)
{
    (void)pthread_mutex_lock(&pool->lock);
    if (http != NULL && pool->count < pool->most) {
        pool->idle[pool->count++] = http;
        http = NULL;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    cw_http_free(http);
}
