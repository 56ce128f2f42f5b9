/* A libnvidia-ml.so.1 without a GPU: answers from the file state.bin beside it, which the simulator writes.
 * The ABI is that of nvml.h (API 13); structure sizes and version words as in NVIDIA's go-nvml header. */
#include <stdio.h>
#include "common.h"

API nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    struct NodeEntry *s = state();
    if (!s) return NO_DRIVER;
    nvmlReturn_t result = misbehave(s->overrides, &s->override_count, __func__);
    if (result) return result;
    if (s->init_result) return s->init_result;
    initialised = 1;
    return OK;
}
API nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API nvmlReturn_t nvmlShutdown(void) { SYSTEM(); initialised = 0; return OK; }
API const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case OK: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case UNSUPPORTED: return "Not Supported";
    case NO_DRIVER: return "Driver Not Loaded";
    case LOST: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}
API nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned size) { SYSTEM(); return text(out, size, state()->driver); }
API nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned size) { SYSTEM(); return text(out, size, state()->nvml); }
API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *out) { SYSTEM(); *out = 12080; return OK; }

static unsigned present(nvmlDevice_t *list) {
    struct NodeEntry *s = state();
    unsigned count = 0;
    for (uint32_t i = 0; i < s->device_count; i++)
        if (s->devices[i].present) { if (list) list[count] = &s->devices[i]; count++; }
    return count;
}
API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) { SYSTEM(); *count = present(0); return OK; }
API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    SYSTEM();
    nvmlDevice_t list[sizeof state()->devices / sizeof *state()->devices];
    if (index >= present(list)) return INVALID;
    *device = list[index];
    return list[index]->status == LOST ? LOST : OK;
}
API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    SYSTEM();
    for (uint32_t i = 0; i < state()->device_count; i++)
        if (state()->devices[i].present && !strcmp(state()->devices[i].uuid, uuid)) { *device = &state()->devices[i]; return OK; }
    return NOT_FOUND;
}
API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvmlDevice_t *device) {
    unsigned domain, bus, slot, own_domain, own_bus, own_slot;
    SYSTEM();
    if (sscanf(address, "%x:%x:%x", &domain, &bus, &slot) != 3) return INVALID;
    for (uint32_t i = 0; i < state()->device_count; i++) {
        nvmlDevice_t d = &state()->devices[i];
        if (sscanf(d->bus_id, "%x:%x:%x", &own_domain, &own_bus, &own_slot) != 3) continue;
        if (own_domain != domain || own_bus != bus || own_slot != slot || !d->present) continue;
        *device = d;
        return d->status == LOST ? LOST : OK;
    }
    return NOT_FOUND;
}
/* What a MIG device answers itself; its GPU must be well. */
#define MIG(d, answer) do { nvmlDevice_t gpu_; struct MigEntry *mig = mig_of(d, &gpu_); if (mig) { DEVICE(gpu_); return answer; } } while (0)

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *out, unsigned size) { MIG(d, text(out, size, mig->name)); DEVICE(d); return text(out, size, d->name); }
API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *out, unsigned size) { MIG(d, text(out, size, mig->uuid)); DEVICE(d); return text(out, size, d->uuid); }
API nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t d, char *out, unsigned size) { DEVICE(d); return text(out, size, d->serial); }
API nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t d, char *out, unsigned size) { DEVICE(d); return text(out, size, d->vbios); }
API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = (unsigned)(d - state()->devices); return OK; }

struct PciInfo { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
_Static_assert(sizeof(struct PciInfo) == 68, "nvmlPciInfo_t");
API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, struct PciInfo *out) {
    DEVICE(d);
    memset(out, 0, sizeof *out);
    strncpy(out->bus_id, d->bus_id, sizeof out->bus_id - 1);
    strncpy(out->legacy, d->bus_id + 4, sizeof out->legacy - 1);
    sscanf(d->bus_id, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    out->id = 0x233010de;
    return OK;
}

struct Utilization { unsigned gpu, memory; };
API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, struct Utilization *out) {
    DEVICE(d);
    if (d->utilization == NO_VALUE) return UNSUPPORTED;
    out->gpu = d->utilization;
    out->memory = d->memory_utilization == NO_VALUE ? 0 : d->memory_utilization;
    return OK;
}
API nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->power_milliwatts); }
API nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->power_limit_milliwatts); }
API nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *out) { DEVICE(d); *out = d->energy_millijoules; return OK; }
API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, int sensor, unsigned *out) { DEVICE(d); if (sensor) return INVALID; TELL(out, d->temperature); }
API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, int type, unsigned *out) { DEVICE(d); if (type < 0 || type > 3) return INVALID; TELL(out, d->clocks[type]); }
API nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *out) { DEVICE(d); *out = d->throttle; return OK; }
API nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t d, unsigned long long *out) { DEVICE(d); *out = d->throttle; return OK; }

struct Memory { unsigned long long total, free, used; };
static nvmlReturn_t memory(struct Memory *out, uint64_t total, uint64_t used) {
    out->total = total; out->used = used; out->free = total - used;
    return OK;
}
struct Memory2 { unsigned version; unsigned long long total, reserved, free, used; };
_Static_assert(sizeof(struct Memory2) == 40, "nvmlMemory_v2_t");
API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, struct Memory *out) {
    MIG(d, memory(out, mig->memory_total, mig->memory_used));
    DEVICE(d);
    return memory(out, d->memory_total, d->memory_used);
}
API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, struct Memory2 *out) {
    if (out->version != (sizeof *out | 2u << 24)) return BAD_VERSION;
    struct Memory plain;
    nvmlDevice_t gpu;
    struct MigEntry *mig = mig_of(d, &gpu);
    if (mig) {
        DEVICE(gpu);
        memory(&plain, mig->memory_total, mig->memory_used);
        out->total = plain.total; out->used = plain.used; out->reserved = 0; out->free = plain.free;
        return OK;
    }
    DEVICE(d);
    out->total = d->memory_total; out->used = d->memory_used; out->reserved = 0; out->free = out->total - out->used;
    return OK;
}

uint64_t *ecc(nvmlDevice_t d, int error, int counter) { return &d->ecc[(error * 2 + counter) * PLACES]; }
uint64_t ecc_total(nvmlDevice_t d, int error, int counter) { return ecc(d, error, counter)[2] + ecc(d, error, counter)[7]; }
API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t d, unsigned *current, unsigned *pending) { DEVICE(d); *current = *pending = 1; return OK; }
API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, int error, int counter, unsigned long long *out) {
    DEVICE(d);
    if (error < 0 || error > 1 || counter < 0 || counter > 1) return INVALID;
    *out = ecc_total(d, error, counter);
    return OK;
}
API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t d, int error, int counter, int place, unsigned long long *out) {
    DEVICE(d);
    if (error < 0 || error > 1 || counter < 0 || counter > 1 || place < 0 || place >= PLACES) return INVALID;
    if (ecc(d, error, counter)[place] == NO_COUNT) return UNSUPPORTED;
    *out = ecc(d, error, counter)[place];
    return OK;
}
struct SramStatus { unsigned version; unsigned long long counts[11]; unsigned exceeded; };
_Static_assert(sizeof(struct SramStatus) == 104, "nvmlEccSramErrorStatus_v1_t");
API nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t d, struct SramStatus *out) {
    if (out->version != (104u | 1u << 24)) return BAD_VERSION;
    DEVICE(d);
    memset(out->counts, 0, sizeof out->counts);
    out->counts[1] = ecc(d, 1, 1)[7]; /* aggregateUncSecDed, ... in the order of nvml.h */
    out->counts[2] = ecc(d, 0, 1)[7];
    out->counts[4] = ecc(d, 1, 0)[7];
    out->counts[5] = ecc(d, 0, 0)[7];
    out->exceeded = d->sram_threshold;
    return OK;
}
API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    DEVICE(d);
    if (d->remapped[0] == NO_VALUE) return UNSUPPORTED;
    *corrected = d->remapped[0]; *uncorrected = d->remapped[1]; *pending = d->remapped[2]; *failed = d->remapped[3];
    return OK;
}
API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t d, unsigned *banks) {
    DEVICE(d);
    if (d->remapped[0] == NO_VALUE) return UNSUPPORTED;
    memset(banks, 0, 5 * sizeof *banks);
    banks[4] = d->remapped[3] ? 1 : 0;
    banks[0] = 2560 - banks[4];
    return OK;
}

API nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned link, unsigned *out) {
    DEVICE(d);
    if (link >= d->link_count) return d->link_count ? INVALID : UNSUPPORTED;
    *out = d->link_state[link];
    return OK;
}
API nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t d, unsigned link, int counter, unsigned long long *out) {
    DEVICE(d);
    if (link >= d->link_count || counter < 0 || counter > 3) return INVALID;
    if (d->nvlink5) return UNSUPPORTED;
    *out = d->link_errors[link * 4 + counter];
    return OK;
}

API nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->pcie_replays); }
API nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->pcie_generation); }
API nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->pcie_generation_max); }
API nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->pcie_width); }
API nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t d, unsigned *out) { DEVICE(d); TELL(out, d->pcie_width_max); }

struct FabricV { unsigned version; unsigned char cluster[16]; nvmlReturn_t status; unsigned clique; unsigned char state; unsigned health; unsigned char summary; };
_Static_assert(sizeof(struct FabricV) == 40, "nvmlGpuFabricInfo_v3_t");
API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t d, struct FabricV *out) {
    unsigned version = out->version >> 24;
    if (out->version != (40u | 3u << 24) && out->version != (36u | 2u << 24)) return BAD_VERSION;
    DEVICE(d);
    memset(out->cluster, 0, sizeof out->cluster);
    out->status = (nvmlReturn_t)d->fabric_status; out->clique = 0;
    out->state = (unsigned char)d->fabric_state; out->health = d->fabric_health;
    if (version == 3) out->summary = 0;
    return OK;
}

struct ProcessInfo { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; };
_Static_assert(sizeof(struct ProcessInfo) == 24, "nvmlProcessInfo_v2_t");
API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, struct ProcessInfo *out) {
    DEVICE(d);
    unsigned room = *count;
    *count = d->process_count;
    if (d->process_count > room) return SMALL;
    for (uint32_t i = 0; i < d->process_count; i++)
        out[i] = (struct ProcessInfo){d->processes[i].pid, d->processes[i].memory, ~0u, ~0u};
    return OK;
}
/* Training is all compute. */
API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *count, struct ProcessInfo *out) { DEVICE(d); (void)out; *count = 0; return OK; }
API nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *count, struct ProcessInfo *out) { DEVICE(d); (void)out; *count = 0; return OK; }
API nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    SYSTEM();
    struct NodeEntry *s = state();
    for (uint32_t i = 0; i < s->device_count; i++)
        for (uint32_t j = 0; j < s->devices[i].process_count; j++)
            if (s->devices[i].processes[j].pid == pid) return text(out, size, s->devices[i].processes[j].name);
    return NOT_FOUND;
}
