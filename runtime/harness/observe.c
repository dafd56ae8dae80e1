/* Native observers for the Cortex-M emulator.
 *
 * They are called for every basic block and every data access of the emulated code, which is too often for Python.
 * The emulator's own functions arrive as pointers, so nothing is linked. runtime/observer.py mirrors these structures.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_REGIONS = 24, MAX_UNALIGNED = 256, KEEP_STATE = -1 };
enum { ACCESS_OK = 0, ACCESS_OUTSIDE = 1, ACCESS_FAULT = 2 };

struct region {
    uint32_t begin, end; /* [begin, end) */
};

struct access {
    uint32_t verdict, pc, address, size, writes;
};

struct unaligned {
    uint32_t pc, address;
    uint64_t times;
};

struct block {
    uint32_t address, size;
    uint32_t instructions;
    int32_t next;       /* another block at the same address with a different size, or -1 */
    int32_t exit_state; /* the profiling state after the block, or KEEP_STATE */
    uint32_t lowest_sp; /* at entry */
};

struct observer {
    /* Set by the caller. */
    int (*reg_read)(void *engine, int reg, void *value);
    int (*reg_write)(void *engine, int reg, const void *value);
    int (*stop)(void *engine);
    int32_t reg_pc, reg_sp, reg_cpsr;
    uint32_t code_begin, code_end;
    const uint8_t *code;
    int32_t *first_block; /* per halfword of code: index into blocks, or -1 */
    const int32_t *marker; /* per halfword of code: the state that begins there, or KEEP_STATE */
    struct block *blocks;
    uint64_t *executed; /* [block][state at entry] */
    uint64_t *taken;    /* [block][state at exit]: left other than to the next address */
    uint64_t *misaligned; /* [state]: accesses to addresses that are no multiple of their size */
    uint32_t block_capacity, states;
    uint64_t instruction_limit;
    uint32_t regions_used;
    struct region regions[MAX_REGIONS];
    struct region stack;
    /* Results. */
    uint32_t blocks_used, state;
    uint32_t overflow, limit_reached; /* block table full; instruction limit reached */
    uint32_t lowest_stack_access;
    int32_t previous;
    uint32_t previous_end;
    uint32_t unaligned_used;
    uint64_t instructions;
    struct access violation;
    struct unaligned unaligned[MAX_UNALIGNED];
};

static uint32_t read_register(const struct observer *o, void *engine, int reg) {
    uint32_t value = 0;
    o->reg_read(engine, reg, &value);
    return value;
}

static int32_t add_block(struct observer *o, uint32_t address, uint32_t size) {
    const uint32_t first = (address - o->code_begin) / 2;
    if (o->blocks_used == o->block_capacity) {
        return -1;
    }
    const int32_t index = (int32_t)o->blocks_used++;
    struct block *b = &o->blocks[index];
    b->address = address;
    b->size = size;
    b->next = o->first_block[first];
    b->instructions = 0;
    b->exit_state = KEEP_STATE;
    b->lowest_sp = UINT32_MAX;
    o->first_block[first] = index;
    for (uint32_t at = address - o->code_begin; at < address - o->code_begin + size;) {
        const uint32_t halfword = (uint32_t)o->code[at] | (uint32_t)o->code[at + 1] << 8;
        if (o->marker[at / 2] != KEEP_STATE) {
            b->exit_state = o->marker[at / 2];
        }
        b->instructions++;
        at += (halfword >> 11) >= 0x1Du ? 4u : 2u; /* Thumb: 0b11101, 0b11110, 0b11111 open a 32-bit encoding */
    }
    return index;
}

void dnncc_on_block(void *engine, uint64_t address64, uint32_t size, void *user) {
    struct observer *o = user;
    const uint32_t address = (uint32_t)address64;
    if (address < o->code_begin || address + size > o->code_end) {
        return; /* the fetch itself faults, or it is the return address */
    }
    int32_t index = o->first_block[(address - o->code_begin) / 2];
    while (index >= 0 && o->blocks[index].size != size) {
        index = o->blocks[index].next;
    }
    if (index < 0) {
        index = add_block(o, address, size);
        if (index < 0) {
            o->overflow = 1;
            o->stop(engine);
            return;
        }
    }
    struct block *b = &o->blocks[index];
    const uint32_t sp = read_register(o, engine, o->reg_sp);
    if (sp < b->lowest_sp) {
        b->lowest_sp = sp;
    }
    if (o->previous >= 0 && o->previous_end != address) {
        o->taken[(uint32_t)o->previous * o->states + o->state]++;
    }
    o->executed[(uint32_t)index * o->states + o->state]++;
    if (b->exit_state != KEEP_STATE) {
        o->state = (uint32_t)b->exit_state;
    }
    o->previous = index;
    o->previous_end = address + size;
    o->instructions += b->instructions;
    if (o->instructions > o->instruction_limit) {
        o->limit_reached = 1;
        o->stop(engine);
    }
}

static void note_unaligned(struct observer *o, void *engine, uint32_t address) {
    const uint32_t pc = read_register(o, engine, o->reg_pc);
    uint32_t i = 0;
    while (i < o->unaligned_used && o->unaligned[i].pc != pc) {
        i++;
    }
    if (i == o->unaligned_used) {
        if (i == MAX_UNALIGNED) {
            i = MAX_UNALIGNED - 1; /* more places than are kept: the last one stands for the rest */
        } else {
            o->unaligned_used++;
            o->unaligned[i].pc = pc;
            o->unaligned[i].address = address;
            o->unaligned[i].times = 0;
        }
    }
    o->unaligned[i].times++;
    o->misaligned[o->state]++;
}

static void violate(struct observer *o, void *engine, uint32_t verdict, uint32_t address, int size, bool writes) {
    if (o->violation.verdict == ACCESS_OK) {
        o->violation.verdict = verdict;
        o->violation.pc = read_register(o, engine, o->reg_pc);
        o->violation.address = address;
        o->violation.size = (uint32_t)size;
        o->violation.writes = writes;
    }
    o->stop(engine);
}

/* Before it calls an access hook, unicorn restores the CPU's state at the accessing instruction, and leaves it so. If
 * that instruction stands in an IT block, the next block of code then begins with conditional instructions that are
 * none. Within a block of translated code the state is always zero, so zero it is set to (unicorn issue 2309). */
static void leave_it_block(const struct observer *o, void *engine) {
    enum { IT_STATE = 0x0600FC00 };
    uint32_t cpsr = read_register(o, engine, o->reg_cpsr);
    if ((cpsr & IT_STATE) != 0) {
        cpsr &= ~(uint32_t)IT_STATE;
        o->reg_write(engine, o->reg_cpsr, &cpsr);
    }
}

/* The kinds of access are those of the emulator: 16 read, 17 write. */
void dnncc_on_access(void *engine, int kind, uint64_t address64, int size, int64_t value, void *user) {
    struct observer *o = user;
    const uint32_t address = (uint32_t)address64;
    const uint32_t last = address + (uint32_t)size;
    (void)value;
    leave_it_block(o, engine);
    if ((address & (size >= 4 ? 3u : (uint32_t)size - 1u)) != 0) {
        note_unaligned(o, engine, address);
    }
    if (address >= o->stack.begin && last <= o->stack.end) {
        if (address < o->lowest_stack_access) {
            o->lowest_stack_access = address;
        }
        return;
    }
    for (uint32_t i = 0; i < o->regions_used; i++) {
        const struct region *r = &o->regions[i];
        if (address >= r->begin && last <= r->end) {
            return; /* a write to read-only memory is a fault of its page */
        }
    }
    violate(o, engine, ACCESS_OUTSIDE, address, size, kind == 17);
}

/* Unmapped or protected memory: 19 read, 20 write, 21 fetch unmapped; 22 write, 23 read, 24 fetch protected. */
bool dnncc_on_fault(void *engine, int kind, uint64_t address, int size, int64_t value, void *user) {
    (void)value;
    violate(user, engine, ACCESS_FAULT + (uint32_t)kind, (uint32_t)address, size, kind == 20 || kind == 22);
    return false;
}

size_t dnncc_observer_size(void) {
    return sizeof(struct observer);
}
