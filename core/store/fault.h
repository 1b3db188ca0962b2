/* fault.h: the seam through which every system call of core/store goes. */
#ifndef MLUA_FAULT_H
#define MLUA_FAULT_H

#include "mlua_store.h"

/* What the next call of `op` shall do: 0 go ahead, > 0 fail with this errno, < 0 write short. */
int ml__fault(int op);

#endif
