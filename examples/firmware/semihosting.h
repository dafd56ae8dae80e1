/* Text and an exit status for the debugger or emulator. Without one of them the BKPT is a fault: print to a UART then. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

static inline void semihosting_call(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static inline void semihosting_print(const char *text) {
    semihosting_call(0x04, text); /* SYS_WRITE0 */
}

static inline void semihosting_exit(int status) {
    const uint32_t block[2] = {0x20026u, (uint32_t)status}; /* ADP_Stopped_ApplicationExit */
    for (;;) {
        semihosting_call(0x20, block); /* SYS_EXIT_EXTENDED */
    }
}

#endif /* SEMIHOSTING_H */
