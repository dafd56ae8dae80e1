/* Runs an artifact on an emulated board and reports through semihosting.
 *
 * Prints one line "run CODE TICKS" per sample with the SysTick ticks that the network took, then one line of
 * hexadecimal digits per output; in a self-test image one line "selftest BYTES". Exits with status 0, or 99 on a fault.
 */
#include <stddef.h>
#include <stdint.h>

extern const uint32_t dnncc_glue_sizes[];
int dnncc_glue_run(void *const *pools, void *const *io);
int dnncc_glue_selftest(void *const *pools) __attribute__((weak));

/* The generated data: buffers in RAM, and the samples' inputs in flash, sample after sample. */
extern void *const dnncc_pools[];
extern void *const dnncc_outputs[];
extern const void *const dnncc_inputs[];
extern const uint32_t dnncc_samples;

extern uint32_t dnncc_data_load[], dnncc_data_begin[], dnncc_data_end[], dnncc_bss_begin[], dnncc_bss_end[];
extern uint32_t dnncc_stack_top[];

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, MAX_PORTS = 64, FAULT_STATUS = 99 };

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define SYSTICK_MASK 0xFFFFFFu

void dnncc_reset(void);
void dnncc_fault(void);

typedef void (*vector)(void);
struct vectors {
    uint32_t *stack;
    vector handlers[15];
};
extern const struct vectors dnncc_vectors;
const struct vectors dnncc_vectors __attribute__((section(".vectors"), used)) = {
    dnncc_stack_top,
    {dnncc_reset, dnncc_fault, dnncc_fault, dnncc_fault, dnncc_fault, dnncc_fault, 0, 0, 0, 0, dnncc_fault, dnncc_fault,
     0, dnncc_fault, dnncc_fault},
};

static void semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void leave(uint32_t status) {
    const uint32_t block[2] = {APPLICATION_EXIT, status};
    semihost(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

static void print(const char *text) {
    semihost(SYS_WRITE0, text);
}

static void print_hex(const uint8_t *bytes, uint32_t count) {
    static const char digits[] = "0123456789abcdef";
    char line[129];
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        line[used++] = digits[bytes[i] >> 4];
        line[used++] = digits[bytes[i] & 15u];
        if (used == sizeof line - 1u || i + 1u == count) {
            line[used] = '\0';
            print(line);
            used = 0;
        }
    }
}

static void print_number(uint32_t value) {
    char text[11];
    uint32_t at = sizeof text - 1u;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    print(text + at);
}

static void fill(void *buffer, uint32_t bytes, uint32_t seed) {
    uint8_t *out = buffer;
    for (uint32_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (uint8_t)(seed >> 24);
    }
}

static void run_sample(uint32_t sample) {
    const uint32_t pools = dnncc_glue_sizes[0];
    const uint32_t inputs = dnncc_glue_sizes[1];
    const uint32_t outputs = dnncc_glue_sizes[2];
    const uint32_t *const output_bytes = dnncc_glue_sizes + 3 + pools + inputs;
    void *io[MAX_PORTS];
    for (uint32_t i = 0; i < inputs; i++) {
        io[i] = (void *)(uintptr_t)dnncc_inputs[sample * inputs + i];
    }
    for (uint32_t i = 0; i < outputs; i++) {
        io[inputs + i] = dnncc_outputs[i];
        fill(dnncc_outputs[i], output_bytes[i], sample + 1u);
    }
    for (uint32_t i = 0; i < pools; i++) {
        fill(dnncc_pools[i], dnncc_glue_sizes[3u + i], sample + 7u);
    }
    const uint32_t begin = SYSTICK_VALUE;
    const int code = dnncc_glue_run(dnncc_pools, io);
    const uint32_t ticks = (begin - SYSTICK_VALUE) & SYSTICK_MASK; /* it counts down */
    print("run ");
    print_number((uint32_t)code);
    print(" ");
    print_number(ticks);
    print("\n");
    for (uint32_t i = 0; i < outputs; i++) {
        print_hex(dnncc_outputs[i], output_bytes[i]);
        print("\n");
    }
}

void dnncc_fault(void) {
    leave(FAULT_STATUS);
}

void dnncc_reset(void) {
#ifdef __ARM_FP
    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb");
#endif
    for (uint32_t *from = dnncc_data_load, *to = dnncc_data_begin; to < dnncc_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = dnncc_bss_begin; to < dnncc_bss_end;) {
        *to++ = 0;
    }
    SYSTICK_RELOAD = SYSTICK_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, processor clock, no interrupt */
    for (uint32_t sample = 0; sample < dnncc_samples; sample++) {
        run_sample(sample);
    }
    if (dnncc_glue_selftest != NULL) {
        print("selftest ");
        print_number((uint32_t)dnncc_glue_selftest(dnncc_pools));
        print("\n");
    }
    leave(0);
}
