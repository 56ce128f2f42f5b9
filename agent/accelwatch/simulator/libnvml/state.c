/* Finds the node's state beside the library, and lets calls block or fail as it says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common.h"

int initialised;
static struct NodeEntry *node;

int state_path(char *path, unsigned size) {
    Dl_info info;
    if (!dladdr((void *)state, &info) || !info.dli_fname) return 0;
    const char *slash = strrchr(info.dli_fname, '/');
    int length = slash ? (int)(slash - info.dli_fname) : 1;
    return snprintf(path, size, "%.*s/state.bin", length, slash ? info.dli_fname : ".") < (int)size;
}

struct NodeEntry *state(void) {
    if (!node) {
        char path[4096];
        if (!state_path(path, sizeof path)) return 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 0;
        void *memory = mmap(0, sizeof(struct NodeEntry), PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (memory == MAP_FAILED) return 0;
        if (((struct NodeEntry *)memory)->magic != STATE_MAGIC) {
            munmap(memory, sizeof(struct NodeEntry));
            return 0;
        }
        node = memory;
    }
    return node;
}

static const volatile struct Override *find(const volatile struct Override *list, uint32_t count, const char *symbol) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp((const char *)list[i].symbol, symbol) || !strcmp((const char *)list[i].symbol, "*")) return &list[i];
    return 0;
}

nvmlReturn_t misbehave(const volatile struct Override *list, const volatile uint32_t *count, const char *symbol) {
    const volatile struct Override *found;
    while ((found = find(list, *count, symbol)) && found->block) usleep(50000);
    return found ? found->result : OK;
}

nvmlReturn_t system_call(const char *symbol) {
    struct NodeEntry *s = state();
    if (!s) return NO_DRIVER;
    nvmlReturn_t result = misbehave(s->overrides, &s->override_count, symbol);
    return result ? result : initialised ? OK : UNINITIALIZED;
}

struct MigEntry *mig_of(nvmlDevice_t handle, nvmlDevice_t *gpu) {
    struct NodeEntry *s = state();
    for (uint32_t i = 0; s && i < s->device_count; i++) {
        struct MigEntry *first = s->devices[i].mig;
        if ((void *)handle >= (void *)first && (void *)handle < (void *)(first + MIG_DEVICES)) {
            *gpu = &s->devices[i];
            return (struct MigEntry *)(void *)handle;
        }
    }
    return 0;
}

nvmlReturn_t device_call(nvmlDevice_t device, const char *symbol) {
    nvmlReturn_t result = system_call(symbol);
    nvmlDevice_t gpu;
    if (result) return result;
    if (!device) return INVALID;
    if (mig_of(device, &gpu)) return UNSUPPORTED;
    result = misbehave(device->overrides, &device->override_count, symbol);
    if (result) return result;
    if (!device->present) return LOST;
    return device->status;
}

nvmlReturn_t text(char *out, unsigned size, const char *value) {
    if (!*value) return UNSUPPORTED;
    if (strlen(value) + 1 > size) return SMALL;
    strcpy(out, value);
    return OK;
}
