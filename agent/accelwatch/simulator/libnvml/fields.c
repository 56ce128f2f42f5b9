/* nvmlDeviceGetFieldValues: each element has its own result (nvml.h NVML_FI_DEV_*). */
#include <time.h>
#include "common.h"

struct FieldValue { unsigned id, scope; long long timestamp, latency; unsigned type; nvmlReturn_t result; union { double d; unsigned ui; unsigned long long ull; } value; };
_Static_assert(sizeof(struct FieldValue) == 40, "nvmlFieldValue_t");

static void number(struct FieldValue *f, unsigned value) {
    f->type = 1;
    if (value == NO_VALUE) { f->result = UNSUPPORTED; return; }
    f->value.ui = value;
}
static void count(struct FieldValue *f, uint64_t value) {
    f->type = 3;
    if (value == NO_COUNT) { f->result = UNSUPPORTED; return; }
    f->value.ull = value;
}
static void field(nvmlDevice_t d, struct FieldValue *f) {
    unsigned id = f->id;
    for (uint32_t i = 0; i < d->field_result_count; i++)
        if (d->field_results[i].field == id) { f->result = d->field_results[i].result; return; }
    if (id >= NVLINK5_FIRST && id < NVLINK5_FIRST + NVLINK5_COUNT) {
        if (!d->nvlink5) f->result = UNSUPPORTED;
        else if (f->scope >= d->link_count) f->result = INVALID;
        else count(f, d->link_counts[f->scope * NVLINK5_COUNT + id - NVLINK5_FIRST]);
        return;
    }
    if (id >= 74 && id <= 81) { count(f, d->violations[id - 74]); return; }
    switch (id) {
    case 3: case 4: case 5: case 6: count(f, ecc_total(d, (id - 3) & 1, (id - 3) >> 1)); return;
    case 29: case 30: number(f, d->retired[id - 29]); return;
    case 31: number(f, d->retired_pending); return;
    case 82: number(f, d->memory_temperature); return;
    case 83: count(f, d->energy_millijoules); return;
    case 91: number(f, d->link_count ? d->link_count : NO_VALUE); return;
    case 94: number(f, d->pcie_replays); return;
    case 142: case 143: case 144: case 145: number(f, d->remapped[id - 142]); return;
    case 161: case 162: case 163: /* DL replay, recovery, CRC of a link, before Blackwell */
        if (d->nvlink5) { f->result = UNSUPPORTED; return; }
        if (f->scope >= d->link_count) { f->result = INVALID; return; }
        count(f, d->link_errors[f->scope * 4 + id - 161]);
        return;
    case 165:
        if (f->scope >= d->link_count) { f->result = d->link_count ? INVALID : UNSUPPORTED; return; }
        number(f, d->link_state[f->scope]);
        return;
    case 185: case 186: number(f, f->scope ? NO_VALUE : d->power_milliwatts); return;
    case 189: number(f, d->power_limit_milliwatts); return;
    case 230: number(f, d->recovery_action); return;
    default: f->result = UNSUPPORTED;
    }
}
API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int length, struct FieldValue *values) {
    DEVICE(d);
    if (length < 0 || !values) return INVALID;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < length; i++) {
        values[i].result = OK;
        values[i].value.ull = 0;
        values[i].latency = 1;
        values[i].timestamp = now.tv_sec * 1000000ll + now.tv_nsec / 1000;
        field(d, &values[i]);
    }
    return OK;
}
