/* Calls that tell little-used facts of a board, and the wiring of its links. */
#include <stdio.h>
#include "common.h"

API nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = (unsigned)(d - state()->devices); return OK; }
API nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = 14; return OK; } /* NVML_BRAND_NVIDIA */
API nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->architecture); }
API nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = 1; return OK; }
API nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = 0; return OK; }
API nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t d, char *out) { DEVICE(d); return text(out, 64, state()->driver); }
API nvmlReturn_t nvmlDeviceGetPowerManagementLimit(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->power_limit_milliwatts); }
API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, int type, unsigned *out) { DEVICE(d); if (type < 0 || type > 3) return INVALID; TELL(out, d->clocks[type]); }

struct Temperature { unsigned version; int sensor, celsius; };
_Static_assert(sizeof(struct Temperature) == 12, "nvmlTemperature_v1_t");
API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t d, struct Temperature *out) {
    if (out->version != (12u | 1u << 24)) return BAD_VERSION;
    DEVICE(d);
    if (out->sensor) return INVALID;
    if (d->temperature == NO_VALUE) return UNSUPPORTED;
    out->celsius = (int)d->temperature;
    return OK;
}
/* nvmlTemperatureThresholds_t: shutdown, slowdown, memory max, GPU max. */
API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t d, unsigned which, unsigned *out) {
    static const unsigned celsius[] = {95, 92, 95, 87};
    DEVICE(d);
    if (which > 3) return UNSUPPORTED;
    *out = celsius[which];
    return OK;
}
struct Margin { unsigned version; int celsius; };
_Static_assert(sizeof(struct Margin) == 8, "nvmlMarginTemperature_v1_t");
API nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t d, struct Margin *out) {
    if (out->version != (8u | 1u << 24)) return BAD_VERSION;
    DEVICE(d);
    if (d->temperature == NO_VALUE) return UNSUPPORTED;
    out->celsius = 87 - (int)d->temperature;
    return OK;
}

struct Violation { unsigned long long reference, violation; };
_Static_assert(sizeof(struct Violation) == 16, "nvmlViolationTime_t");
API nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t d, int policy, struct Violation *out) {
    /* nvmlPerfPolicyType_t: 0 power to 5 reliability, 10 application clocks, 11 base clocks */
    DEVICE(d);
    int place = policy >= 10 ? policy - 4 : policy;
    if (policy < 0 || place > 7 || (policy > 5 && policy < 10)) return INVALID;
    if (d->violations[place] == NO_COUNT) return UNSUPPORTED;
    out->reference = 0;
    out->violation = d->violations[place];
    return OK;
}

API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t d, unsigned cause, unsigned *count, unsigned long long *addresses) {
    DEVICE(d);
    if (cause > 1) return INVALID;
    if (d->retired[cause] == NO_VALUE) return UNSUPPORTED;
    unsigned room = *count;
    *count = d->retired[cause];
    if (!room && *count) return SMALL;
    if (room < *count) return SMALL;
    for (unsigned i = 0; i < *count; i++) addresses[i] = (0x1000ull * (cause + 1)) + i;
    return OK;
}
API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->retired_pending); }

struct RemotePci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t d, unsigned link, struct RemotePci *out) {
    DEVICE(d);
    if (link >= d->link_count) return d->link_count ? INVALID : UNSUPPORTED;
    memset(out, 0, sizeof *out);
    out->bus = 5 + link % 4; /* one of four NVSwitches */
    snprintf(out->bus_id, sizeof out->bus_id, "00000000:%02X:00.0", out->bus);
    snprintf(out->legacy, sizeof out->legacy, "0000:%02X:00.0", out->bus);
    return OK;
}
API nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t d, unsigned link, unsigned *out) {
    DEVICE(d);
    if (link >= d->link_count) return d->link_count ? INVALID : UNSUPPORTED;
    *out = 2; /* NVML_NVLINK_DEVICE_TYPE_SWITCH */
    return OK;
}
API nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t d, unsigned link, unsigned *out) {
    DEVICE(d);
    if (link >= d->link_count) return d->link_count ? INVALID : UNSUPPORTED;
    *out = d->nvlink5 ? 5 : 4;
    return OK;
}
