"""Which group an operator of a CPU, or a kernel of a GPU, is counted to."""

from __future__ import annotations

import pytest

from benchmarks.profile_step import _group


@pytest.mark.parametrize(("name", "group"), [
    ("aten::addmm", "matrix products"),
    ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NTT", "matrix products"),
    ("sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x64_cublas", "matrix products"),
    ("void cublasLt::splitKreduce_kernel<32, 16, int, float, __half>", "matrix products"),
    ("fmha_cutlassF_f16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel)", "attention"),
    ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
    ("void at::native::conv_depthwise2d_forward_kernel_generic<float, int>", "memory blocks"),
    ("aten::mkldnn_convolution", "memory blocks"),
    ("void at::native::vectorized_layer_norm_kernel<float, float>", "norms"),
    ("void at::native::index_elementwise_kernel<128, 4>", "cache rows in and out"),
    ("void at::native::indexSelectLargeIndex<c10::Half, long, unsigned int>", "cache rows in and out"),
    ("void at::native::CatArrayBatchedCopy<float, unsigned int, 3>", "copies and casts"),
    ("Memcpy HtoD (Pinned -> Device)", "copies and casts"),
    ("void vector_fft<512u, 8u>", "filter banks"),
    ("void at::native::vectorized_elementwise_kernel<4, at::native::relu_kernel>", "sums, relu and the like"),
])
def test_kernels_are_counted_where_they_belong(name: str, group: str) -> None:
    assert _group(name) == group
