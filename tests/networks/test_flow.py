"""Flow layers: exact inverses, exact log-dets, and the numbers of an independent library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from zuko.transforms import CouplingTransform, MonotonicAffineTransform, MonotonicRQSTransform

from genai_cli.errors import UserError
from genai_cli.networks.flow import spline
from genai_cli.networks.flow.chain import Chain, ZeroMLP, vector_flow
from genai_cli.networks.flow.coupling import Checkerboard, Coupling
from genai_cli.networks.flow.dequantise import Dequantiser, log_normal
from genai_cli.networks.flow.elementwise import LOG_SCALE_BOUND, AffineElement, Spline
from genai_cli.networks.flow.images import CouplingConv, Multiscale, check_scales, most_scales
from genai_cli.networks.flow.inputs import Logit, Standard, Uniform
from genai_cli.networks.flow.linear import LU, ActNorm, Permute, order_of

IMAGES = [(1, 8, 8), (3, 4, 4), (2, 5, 3), (1, 1, 2)]
SLOPE = 1e-3  # zuko bounds a log-scale a as a / (1 + |a / log SLOPE|)
SETTINGS = {"bins": 5, "bound": 3.0, "mixing": "lu", "channels": 4, "depth": 1, "checkerboards": 2}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


def shaken(layer: nn.Module, by: float = 0.2) -> nn.Module:
    """The layer with all parameters moved, so that nothing is the identity any more."""
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(by * torch.randn_like(p))
    return layer


def check(layer: nn.Module, x: Tensor) -> None:
    """Round trip, and the log-det of the autograd Jacobian."""
    with torch.no_grad():
        z, logdet = layer(x)
        back = layer.inverse(z)
    assert logdet.shape == (len(x),)
    assert (back - x).abs().max() < 1e-9
    assert (z - x.reshape(z.shape)).abs().max() > 1e-3  # it does something
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda row: layer(row.view(1, *x.shape[1:]))[0].flatten(), x[i].flatten()
        )
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, logdet[i])


def mlp(inputs: int, outputs: int) -> nn.Module:
    return ZeroMLP([inputs, 8, outputs], "tanh")


def conv(size: tuple[int, int]) -> Callable[[int, int], nn.Module]:
    return lambda inputs, outputs: CouplingConv(inputs, outputs, size, 4, 1, "tanh")


ELEMENTS = {"affine": AffineElement(), "spline": Spline(5, 3.0)}


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
def test_coupling_of_vectors(element):
    for dim in [1, 2, 3, 6]:
        check(shaken(Coupling(dim, element, mlp)), 2 * torch.randn(7, dim))


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_checkerboard_coupling(element, shape: tuple[int, ...]):
    for odd in [False, True]:
        layer = shaken(Checkerboard(shape, odd, element, conv(shape[1:])))
        x = torch.randn(3, *shape)
        check(layer, x)
        z, _ = layer(x)
        rows, columns = torch.meshgrid(*(torch.arange(s) for s in shape[1:]), indexing="ij")
        stays = (rows + columns) % 2 == int(odd)
        assert torch.equal(z[..., stays], x[..., stays]), odd
        assert (z[..., ~stays] != x[..., ~stays]).all(), odd


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
def test_channel_coupling_of_images(element):
    layer, x = shaken(Coupling(4, element, conv((2, 3)))), torch.randn(3, 4, 2, 3)
    check(layer, x)
    assert torch.equal(layer(x)[0][:, :2], x[:, :2])


@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)], ids=str)
@pytest.mark.parametrize("make", [lambda: ActNorm(4), lambda: LU(4, 1), lambda: Permute(4, 1)])
def test_linear_layers(make: Callable[[], nn.Module], shape: tuple[int, ...]):
    check(shaken(make()), torch.randn(3, *shape))


def test_actnorm_makes_its_first_batch_standard():
    for shape in ((3,), (3, 4, 5)):
        x = 7 * torch.randn(50, *shape) - 20
        layer = ActNorm(3)
        layer.prepare(x)
        channels = layer(x)[0].transpose(0, 1).flatten(1)
        torch.testing.assert_close(channels.mean(1), torch.zeros(3))
        torch.testing.assert_close(channels.var(1, correction=0), torch.ones(3))


def test_actnorm_survives_a_constant_channel():
    layer, x = ActNorm(2), torch.ones(5, 2)
    layer.prepare(x)
    assert torch.equal(layer(x)[0], torch.zeros(5, 2))
    assert layer.log_scale.isfinite().all()


def test_lu_is_the_matrix_of_its_factors():
    layer, x = shaken(LU(5, 3)), torch.randn(4, 5)
    low, up = layer.factors()
    assert torch.equal(low, low.tril())
    assert torch.equal(up, up.triu())
    assert torch.equal(low.diagonal(), torch.ones(5))
    matrix = low @ up @ torch.eye(5)[layer.order]
    torch.testing.assert_close(layer(x)[0], x @ matrix.T)
    torch.testing.assert_close(layer(x)[1], torch.linalg.slogdet(matrix).logabsdet.expand(4))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 9, 64])
def test_orders_are_permutations_that_depend_on_the_layer(channels: int):
    orders = [order_of(channels, i) for i in range(4)]
    for order in orders:
        assert order.sort().values.tolist() == list(range(channels))
    assert torch.equal(orders[0], order_of(channels, 0))
    assert (channels < 4) == all(torch.equal(orders[0], o) for o in orders)


def test_half_of_the_dimensions_change_places_in_two_dimensions():
    assert order_of(2, 0).tolist() == [1, 0]


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("mixing", ["lu", "permute"])
def test_vector_flow(mixing: str, coupling: str):
    for dim in [1, 2, 5]:
        flow = vector_flow(dim, steps=3, widths=[8], coupling=coupling, bins=5, mixing=mixing)
        check(shaken(flow), torch.randn(6, dim))
        assert flow.droppable == (0 if dim == 1 else 3 * 8), dim


@pytest.mark.parametrize(
    ("shape", "coupling"), [*((shape, "spline") for shape in IMAGES), (IMAGES[2], "affine")]
)
def test_multiscale_flow(shape: tuple[int, ...], coupling: str):
    flow = shaken(Multiscale(shape, scales=None, steps=2, coupling=coupling, **SETTINGS), 0.1)
    x = torch.randn(3, *shape)
    z, _ = flow(x)
    assert z.shape == (3, math.prod(shape))
    check(flow, x)


def test_couplings_start_as_identities():
    for flow in (
        vector_flow(3, steps=1, widths=[8], mixing="permute"),
        vector_flow(3, steps=1, widths=[8], mixing="permute", coupling="affine"),
    ):
        x = torch.randn(4, 3)
        z, logdet = flow(x)
        torch.testing.assert_close(z, x.flip(1))
        torch.testing.assert_close(logdet, torch.zeros(4))


def test_preparing_a_flow_leaves_standard_numbers_after_every_actnorm():
    x = 3 * torch.randn(40, 2, 4, 4) + 1
    chains = [
        vector_flow(5, steps=3),
        Multiscale((2, 4, 4), scales=2, steps=2, coupling="affine", **SETTINGS),
    ]
    for flow, data in zip(chains, (x.flatten(1)[:, :5], x), strict=True):
        seen: list[Tensor] = []
        for layer in flow.modules():
            if isinstance(layer, ActNorm):
                layer.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out[0]))
        flow.prepare(data)
        seen.clear()
        flow(data)
        assert seen
        for out in seen:
            channels = out.transpose(0, 1).flatten(1)
            torch.testing.assert_close(channels.mean(1), torch.zeros(len(channels)))
            torch.testing.assert_close(channels.var(1, correction=0), torch.ones(len(channels)))


def test_path_ends_where_the_inverse_does():
    z = torch.randn(3, 16)
    multi = shaken(Multiscale((1, 4, 4), scales=2, steps=1, coupling="affine", **SETTINGS))
    *early, last = multi.path(z)
    assert torch.equal(last, multi.inverse(z))
    assert len(early) == 1
    assert not torch.allclose(early[0], last)
    chain = shaken(vector_flow(16, steps=2, widths=[8]))
    states = list(chain.path(z))
    assert len(states) == len(chain.layers)
    assert torch.equal(states[-1], chain.inverse(z))


def test_undoing_no_scale_only_rearranges():
    multi = shaken(Multiscale((1, 4, 4), scales=2, steps=1, coupling="affine", **SETTINGS))
    z = torch.randn(3, 16)
    rearranged = multi.inverse(z, 0)
    assert torch.equal(rearranged.flatten(1).sort(1).values, z.sort(1).values)


def test_split_codes_are_standardised_by_a_gaussian_that_the_others_predict():
    multi = shaken(Multiscale((1, 4, 4), scales=2, steps=1, coupling="affine", **SETTINGS))
    x, (split,) = torch.randn(2, 1, 4, 4), multi.splits
    seen: list[tuple[Tensor, Tensor]] = []
    split.register_forward_hook(lambda m, inputs, out: seen.append((inputs[0], out[1])))
    z, _ = multi(x)
    ((h, logdet),) = seen
    raw = split.net(h[:, :2]).unflatten(1, (2, 2))
    sigma = (-LOG_SCALE_BOUND * torch.tanh(raw[:, 0] / LOG_SCALE_BOUND)).exp()
    mu = -raw[:, 1] * sigma
    normal = torch.distributions.Normal(mu, sigma)
    code = z[:, multi.coarsest :]
    torch.testing.assert_close(
        normal.log_prob(h[:, 2:]).flatten(1).sum(1), log_normal(code) + logdet
    )


@pytest.mark.parametrize(
    ("shape", "most"), [((1, 28, 28), 2), ((1, 8, 8), 3), ((3, 32, 32), 5), ((2, 15, 9), 0)]
)
def test_scales_go_as_far_as_sides_halve(shape: tuple[int, ...], most: int):
    assert most_scales(shape) == most
    assert check_scales(shape, None) == min(2, most)
    assert check_scales(shape, most) == most
    with pytest.raises(UserError, match=rf"scales={most + 1} .*at most model.scales={most}"):
        check_scales(shape, most + 1)


def test_dropout_masks_reach_every_network_once():
    for flow, x in (
        (vector_flow(4, steps=2, widths=[3, 5]), torch.randn(2, 4)),
        (
            Multiscale((1, 4, 4), scales=2, steps=1, coupling="affine", **SETTINGS),
            torch.randn(2, 1, 4, 4),
        ),
    ):
        shaken(flow)
        keep = torch.ones(2, flow.droppable)
        plain = flow(x)[0]
        torch.testing.assert_close(flow(x, keep)[0], plain)
        silent = 0
        for unit in range(flow.droppable):
            one = keep.clone()
            one[:, unit] = 3.0
            silent += torch.equal(flow(x, one)[0], plain)
        assert silent < flow.droppable / 2  # a ReLU may be off for both examples


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_spline_agrees_with_zuko(spread: float):
    x = torch.cat([torch.linspace(-5, 5, 1001), torch.randn(999)])
    raw = spread * torch.randn(len(x), 3 * 6 - 1)
    theirs = MonotonicRQSTransform(raw[:, :6], raw[:, 6:12], raw[:, 12:], bound=3.0)
    at = (theirs.horizontal, theirs.vertical, theirs.derivatives)
    y, log_slope = spline.forward(x, at)
    wanted, wanted_slope = theirs.call_and_ladj(x)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(log_slope, wanted_slope)
    torch.testing.assert_close(spline.inverse(y, at), theirs.inv(wanted), rtol=1e-7, atol=1e-8)


def test_spline_knots_are_shares_of_the_interval():
    raw = 3 * torch.randn(9, 3 * 4 - 1)
    x, y, slopes = spline.knots(raw, 4, 2.0)
    for edges, part in ((x, raw[:, :4]), (y, raw[:, 4:8])):
        assert (edges[:, 0] == -2).all()
        assert (edges[:, -1] == 2).all()
        share = (edges.diff() / 4 - spline.LEAST_BIN) / (1 - 4 * spline.LEAST_BIN)
        torch.testing.assert_close(share, part.softmax(1))
    assert (slopes[:, [0, -1]] == 1).all()
    assert (slopes >= spline.LEAST_SLOPE).all()
    flat = spline.knots(torch.zeros(1, 11), 4, 2.0)
    torch.testing.assert_close(flat[0], torch.linspace(-2, 2, 5)[None])
    torch.testing.assert_close(flat[2], torch.ones(1, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spline_is_finite_and_the_identity_at_and_beyond_its_bound(dtype: torch.dtype):
    x = torch.tensor([-1e9, -3.0, 3.0, 1e9, 3.0000001], dtype=dtype)
    raw = 20 * torch.randn(5, 14, dtype=dtype, requires_grad=True)
    y, log_slope = spline.forward(x, spline.knots(raw, 5, 3.0))
    torch.testing.assert_close(y, x)
    (gradient,) = torch.autograd.grad((y + log_slope).sum(), raw)
    assert gradient.isfinite().all()
    assert log_slope.abs().max() < 1e-5


@pytest.mark.parametrize("dim", [2, 5])
def test_affine_coupling_agrees_with_zuko(dim: int):
    layer, x = shaken(Coupling(dim, AffineElement(), mlp)), torch.randn(6, dim)
    kept = dim // 2

    def meta(a: Tensor) -> MonotonicAffineTransform:
        raw = layer.net(a).unflatten(1, (2, -1))
        s = LOG_SCALE_BOUND * torch.tanh(raw[:, 0] / LOG_SCALE_BOUND)
        limit = abs(math.log(SLOPE))
        return MonotonicAffineTransform(raw[:, 1], s / (1 - s.abs() / limit), SLOPE)

    theirs = CouplingTransform(meta, torch.arange(dim) < kept)
    wanted, slope = theirs.call_and_ladj(x)
    z, logdet = layer(x)
    torch.testing.assert_close(z, wanted)
    torch.testing.assert_close(logdet, slope.sum(1))
    torch.testing.assert_close(layer.inverse(z), theirs.inv(z))


def test_affine_scales_are_bounded():
    raw = torch.tensor([[[1e6], [0.0]], [[-1e6], [0.0]], [[0.01], [5.0]]])
    z, log_scale = AffineElement().forward(torch.ones(3, 1), raw)
    torch.testing.assert_close(log_scale.flatten()[:2], torch.tensor([2.0, -2.0]))
    assert abs(log_scale[2].item() - 0.01) < 1e-6
    assert z[2].item() == pytest.approx(math.exp(log_scale[2].item()) + 5)


@pytest.mark.parametrize("make", [lambda: Logit(0.05), Uniform, lambda: Standard((2, 3))])
def test_first_maps(make: Callable[[], nn.Module]):
    first, v = make(), torch.rand(50, 2, 3)
    first.prepare(v)
    check(first, v)


def test_first_maps_have_their_closed_forms():
    v = torch.rand(4000, 3)
    s = 0.1 + 0.8 * v
    torch.testing.assert_close(Logit(0.1)(v)[0], (s / (1 - s)).log())
    z, _ = Uniform()(v)
    assert abs(z.mean().item()) < 0.05
    assert abs(z.var().item() - 1) < 0.05
    standard = Standard((3,))
    standard.prepare(5 * v - 2)
    z, _ = standard(5 * v - 2)
    torch.testing.assert_close(z.mean(0), torch.zeros(3))
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(3))


@pytest.mark.parametrize("shape", [(3,), (1, 4, 2)], ids=str)
def test_dequantiser_density_is_that_of_its_noise(shape: tuple[int, ...]):
    q = Dequantiser(shape, steps=2, widths=[6], channels=4, depth=1, activation="tanh")
    x, eps = torch.rand(3, *shape), torch.randn(3, *shape)
    u, log_q = q(x, eps)
    torch.testing.assert_close(u, torch.special.ndtr(eps))  # uniform at first
    torch.testing.assert_close(log_q, torch.zeros(3))
    shaken(q)
    u, log_q = q(x, eps)
    assert (u > 0).all()
    assert (u < 1).all()
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda e, i=i: q(x[i : i + 1], e.view(1, *shape))[0].flatten(), eps[i].flatten()
        )
        wanted = log_normal(eps[i : i + 1]) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_q[i : i + 1], wanted)
    assert (q(x.flip(0), eps)[0] - u).abs().max() > 1e-4  # it looks at x


def test_chains_nest_their_log_dets():
    a, b = shaken(ActNorm(3)), shaken(LU(3, 0))
    x = torch.randn(4, 3)
    y, first = a(x)
    z, second = b(y)
    found, logdet = Chain([a, b])(x)
    torch.testing.assert_close(found, z)
    torch.testing.assert_close(logdet, first + second)


def test_mixing_is_exact_under_autocast():
    layer, x = shaken(LU(4, 0)).float(), torch.randn(3, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, _ = layer(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, layer(x)[0])
