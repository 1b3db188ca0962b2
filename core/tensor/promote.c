/*
 * promote: the dtype in which tensors of different dtypes meet.
 *
 * Floats before integers before bool, the wider before the narrower, whatever the tensors' axes:
 * NumPy's order (NEP 50), but that an integer never widens a float, as in PyTorch. bf16 and f16
 * meet in f32, i64 and bf16 in bf16. What is stored in 16 bits is computed in f32 and stored in 16
 * bits again.
 */
#include "tensor/tensor.h"

enum { FLOATS = ML_BIT_F64 | ML_BIT_F32 | ML_BIT_BF16 | ML_BIT_F16 };

static int common(uint32_t bits) {
  if (bits & ML_BIT_F64) return ML_F64;
  if (bits & ML_BIT_F32) return ML_F32;
  if (bits & FLOATS)
    return (bits & FLOATS) == ML_BIT_BF16  ? ML_BF16
           : (bits & FLOATS) == ML_BIT_F16 ? ML_F16
                                           : ML_F32;
  if (bits & ML_BIT_I64) return ML_I64;
  if (bits & ML_BIT_I32) return ML_I32;
  return bits & ML_BIT_U8 ? ML_U8 : ML_BOOL;
}

ml_promotion ml__promote(uint32_t bits, uint32_t takes, bool whole_to_float) {
  int c = common(bits);
  ml_promotion p = {c, c};
  if (takes & 1u << c) return p;
  bool is_float = (1u << c & FLOATS) != 0;
  if (!is_float && takes & ML_BIT_I64) {
    p.compute = c != ML_BOOL && c != ML_I32 && takes & ML_BIT_I32 ? ML_I32 : ML_I64;
    p.result = p.compute;
  } else if (takes & ML_BIT_F32 && (is_float || whole_to_float)) {
    p.compute = ML_F32;
    if (!is_float) p.result = ML_F32;
  } else {
    p.compute = -1;
  }
  return p;
}

/*
 * Mixed precision: what costs most and bears it (products, convolutions, attention) is computed of
 * 16-bit floats, what loses its last digits there (losses, sums, exponentials, norms) in f32; the
 * rest in what it is given. Weights stay f32: their conversion is on the tape. f64 is left alone.
 */
int ml__mixed = -1;

int ml_mixed(int dtype) {
  int before = ml__mixed;
  ml__mixed = dtype == ML_BF16 || dtype == ML_F16 ? dtype : -1;
  return before;
}

bool ml__mixed_low(uint32_t bits) {
  return bits != 1u << ml__mixed && !(bits & ~(ML_BIT_F32 | ML_BIT_BF16 | ML_BIT_F16));
}

bool ml__mixed_wide(uint32_t bits) {
  return bits & (ML_BIT_BF16 | ML_BIT_F16) && !(bits & ML_BIT_F64);
}
