/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded (LD_PRELOAD): what other nodes send after a pause arrives LATE_DELIVERY milliseconds
 * later; what comes while one of them waits is behind it, and late by that, so that nodes with much
 * to do become half as fast at most. */
#include <corosync/cpg.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef cs_error_t (*initialize_function)(cpg_handle_t *, cpg_model_t, cpg_model_data_t *, void *);

static cpg_deliver_fn_t deliver;
static int64_t milliseconds;
static unsigned self;
static int64_t waited_until; /* milliseconds of the clock that is never set */

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void deliver_late(cpg_handle_t handle, const struct cpg_name *group, uint32_t node,
                         uint32_t process, void *message, size_t size)
{
    if (node != self && now() - waited_until >= milliseconds) {
        usleep((useconds_t)milliseconds * 1000);
        waited_until = now();
    }
    deliver(handle, group, node, process, message, size);
}

cs_error_t cpg_model_initialize(cpg_handle_t *handle, cpg_model_t model, cpg_model_data_t *data,
                                void *context)
{
    initialize_function initialize = (initialize_function)dlsym(RTLD_NEXT, "cpg_model_initialize");
    cpg_model_v1_data_t wrapped = *(cpg_model_v1_data_t *)data;
    const char *given = getenv("LATE_DELIVERY");

    milliseconds = given ? atoi(given) : 0;
    deliver = wrapped.cpg_deliver_fn;
    wrapped.cpg_deliver_fn = deliver_late;
    cs_error_t result = initialize(handle, model, (cpg_model_data_t *)&wrapped, context);
    /* Here, since later on another thread may be sending: that would be two requests at once. */
    return result == CS_OK ? cpg_local_get(*handle, &self) : result;
}
