"""onnxruntime's own spelling of ops that the standard has, or lacks by a hair.

elementwise: where the standard has the op, its own steps. Otherwise, for each element of the result: a matrix
inverse 2 for each row of the matrix (a multiply and an add), distances 3 for each coordinate (subtract, square,
add), crop and resize 8 (four corners), a softmax of a sum 1 more than a softmax; hashes and repeated n-grams 1
for each element read.
"""

from __future__ import annotations

import msgspec
import numpy as np

from analyzer.graph import DTYPE_NAMED, INT32, INT64, Size
from analyzer.ops.rule import MICROSOFT, Facts, Setting, axis_of, refuse, rule
from analyzer.ops.shared.standard import result, standard
from analyzer.spans import DATA, NOTHING, POINTWISE, WHOLE, Route, Routes, straight, window


@rule("Trilu", domain=MICROSOFT)
def trilu(x: Size, k: Setting | None = None, *, upper: int = 1) -> Facts:
    """A triangle of each matrix."""
    return standard("Trilu", x, k, upper=upper)


@rule("Pad", domain=MICROSOFT)
def pad(x: Size, pads: Setting, value: Setting | None = None, *, mode: str = "constant") -> Facts:
    """Rows added at both ends of every axis."""
    return standard("Pad", x, pads, value, mode=mode)


@rule("Range", domain=MICROSOFT)
def range_(start: Setting, limit: Setting, delta: Setting | None = None) -> Facts:
    """Numbers from `start` up to `limit`, in steps of 1 where nothing is said."""
    return standard("Range", start, limit, delta or Size((), start.dtype, np.ones((), start.dtype.numpy)))


@rule("GatherND", domain=MICROSOFT)
def gather_nd(x: Size, indices: Setting) -> Facts:
    """Elements or slices by their coordinates."""
    return standard("GatherND", x, indices)


@rule("GridSample", domain=MICROSOFT)
def grid_sample(
    x: Size, grid: Size, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Facts:
    """x [N, C, H, W] at the points of a grid."""
    return standard(
        "GridSample", x, grid, version=16, align_corners=align_corners, mode=mode, padding_mode=padding_mode
    )


@rule("ExpandDims", domain=MICROSOFT)
def expand_dims(x: Size, axis: Setting) -> Facts:
    """An axis of 1 appears."""
    places = Size((1,), INT64, None if axis.value is None else np.array(axis.ints(), np.int64))
    return standard("Unsqueeze", x, places)


@rule("TorchEmbedding", domain=MICROSOFT)
def torch_embedding(
    weight: Size, indices: Size, padding_idx: Setting | None = None, scale_grad_by_freq: Setting | None = None
) -> Facts:
    """Rows of a table by number."""
    return standard("Gather", weight, indices, axis=0)


@rule("Unique", domain=MICROSOFT)
def unique(x: Size) -> Facts:
    """The distinct elements of a vector, where each element went, and how often: no more than there are elements."""
    bound = Size(x.shape, x.dtype, exact=False)
    return Facts(
        (bound, Size(x.shape, INT64), Size(x.shape, INT64, exact=False)), elementwise=x.count, spans=(DATA,)
    )


@rule("BiasSoftmax", domain=MICROSOFT)
def bias_softmax(x: Size, bias: Size, *, axis: int = 1, is_inner_broadcast: int) -> Facts:
    """The softmax of x + bias over `axis` and all after it."""
    said = standard("Softmax", x, version=11, axis=axis)
    steps = None if said.elementwise is None else said.elementwise + x.count
    return msgspec.structs.replace(said, elementwise=steps, spans=(said.span(0), POINTWISE))


@rule("SampleOp", domain=MICROSOFT)
def sample_op(x: Size) -> Facts:
    """A copy."""
    return Facts(Size(x.shape, x.dtype, x.value), spans=POINTWISE)


@rule("Inverse", domain=MICROSOFT)
def inverse(x: Size) -> Facts:
    """The inverse of each matrix [..., n, n]."""
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise refuse("RANK", f"{x.shape} holds no square matrices")
    y = Size(x.shape, x.dtype)
    routes: Routes = (*straight(x.rank - 2), WHOLE, WHOLE)
    return Facts(y, elementwise=2 * x.shape[-1] * x.count, spans=routes, saved=(y,))


@rule("CDist", domain=MICROSOFT)
def cdist(a: Size, b: Size, *, metric: str = "sqeuclidean") -> Facts:
    """Distances between the rows of a [M, N] and those of b [K, N]."""
    if a.rank != 2 or b.rank != 2 or a.shape[1] != b.shape[1]:
        raise refuse("DEPTH_MISMATCH", f"rows of {a.shape} and {b.shape} cannot be compared")
    y = Size((a.shape[0], b.shape[0]), a.dtype)
    spans = ((Route(0), WHOLE), (Route(1), WHOLE))
    return Facts(y, elementwise=3 * a.shape[1] * y.count, spans=spans, saved=(a, b, y))


@rule("CropAndResize", domain=MICROSOFT)
def crop_and_resize(
    x: Size,
    rois: Size,
    batch_indices: Size,
    crop_size: Setting,
    *,
    extrapolation_value: float = 0.0,
    mode: str = "bilinear",
) -> Facts:
    """Boxes of x [N, C, H, W], each resampled to one size."""
    if crop_size.value is None:
        return Facts(None, elementwise=None)
    height, width = crop_size.ints()
    y = Size((rois.shape[0], x.shape[1], height, width), x.dtype)
    boxes: Routes = (Route(0), WHOLE)
    return Facts(
        y, elementwise=8 * y.count, spans=((DATA, Route(1), DATA, DATA), boxes, (Route(0),), NOTHING)
    )


@rule("UnfoldTensor", domain=MICROSOFT)
def unfold_tensor(x: Size, *, dim: int = -1, size: int, step: int = 1) -> Facts:
    """Windows of `size` along an axis, each a row of a new last axis."""
    axis = axis_of(dim, x.rank)
    if size < 1 or step < 1 or size > x.shape[axis]:
        raise refuse(
            "KERNEL_TOO_LARGE",
            f"windows of {size} in steps of {step} do not fit {x.shape[axis]}",
            attribute="size",
        )
    windows = (x.shape[axis] - size) // step + 1
    y = Size((*x.shape[:axis], windows, *x.shape[axis + 1 :], size), x.dtype)
    routes = list(straight(x.rank))
    routes[axis] = Route(axis, window(size, step))
    return Facts(y, spans=tuple(routes))


@rule("MurmurHash3", domain=MICROSOFT)
def murmur_hash(x: Size, *, positive: int = 1, seed: int = 0) -> Facts:
    """A hash of each element."""
    return Facts(
        Size(x.shape, DTYPE_NAMED["uint32"] if positive else INT32), elementwise=x.count, spans=POINTWISE
    )


@rule("NGramRepeatBlock", domain=MICROSOFT)
def ngram_repeat_block(input_ids: Size, scores: Size, *, ngram_size: int) -> Facts:
    """Scores [N, words], those words out that would repeat an n-gram of the ids [N, steps]."""
    y = Size(scores.shape, scores.dtype)
    return Facts(y, elementwise=input_ids.count, spans=((Route(0), WHOLE), POINTWISE), inplace=(scores,))


@rule("BifurcationDetector", domain=MICROSOFT)
def bifurcation_detector(
    src_tokens: Size,
    cur_tokens: Size,
    prev_suffix_match_idx: Size,
    pred_tokens: Size | None = None,
    *,
    max_ngram_size: int = 3,
    min_ngram_size: int = 1,
) -> Facts:
    """The current tokens and so much of the predicted ones as holds, and where in the source to go on."""
    most = cur_tokens.count + (0 if pred_tokens is None else pred_tokens.count)
    tokens = Size((most,), cur_tokens.dtype, exact=pred_tokens is None)
    return Facts((tokens, Size((), INT64)), elementwise=src_tokens.count + most, spans=(DATA,))


@rule("Rfft", domain=MICROSOFT)
def rfft(x: Size, *, normalized: int = 0, onesided: int = 1, signal_ndim: int = 1) -> Facts:
    """Real signals along the last `signal_ndim` axes -> [..., frequencies, (real, imaginary)]."""
    said = standard("DFT", Size((*x.shape, 1), x.dtype), version=17, axis=x.rank - 1, onesided=onesided)
    return _spectral(said, Size(result(said).shape, x.dtype), x.rank - signal_ndim, x.rank, signal_ndim)


@rule("Irfft", domain=MICROSOFT)
def irfft(x: Size, *, normalized: int = 0, onesided: int = 1, signal_ndim: int) -> Facts:
    """[..., frequencies, (real, imaginary)] -> real signals."""
    said = standard("DFT", x, version=17, axis=x.rank - 2, inverse=1, onesided=onesided)
    return _spectral(
        said, Size(result(said).shape[:-1], x.dtype), x.rank - 1 - signal_ndim, x.rank, signal_ndim
    )


def _spectral(said: Facts, y: Size, kept: int, rank: int, signal_ndim: int) -> Facts:
    """All axes from `kept` on are read whole; of more than one the steps are not known."""
    routes: Routes = (*straight(kept), *(WHOLE,) * (rank - kept))
    return Facts(y, elementwise=said.elementwise if signal_ndim == 1 else None, spans=routes)
