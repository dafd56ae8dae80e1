/* dnncc_cpu.h: vector kernels for general-purpose processors, in the same bits as dnncc.h. */
#ifndef DNNCC_CPU_H
#define DNNCC_CPU_H

#include "dnncc.h"

#endif
