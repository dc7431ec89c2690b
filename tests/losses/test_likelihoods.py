"""−log p(x | z): against torch.distributions, sums over all levels, and maximised likelihoods."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from genai_cli.data.dataset import Spec
from genai_cli.errors import UserError
from genai_cli.losses import likelihoods


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


VECTOR = Spec(event_shape=(6,))
GREY = Spec(event_shape=(6,), unit_interval=True)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def raw() -> Tensor:
    return draw(5, 6).requires_grad_()


@pytest.fixture
def x() -> Tensor:
    return draw(5, 6, seed=1)


def gaussian(sigma: float | str, data: Spec = VECTOR) -> likelihoods.Gaussian:
    return likelihoods.make({"name": "gaussian", "sigma": sigma}, data)


def logistic(levels: int, log_scale: float) -> likelihoods.Logistic:
    model = likelihoods.make({"name": "logistic"}, GREY._replace(levels=levels))
    torch.nn.init.constant_(model.log_scale, log_scale)
    return model


def test_bernoulli_is_torchs_and_the_cross_entropy_on_grey(raw: Tensor, x: Tensor):
    model = likelihoods.make({"name": "bernoulli"}, GREY)
    bits, p = (x > 0).double(), raw.sigmoid()
    torch.testing.assert_close(model.nll(raw, bits), -Bernoulli(p).log_prob(bits).sum(1))
    grey = x.sigmoid()
    wanted = -(grey * p.log() + (1 - grey) * (1 - p).log()).sum(1)
    torch.testing.assert_close(model.nll(raw, grey), wanted)
    torch.testing.assert_close(model.mean(raw), p)


@pytest.mark.parametrize("data", [VECTOR, GREY])
@pytest.mark.parametrize("sigma", [0.03, 1, 7.5])
def test_gaussian_of_fixed_sigma_is_torchs(raw: Tensor, x: Tensor, sigma: float, data: Spec):
    mean = raw.sigmoid() if data.unit_interval else raw
    wanted = -Normal(mean, float(sigma)).log_prob(x).sum(1)
    torch.testing.assert_close(gaussian(sigma, data).nll(raw, x), wanted)


def test_gaussian_of_learned_sigma_is_torchs_and_learns_it(raw: Tensor, x: Tensor):
    model = gaussian("learned")
    torch.nn.init.constant_(model.log_sigma, 0.4)
    nll = model.nll(raw, x)
    torch.testing.assert_close(nll, -Normal(raw, math.exp(0.4)).log_prob(x).sum(1))
    (found,) = torch.autograd.grad(nll.sum(), model.log_sigma)
    wanted = 30 - (x - raw).square().sum() * math.exp(-0.8)  # N − S / σ²
    torch.testing.assert_close(found, wanted.detach())


def test_gaussian_of_optimal_sigma_is_the_maximised_likelihood(raw: Tensor, x: Tensor):
    def cost(log_sigma: float) -> float:
        return -Normal(raw, math.exp(log_sigma)).log_prob(x).sum().item()

    best = minimize_scalar(cost, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
    assert gaussian("optimal").fitted_nll(raw, x).sum().item() == pytest.approx(best.fun, rel=1e-12)


def test_gaussian_of_optimal_sigma_has_the_gradient_of_the_maximised_likelihood(raw, x: Tensor):
    (found,) = torch.autograd.grad(gaussian("optimal").fitted_nll(raw, x).sum(), raw)
    squared = (x - raw).square().sum()
    (through,) = torch.autograd.grad(15 * squared.log(), raw, retain_graph=True)  # N/2 log S
    sigma = (squared / 30).sqrt().detach()
    (held,) = torch.autograd.grad(-Normal(raw, sigma).log_prob(x).sum(), raw)
    torch.testing.assert_close(found, through)
    torch.testing.assert_close(found, held)  # the envelope theorem


@pytest.mark.parametrize("sigma", ["optimal", "learned"])
def test_a_perfect_fit_has_a_finite_density(x: Tensor, sigma: str):
    raw, model = x.clone().requires_grad_(), gaussian(sigma)
    if sigma == "learned":
        torch.nn.init.constant_(model.log_sigma, -1e3)
    nll = (model.fitted_nll if sigma == "optimal" else model.nll)(raw, x)
    wanted = 6 * math.log(math.sqrt(2 * math.pi) * 0.5 / 255)  # σ is at least half a grey level
    torch.testing.assert_close(nll, torch.full((5,), wanted))
    (gradient,) = torch.autograd.grad(nll.sum(), raw)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_logistic_probabilities_of_all_levels_sum_to_one(levels: int):
    for log_scale in [-9.0, -5.0, -2.0, 0.0, 3.0]:
        raw = torch.tensor([-40.0, -3.0, 0.0, 0.1, 2.5, 40.0])  # means at both edges and inside
        x = torch.arange(levels) / (levels - 1)
        log_p = -logistic(levels, log_scale).nll(
            raw.repeat_interleave(levels)[:, None], x.repeat(len(raw))[:, None]
        )
        total = log_p.view(len(raw), levels).exp().sum(1)
        torch.testing.assert_close(
            total, torch.ones(len(raw)), rtol=0, atol=1e-12, msg=f"{log_scale}: {{}}".format
        )


@pytest.mark.parametrize("levels", [17, 256])
def test_logistic_probability_is_a_difference_of_cdfs(levels: int):
    for log_scale in [-4.0, -2.0, 0.0, 3.0]:
        k = torch.arange(levels).repeat(3)
        raw = torch.tensor([-30.0, 0.3, 30.0]).repeat_interleave(levels)
        x, half = k / (levels - 1), 0.5 / (levels - 1)
        scale, mean = math.exp(log_scale), raw.sigmoid()
        above = torch.where(k == levels - 1, 1.0, ((x + half - mean) / scale).sigmoid())
        below = torch.where(k == 0, 0.0, ((x - half - mean) / scale).sigmoid())
        found = (-logistic(levels, log_scale).nll(raw[:, None], x[:, None])).exp()
        torch.testing.assert_close(
            found, above - below, rtol=1e-9, atol=1e-14, msg=f"{log_scale}: {{}}".format
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-50.0, -8.0, 20.0])
def test_logistic_is_finite_however_wrong_the_mean(log_scale: float, dtype: torch.dtype):
    model = logistic(256, log_scale).to(dtype)
    raw = torch.tensor([-100.0, 100.0, 0.0], dtype=dtype)[:, None].requires_grad_()
    for level in (0.0, 100 / 255, 1.0):
        nll = model.nll(raw, torch.full_like(raw, level))
        gradients = torch.autograd.grad(nll.sum(), [raw, model.log_scale])
        assert nll.isfinite().all()
        assert (nll >= 0).all()  # a probability
        assert all(g.isfinite().all() for g in gradients)


def test_logistic_sums_over_the_elements_of_an_image():
    model, x = logistic(17, -1.0), torch.randint(17, (4, 2, 3, 3)) / 16
    raw = draw(4, 2, 3, 3)
    each = model.nll(raw.reshape(-1, 1), x.reshape(-1, 1)).view(4, -1)
    torch.testing.assert_close(model.nll(raw, x), each.sum(1))


def test_logistic_takes_float32_levels_for_what_they_are():
    """255 · (k / 255) is not k in single precision; no level may fall into another's bin."""
    k = torch.arange(256)
    single = (k.to(torch.float32) / 255)[:, None]
    model = logistic(256, -3.0)
    exact = model.nll(torch.zeros(256, 1), (k / 255)[:, None])
    rough = model.float().nll(torch.zeros(256, 1, dtype=torch.float32), single)
    torch.testing.assert_close(rough.double(), exact, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (VECTOR, ["gaussian"]),
        (GREY, ["gaussian", "bernoulli"]),
        (GREY._replace(levels=17), ["logistic", "gaussian", "bernoulli"]),
    ],
)
def test_what_fits_the_data_best_first(data: Spec, wanted: list[str]):
    assert list(likelihoods.fitting(data)) == wanted


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "logistic"}, ("loss=logistic needs data with levels", "loss=gaussian")),
        ({"name": "mse"}, ("loss=mse", "bernoulli, gaussian, logistic")),
        ({"name": "gaussian", "sigma": 0.0}, ("loss.sigma=0.0", "> 0", "learned, optimal")),
        ({"name": "gaussian", "sigma": "optimum"}, ("loss.sigma=optimum",)),
        ({"name": "bernoulli", "sigma": 1.0}, ("'loss.sigma'",)),
    ],
)
def test_a_wrong_likelihood_is_one_line(node: dict, words: tuple[str, ...]):
    with pytest.raises(UserError) as caught:
        likelihoods.make(node, VECTOR)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def mass(levels: int, sigma: float) -> likelihoods.Gaussian:
    return gaussian(sigma, GREY._replace(levels=levels))


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_gaussian_masses_of_all_levels_sum_to_one(levels: int):
    for sigma in [1e-3, 0.02, 0.3, 5.0, 80.0]:
        raw = torch.tensor([-40.0, -3.0, 0.0, 0.1, 2.5, 40.0])  # means at both edges and inside
        x = torch.arange(levels) / (levels - 1)
        log_p = -mass(levels, sigma).mass_nll(
            raw.repeat_interleave(levels)[:, None], x.repeat(len(raw))[:, None]
        )
        total = log_p.view(len(raw), levels).exp().sum(1)
        torch.testing.assert_close(
            total, torch.ones(len(raw)), rtol=0, atol=1e-8, msg=f"{sigma}: {{}}".format
        )


def test_gaussian_mass_is_a_difference_of_cdfs():
    k = torch.arange(17).repeat(3)
    raw, half = torch.tensor([-30.0, 0.3, 30.0]).repeat_interleave(17), 0.5 / 16
    normal = Normal(raw.sigmoid(), 0.2)
    above = torch.where(k == 16, 1.0, normal.cdf(k / 16 + half))
    below = torch.where(k == 0, 0.0, normal.cdf(k / 16 - half))
    found = (-mass(17, 0.2).mass_nll(raw[:, None], k[:, None] / 16)).exp()
    torch.testing.assert_close(found, above - below, rtol=1e-7, atol=1e-14)


@pytest.mark.parametrize("levels", [1_001, 100_001, 10_000_001])
def test_gaussian_mass_of_a_narrow_bin_is_density_times_width(levels: int):
    x = torch.tensor([[0.1, 0.25, 0.5, 0.75]])
    model = mass(levels, 0.05)
    raw = torch.zeros(1, 4)  # means of 0.5: up to 8 σ away
    wanted = model.nll(raw, x) + 4 * math.log(levels - 1)
    torch.testing.assert_close(model.mass_nll(raw, x), wanted, rtol=0, atol=4e3 / levels**2)


@pytest.mark.parametrize("sigma", ["learned", "optimal"])
def test_gaussian_mass_uses_the_sigma_of_the_density(sigma: str):
    data = GREY._replace(levels=1_000_001)
    model, raw, x = gaussian(sigma, data), torch.zeros(1, 6), torch.full((1, 6), 0.4)
    for p in [*model.parameters(), *model.buffers()]:
        p.data.fill_(-1.5)
    wanted = model.nll(raw, x) + 6 * math.log(1_000_000)
    torch.testing.assert_close(model.mass_nll(raw, x), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [1e-3, 0.1, 100.0])
def test_gaussian_mass_is_finite_however_wrong_the_mean(sigma: float, dtype: torch.dtype):
    raw = torch.tensor([-100.0, 100.0, 0.0], dtype=dtype)[:, None]
    for level in (0.0, 100 / 255, 1.0):
        nll = mass(256, sigma).mass_nll(raw, torch.full_like(raw, level))
        assert nll.isfinite().all()
        assert (nll >= 0).all()  # a probability


def test_what_counts_levels_says_so():
    levels = GREY._replace(levels=17)
    assert mass(17, 1).counts
    assert logistic(17, 0).counts
    assert not gaussian(1, VECTOR).counts
    assert not likelihoods.make({"name": "bernoulli"}, levels).counts
    two = GREY._replace(levels=2)
    assert likelihoods.make({"name": "bernoulli"}, two).counts
    assert not likelihoods.make({"name": "bernoulli", "binarise": True}, two).counts
