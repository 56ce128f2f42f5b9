/* Event sets: each delivers an Xid once, and only those that came after registration. A wait sleeps, as the driver's
 * does: the simulator touches the state file when an event has come. */
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

#define XID_CRITICAL 8ull
#define SUPPORTED (1ull | 2ull | XID_CRITICAL | 0x10ull)
typedef struct EventSet { unsigned long long types[DEVICES]; uint32_t seen[DEVICES]; int touched; } *nvmlEventSet_t;
struct EventData { nvmlDevice_t device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
_Static_assert(sizeof(struct EventData) == 32, "nvmlEventData_t");

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out) {
    SYSTEM();
    char path[4096];
    nvmlEventSet_t set = calloc(1, sizeof *set);
    if (!set) return 20;
    set->touched = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (set->touched < 0 || !state_path(path, sizeof path) || inotify_add_watch(set->touched, path, IN_ATTRIB) < 0) {
        if (set->touched >= 0) close(set->touched);
        free(set);
        return UNKNOWN;
    }
    *out = set;
    return OK;
}
API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    SYSTEM();
    if (!set) return INVALID;
    close(set->touched);
    free(set);
    return OK;
}
API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t d, unsigned long long *out) { DEVICE(d); *out = SUPPORTED; return OK; }
API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t d, unsigned long long types, nvmlEventSet_t set) {
    DEVICE(d);
    if (!set) return INVALID;
    if (types & ~SUPPORTED) return UNSUPPORTED;
    set->types[d - state()->devices] |= types;
    set->seen[d - state()->devices] = d->xid_total;
    return OK;
}
static int next(nvmlEventSet_t set, struct EventData *out) {
    struct NodeEntry *s = state();
    for (uint32_t i = 0; i < s->device_count; i++) {
        uint32_t total = *(volatile uint32_t *)&s->devices[i].xid_total;
        if (!(set->types[i] & XID_CRITICAL) || set->seen[i] >= total) continue;
        if (total - set->seen[i] > XIDS) set->seen[i] = total - XIDS;
        *out = (struct EventData){&s->devices[i], XID_CRITICAL, s->devices[i].xids[set->seen[i]++ % XIDS], ~0u, ~0u};
        return 1;
    }
    return 0;
}
static long long now_milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}
API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, struct EventData *out, unsigned milliseconds) {
    long long end = now_milliseconds() + milliseconds, left;
    char touches[4096];
    for (;;) {
        SYSTEM();
        if (!set) return INVALID;
        while (read(set->touched, touches, sizeof touches) > 0) {}
        if (next(set, out)) return OK;
        left = end - now_milliseconds();
        if (left <= 0) return TIMEOUT;
        struct pollfd touched = {set->touched, POLLIN, 0};
        poll(&touched, 1, (int)left);
    }
}
