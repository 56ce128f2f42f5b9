/* MIG mode, and handles of MIG devices. */
#include "common.h"

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *current, unsigned *pending) { DEVICE(d); *current = *pending = d->mig_enabled; return OK; }
API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned *out) { DEVICE(d); *out = MIG_DEVICES; return OK; }
API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned index, nvmlDevice_t *out) {
    DEVICE(d);
    if (index >= MIG_DEVICES) return INVALID;
    if (!d->mig_enabled || index >= d->mig_count) return NOT_FOUND;
    *out = (nvmlDevice_t)(void *)&d->mig[index];
    return OK;
}
API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t d, unsigned *out) { SYSTEM(); nvmlDevice_t gpu; *out = mig_of(d, &gpu) != 0; return OK; }
API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t d, nvmlDevice_t *out) { SYSTEM(); return mig_of(d, out) ? OK : INVALID; }
API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned *out) {
    SYSTEM();
    nvmlDevice_t gpu;
    struct MigEntry *mig = mig_of(d, &gpu);
    if (!mig) return UNSUPPORTED;
    DEVICE(gpu);
    *out = mig->gpu_instance;
    return OK;
}
API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t d, unsigned *out) {
    SYSTEM();
    nvmlDevice_t gpu;
    struct MigEntry *mig = mig_of(d, &gpu);
    if (!mig) return UNSUPPORTED;
    DEVICE(gpu);
    *out = mig->compute_instance;
    return OK;
}
