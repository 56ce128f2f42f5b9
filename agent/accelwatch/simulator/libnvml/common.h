/* What the files of the simulated library share: where its state is, and how each call begins. */
#pragma once
#include <stdint.h>
#include <string.h>
#include "layout.h"

typedef int nvmlReturn_t;
typedef struct DeviceEntry *nvmlDevice_t; /* or, for a MIG device, a struct MigEntry * of its GPU */
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, NO_DRIVER = 9, TIMEOUT = 10, LOST = 15, UNKNOWN = 999, BAD_VERSION = 25 };
#define API __attribute__((visibility("default")))

/* The node, or null while the simulator has not written it. */
struct NodeEntry *state(void);
/* Its file, which is touched when an event has come; 0 when it does not fit. */
int state_path(char *path, unsigned size);
/* What a library call begins with: blocks or fails as the simulator wants. */
nvmlReturn_t system_call(const char *symbol);
/* The same for a call on a GPU; a MIG handle gives UNSUPPORTED. */
nvmlReturn_t device_call(nvmlDevice_t device, const char *symbol);
/* The MIG device behind a handle and its GPU, or null when it is a GPU's. */
struct MigEntry *mig_of(nvmlDevice_t handle, nvmlDevice_t *gpu);
/* Waits while `symbol` is to block, then gives the result that is forced on it, if any. */
nvmlReturn_t misbehave(const volatile struct Override *list, const volatile uint32_t *count, const char *symbol);
/* Copies a string out: UNSUPPORTED when empty, SMALL when it does not fit. */
nvmlReturn_t text(char *out, unsigned size, const char *value);
/* nvmlEccCounterType_t sums and places. */
uint64_t *ecc(nvmlDevice_t d, int error, int counter);
uint64_t ecc_total(nvmlDevice_t d, int error, int counter);

extern int initialised;

#define SYSTEM() do { nvmlReturn_t r_ = system_call(__func__); if (r_) return r_; } while (0)
#define DEVICE(d) do { nvmlReturn_t r_ = device_call(d, __func__); if (r_) return r_; } while (0)
#define TELL(target, value) do { if ((value) == NO_VALUE) return UNSUPPORTED; *(target) = (value); return OK; } while (0)
