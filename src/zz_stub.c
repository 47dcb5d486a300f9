#include "op.h"
#include "../kernels/engines.h"
static const tide_kernel none[TIDE_OP_COUNT];
const tide_engine tide_engine_onednn = {"onednn", none}, tide_engine_blas = {"blas", none};
int tide_in_child;
void tide_engines_set_threads(int n) { (void)n; }
TIDE_DESCRIBE(matmul, .infer=tide_infer_same);
#define M(x) tide_status x(tide_kcall*c); tide_status x(tide_kcall*c){(void)c;return TIDE_DECLINE;}
M(matmul_f32_c) M(matmul_f32_v2) M(matmul_f32_v3) M(matmul_f32_v4) M(matmul_f64_v3) M(matmul_f64_c) M(matmul_f64_v2) M(matmul_f64_v4)
