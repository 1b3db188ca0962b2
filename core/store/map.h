/* map.h: what the readers of mapped files share. */
#ifndef MLUA_MAP_H
#define MLUA_MAP_H

#include "mlua_store.h"

/* Bytes of a tensor; false if its sizes, zeros left out, pass 2^63: no stride may overflow. */
bool ml__tensor_bytes(int64_t *out, int dtype, int ndim, const int64_t *shape);

#endif
