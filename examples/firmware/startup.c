/* The vector table and what happens before main: copy .data, clear .bss, switch the FPU on. */
#include <stdint.h>

#include "semihosting.h"

extern uint32_t data_load[], data_begin[], data_end[], bss_begin[], bss_end[], stack_top[];
int main(void);
void reset(void);
void fault(void);

typedef void (*handler)(void);
struct vectors {
    uint32_t *stack;
    handler handlers[15];
};
extern const struct vectors vectors;
const struct vectors vectors __attribute__((section(".vectors"), used)) = {
    stack_top,
    {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault},
};

#define CPACR (*(volatile uint32_t *)0xE000ED88u)

void reset(void) {
    const uint32_t *from = data_load;
    uint32_t *to;
    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb");
    for (to = data_begin; to < data_end; ++to) {
        *to = *from++;
    }
    for (to = bss_begin; to < bss_end; ++to) {
        *to = 0;
    }
    semihosting_exit(main());
}

void fault(void) {
    semihosting_print("fault\n");
    semihosting_exit(99);
}
