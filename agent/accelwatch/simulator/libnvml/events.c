/* Event sets: each delivers an Xid once, and only those that came after registration. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "common.h"

#define XID_CRITICAL 8ull
#define SUPPORTED (1ull | 2ull | XID_CRITICAL | 0x10ull)
typedef struct EventSet { unsigned long long types[DEVICES]; uint32_t seen[DEVICES]; } *nvmlEventSet_t;
struct EventData { nvmlDevice_t device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
_Static_assert(sizeof(struct EventData) == 32, "nvmlEventData_t");

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out) {
    SYSTEM();
    *out = calloc(1, sizeof **out);
    return *out ? OK : 20;
}
API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) { SYSTEM(); free(set); return OK; }
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
API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, struct EventData *out, unsigned milliseconds) {
    struct timespec now, begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (;;) {
        SYSTEM();
        if (!set) return INVALID;
        if (next(set, out)) return OK;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - begin.tv_sec) * 1000ll + (now.tv_nsec - begin.tv_nsec) / 1000000 >= (long long)milliseconds) return TIMEOUT;
        usleep(100000);
    }
}
