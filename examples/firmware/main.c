/* Proves on the device that the network computes what dnncc says it computes. */
#include "net.h"
#include "semihosting.h"

/* In net_selftest.c: the number of output bytes that are wrong, or -1 if net_run returned an error. */
int net_selftest(const net_t *net);

/* Words, so that the arena is aligned to NET_ARENA_ALIGN; one more, as C has no empty arrays. */
static uint32_t arena[NET_ARENA_SIZE / sizeof(uint32_t) + 1];

static void print_number(uint32_t value) {
    char text[11];
    char *at = text + sizeof text - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0u);
    semihosting_print(at);
}

#ifdef PROFILE
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018u)
#define SYSTICK_MASK 0xFFFFFFu

static uint32_t begin, ticks[NET_NODES];

void profile_begin(void) {
    begin = SYSTICK_VALUE;
}

void profile_end(unsigned node) {
    ticks[node] = (begin - SYSTICK_VALUE) & SYSTICK_MASK; /* it counts down */
}

static void profile_start(void) {
    SYSTICK_RELOAD = SYSTICK_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, clocked by the processor, no interrupt */
}

static void profile_report(void) {
    uint32_t node;
    for (node = 0; node < NET_NODES; ++node) {
        semihosting_print("node ");
        print_number(node);
        semihosting_print(": ");
        print_number(ticks[node]);
        semihosting_print(" ticks\n");
    }
}
#else
static void profile_start(void) {}
static void profile_report(void) {}
#endif

int main(void) {
    const net_t net = {arena};
    int wrong;
    profile_start();
    wrong = net_selftest(&net);
    profile_report();
    if (wrong < 0) {
        semihosting_print("self-test: net_run returned an error\n");
    } else {
        semihosting_print("self-test: ");
        print_number((uint32_t)wrong);
        semihosting_print(" bytes differ\n");
    }
    return wrong != 0;
}
