/* SPDX-License-Identifier: Apache-2.0 */
/* See queue.h. */
#include "config.h"
#include "scheduler/queue.h"

void queue_init(struct queue *queue)
{
    *queue = (struct queue){ 0 };
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->filled, NULL);
}

void queue_release(struct queue *queue)
{
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
}

void queue_put(struct queue *queue, struct queue_node *node)
{
    node->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->last == NULL) {
        queue->first = node;
    } else {
        queue->last->next = node;
    }
    queue->last = node;
    queue->length++;
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

static struct queue_node *take_locked(struct queue *queue)
{
    struct queue_node *node = queue->first;
    if (node != NULL) {
        queue->first = node->next;
        queue->last = queue->first == NULL ? NULL : queue->last;
        queue->length--;
    }
    return node;
}

struct queue_node *queue_take(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->first == NULL && !queue->closed) {
        pthread_cond_wait(&queue->filled, &queue->lock);
    }
    struct queue_node *node = take_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return node;
}

struct queue_node *queue_try(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct queue_node *node = take_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return node;
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}
