/* SPDX-License-Identifier: Apache-2.0 */
/* A queue between threads: nodes are members of what is queued, so that adding never fails. Closing wakes all takers. */
#ifndef CW_SCHEDULER_QUEUE_H
#define CW_SCHEDULER_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct queue_node {
    struct queue_node *next;
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct queue_node *first, *last;
    size_t length;
    bool closed;
};

void queue_init(struct queue *queue);
void queue_release(struct queue *queue);
void queue_put(struct queue *queue, struct queue_node *node);
/* Waits; NULL once the queue is closed and empty. */
struct queue_node *queue_take(struct queue *queue);
/* At once; NULL when empty. */
struct queue_node *queue_try(struct queue *queue);
void queue_close(struct queue *queue);

#endif
