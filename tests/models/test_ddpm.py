"""The DDPM: its targets and weights, what it draws, samples, denoises and bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genai_cli.config import compose
from genai_cli.data.dataset import Batch, Spec
from genai_cli.diffusion import objective, samplers
from genai_cli.diffusion.denoiser import SamplerSettings
from genai_cli.diffusion.schedule import expand
from genai_cli.errors import UserError
from genai_cli.models.ddpm import DDPM
from genai_cli.rng import RowGenerator
from genai_cli.runner.prepare import prepare

PLANE = Spec(event_shape=(2,))
LABELLED = Spec(event_shape=(2,), target="labels", classes=("a", "b", "c"))
IMAGE = Spec(event_shape=(1, 8, 8), levels=17, unit_interval=True)
PREDICTIONS = ("eps", "x0", "v", "edm")
SAMPLERS = ("ddim", "ancestral", "ancestral_large", "heun", "dpmpp")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def ddpm(build: Callable[..., DDPM]) -> Callable[..., DDPM]:
    """A small DDPM whose network says something from the start."""

    def make(data: Spec = PLANE, loss: str | dict = "simple", **keys) -> DDPM:
        torch.manual_seed(0)
        keys = {"channels": [8], "widths": [16], "timesteps": 40, "sample_steps": 8} | keys
        node = {"name": loss} if isinstance(loss, str) else loss
        model = build("ddpm", data, node, keys.pop("bottleneck", 5), **keys)
        with torch.no_grad():
            for p in model.parameters():
                if not p.any():
                    p.normal_(std=0.1)
        return model

    return make


def data(model: DDPM, n: int = 6) -> Batch:
    x = draw(n, *model.event_shape, seed=5)
    y = torch.arange(n) % model.classes if model.classes else None
    return Batch((x.sigmoid() * 16).round() / 16 if model.unit_interval else 2 + 3 * x, y)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_target_gives_back_the_example(ddpm, prediction: str):
    model = ddpm(prediction=prediction)
    x0, eps, t = draw(40, 2), draw(40, 2, seed=1), torch.arange(1, 41)
    alpha, sigma = expand(model.schedule.alpha(t), x0), expand(model.schedule.sigma(t), x0)
    target = model.denoiser.target(x0, eps, alpha, sigma)
    found = model.denoiser.x0_from(target, alpha * x0 + sigma * eps, alpha, sigma)
    torch.testing.assert_close(found, x0, rtol=1e-6, atol=1e-6)


def test_v_is_the_velocity_along_the_circle():
    """d(α x_0 + σ eps) / dφ with α = cos φ, σ = sin φ (Salimans & Ho 2022, appendix D)."""
    x0, eps, phi = draw(5), draw(5, seed=1), torch.tensor(0.7, requires_grad=True)
    wanted = torch.autograd.functional.jacobian(lambda p: p.cos() * x0 + p.sin() * eps, phi)
    found = objective.target("v", x0, eps, phi.cos(), phi.sin())
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("level", [0.01, 0.5, 20.0])
def test_preconditioning_gives_input_and_target_variance_one(level: float):
    x0, eps, deviation = 0.4 * draw(200_000), draw(200_000, seed=1), torch.tensor(0.4)
    skip, out, c_in, c_noise = objective.preconditioning(torch.tensor(level), deviation)
    x = x0 + level * eps
    assert (c_in * x).var().item() == pytest.approx(1, abs=0.02)
    assert ((x0 - skip * x) / out).var().item() == pytest.approx(1, abs=0.02)
    assert c_noise.item() == pytest.approx(math.log(level) / 4)


def test_the_deviation_of_the_data_is_measured_for_preconditioning(ddpm):
    model = ddpm(IMAGE, prediction="edm")
    batch = data(model, 50)
    model.prepare(batch)
    wanted = (2 * batch.x - 1).std().log()
    torch.testing.assert_close(model.denoiser.log_sigma_data, wanted)
    assert "denoiser.log_sigma_data" in model.state_dict()


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_min_snr_is_a_clamped_weight_on_the_error_of_x0(ddpm, prediction: str):
    """Hang et al. 2023, eq. 9: min(SNR, γ) ‖x_0 − x̂_0‖² whatever is predicted."""
    model = ddpm(loss={"name": "min_snr", "gamma": 2.0}, prediction=prediction)
    x0, eps = draw(40, 2), draw(40, 2, seed=1)
    u = (torch.arange(40) + 0.5) / 40
    found = model.loss(Batch(x0, None), {"t": u, "eps": eps})["loss"]
    t = torch.arange(1, 41)
    x = model.schedule.diffuse(x0, eps, t)
    error = (model.denoiser.at_steps(x, t) - x0).square().mean(1)
    torch.testing.assert_close(
        found, model.schedule.snr(t).clamp(max=2.0) * error, rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_simple_is_the_squared_error_of_the_target(ddpm, prediction: str):
    model = ddpm(prediction=prediction)
    x0, noise = draw(30, 2), model.noise(30, generator())
    t = model.steps_of(noise["t"])
    alpha, sigma = expand(model.schedule.alpha(t), x0), expand(model.schedule.sigma(t), x0)
    out = model.denoiser.output(alpha * x0 + sigma * noise["eps"], t.to(x0), alpha, sigma, None)
    wanted = (out - model.denoiser.target(x0, noise["eps"], alpha, sigma)).square().mean(1)
    torch.testing.assert_close(model.loss(Batch(x0, None), noise)["loss"], wanted)


def test_vlb_is_the_bound_it_logs(ddpm):
    model = ddpm(loss="vlb")
    terms = model.loss(data(model), model.noise(6, generator()))
    torch.testing.assert_close(terms["loss"], terms["bound"])
    assert model.unit == "nats per example"
    model = ddpm(IMAGE, loss="vlb", clip_x0=False)
    terms = model.loss(data(model), model.noise(6, generator()))
    torch.testing.assert_close(terms["loss"], terms["bits_per_dim"] * math.log(2) * 64)


@pytest.mark.parametrize("loss", ["simple", "min_snr", "vlb"])
@pytest.mark.parametrize("spec", [PLANE, IMAGE], ids=["plane", "image"])
def test_the_bound_is_logged_under_every_loss(ddpm, loss: str, spec: Spec):
    model = ddpm(spec, loss)
    terms = model.loss(data(model), model.noise(6, generator()))
    assert set(terms) == {"loss", "bound" if spec is PLANE else "bits_per_dim"}


def test_edm_logs_a_bound_only_where_its_steps_are_uniform(ddpm):
    for loss, logged in (("simple", set()), ("vlb", {"bound"})):
        model = ddpm(prediction="edm", loss=loss)
        assert set(model.loss(data(model), model.noise(6, generator()))) == {"loss"} | logged


@pytest.mark.parametrize("spec", [PLANE, IMAGE], ids=["plane", "image"])
def test_one_step_averages_to_log_prob(ddpm, spec: Spec):
    model = ddpm(spec).eval()
    one = data(model, 1)
    model.prepare(data(model, 50))
    x, n = one.x.expand(1500, *model.event_shape), 1500
    (name,) = {"bound", "bits_per_dim"} & set(model.loss(one, model.noise(1, generator())))
    scale = math.log(2) * model.code_size if name == "bits_per_dim" else 1
    with torch.no_grad():
        nats = scale * model.loss(Batch(x, None), model.noise(n, generator()))[name]
    whole = -model.log_prob(one.x, generator(1), draws=30)
    # t is stratified, which only makes the mean better than this error says
    assert abs(nats.mean() - whole) < 5 * nats.std() / math.sqrt(n)


def test_the_bound_is_in_the_units_of_the_data(ddpm):
    """Scaling the data by a shifts a density by −log a in each dimension."""
    model = ddpm()
    batch = data(model, 50)
    model.prepare(batch)
    small = model.log_prob(batch.x, generator())
    model.prepare(Batch(batch.x * 10 + 1, None))
    torch.testing.assert_close(
        model.log_prob(batch.x * 10 + 1, generator()), small - 2 * math.log(10)
    )


def test_log_prob_is_a_lower_bound_on_a_density(ddpm):
    """∫ exp(log_prob) ≤ 1; and it is not a trivial one."""
    model = ddpm(Spec(event_shape=(1,)), timesteps=10, widths=[8])
    grid = torch.linspace(-12, 12, 121)[:, None]
    with torch.no_grad():
        mass = model.log_prob(grid, generator(), draws=200).exp().sum() * 24 / 120
    assert 0.5 < mass < 1


@pytest.mark.slow
@pytest.mark.parametrize("spec", [PLANE, IMAGE], ids=["plane", "image"])
def test_few_steps_estimate_the_bound_of_all(ddpm, spec: Spec):
    model = ddpm(spec)
    batch = data(model, 3)
    model.prepare(data(model, 50))
    torch.testing.assert_close(
        model.log_prob(batch.x, generator(), steps=40), model.log_prob(batch.x, generator())
    )
    whole = model.log_prob(batch.x, generator(1), draws=200)
    n = 600
    x = batch.x.repeat(n, *[1] * (batch.x.ndim - 1))
    for steps in (1, 6, 15):
        found = model.log_prob(x, generator(2), steps=steps).view(n, 3)
        error = found.std(0) / math.sqrt(n)
        noise = whole.abs() * 0.003  # of the whole sum's own 200 draws
        assert ((found.mean(0) - whole).abs() < 4.5 * error + noise).all()
        assert (found.std(0) > 0).all()


def test_a_bound_from_few_steps_does_not_depend_on_the_batch(ddpm):
    model = ddpm(IMAGE)
    x = data(model, 20).x
    whole = model.log_prob(x, RowGenerator(0, "a", 0, 20), steps=7)
    parts = [model.log_prob(x[i : i + 3], RowGenerator(0, "a", i, len(x[i : i + 3])), steps=7)
             for i in range(0, 20, 3)]  # fmt: skip
    torch.testing.assert_close(torch.cat(parts), whole)


def test_vectors_are_standardised_and_constant_columns_survive(ddpm):
    model = ddpm(Spec(event_shape=(3,)))
    x = torch.cat([5 + 2 * draw(500, 2), torch.full((500, 1), 7.0)], 1)
    model.prepare(Batch(x, None))
    scaled = model.scaling(x)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-9, rtol=0)
    torch.testing.assert_close(scaled[:, :2].std(0, correction=0), torch.ones(2))
    assert not scaled[:, 2].any()
    torch.testing.assert_close(model.scaling.inverse(scaled), x)
    assert {"scaling.shift", "scaling.scale"} <= set(model.state_dict())


def test_images_lie_on_minus_one_to_one(ddpm):
    model = ddpm(IMAGE)
    model.prepare(Batch(torch.rand(9, 1, 8, 8), None))
    assert model.scaling(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]
    assert "shift" not in model.state_dict()


def test_times_are_stratified_and_shuffled(ddpm):
    model = ddpm()
    t = model.noise(100, generator())["t"]
    assert torch.equal((t * 100).long().sort().values, torch.arange(100))
    assert t[:10].std() > 0.1  # any slice meets all levels
    firsts = torch.stack([model.noise(1, generator(s))["t"] for s in range(300)])
    assert abs(firsts.mean() - 0.5) < 5 / math.sqrt(12 * 300)


def test_steps_are_uniform_from_one_to_t(ddpm):
    u = (torch.arange(4000) + 0.5) / 4000
    steps, counts = ddpm().steps_of(u).unique(return_counts=True)
    assert torch.equal(steps, torch.arange(1, 41))
    assert (counts == 100).all()
    assert ddpm().steps_of(torch.tensor([0.0, 1 - 1e-16])).tolist() == [1, 40]


def test_edm_draws_log_normal_levels(ddpm):
    model = ddpm(prediction="edm", timesteps=4000, p_mean=-0.5, p_std=0.8)
    levels = model.schedule.level(model.steps_of((torch.arange(4000) + 0.5) / 4000)).log()
    assert levels.mean().item() == pytest.approx(-0.5, abs=0.01)
    assert levels.std().item() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_rows_do_not_depend_on_how_they_are_batched(ddpm, sampler: str):
    model = ddpm(LABELLED, conditional=True)
    whole = model.sample(6, generator=RowGenerator(3, "sample", 0, 6), sampler=sampler)
    parts = [
        model.sample(n, generator=RowGenerator(3, "sample", s, n), sampler=sampler)
        for s, n in ((0, 2), (2, 4))
    ]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert whole.unique(dim=0).shape == whole.shape


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_image_samples_are_images(ddpm, prediction: str):
    model = ddpm(IMAGE, prediction=prediction)
    for sampler in SAMPLERS:
        x = model.sample(3, sampler=sampler, steps=4)
        assert x.shape == (3, 1, 8, 8), sampler
        assert ((x >= 0) & (x <= 1)).all(), sampler
        assert x.std() > 0, sampler


def test_options_of_sample_override_those_of_the_model(ddpm):
    model = ddpm(sampler="ancestral", sample_steps=5)
    default = model.sample(4, generator=generator())
    assert torch.equal(
        default, model.sample(4, generator=generator(), sampler="ancestral", steps=5)
    )
    for options in ({"sampler": "ddim"}, {"steps": 6}, {"sampler": "dpmpp"}):
        assert not torch.allclose(default, model.sample(4, generator=generator(), **options))
    none, some = (model.sample(4, generator=generator(), sampler="ddim", eta=e) for e in (0.0, 0.7))
    assert not torch.allclose(none, some)


def test_a_sampler_takes_all_steps_there_are_where_none_are_asked_for(ddpm):
    model = ddpm(timesteps=7, sample_steps=None)
    seven, all_steps = (model.sample(4, generator=generator(), steps=n) for n in (7, None))
    assert torch.equal(seven, all_steps)
    assert ddpm(timesteps=1000, sample_steps=None).settings.steps == 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 8}, ("steps=8", "7 steps")),
        ({"sampler": "heun", "steps": 8}, ("steps=8", "7 steps")),
        ({"sampler": "heun", "eta": 1.0}, ("eta=1", "heun")),
        ({"sampler": "ancestral", "eta": 0.3}, ("eta=0.3", "ancestral")),
        ({"guidance": 7.0}, ("guidance=7", "model.conditional=true")),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(ddpm, options, words):
    model = ddpm(timesteps=7, sample_steps=None)
    with pytest.raises(UserError) as caught:
        model.sample(2, generator=generator(), **options)
    assert all(word in str(caught.value) for word in words)
    keys = {"sample_steps" if k == "steps" else k: v for k, v in options.items()}
    with pytest.raises(UserError) as caught:
        ddpm(timesteps=7, **({"sample_steps": None} | keys))
    assert all(word in str(caught.value) for word in ("model.", *words[1:]))


def test_labels_must_be_hidden_at_times(ddpm):
    with pytest.raises(UserError, match=r"label_dropout=0 .*label_dropout=0\.1"):
        ddpm(LABELLED, conditional=True, label_dropout=0.0)


def test_the_range_of_vectors_is_kept_with_the_weights(ddpm):
    model, twin = ddpm(), ddpm()
    model.prepare(Batch(3 + 2 * draw(50, 2), None))
    twin.load_state_dict(model.state_dict())
    assert torch.equal(
        model.sample(4, generator=generator()), twin.sample(4, generator=generator())
    )
    assert model.denoiser.high.max() < 10


def test_guidance_mixes_with_and_without_class(ddpm):
    model = ddpm(LABELLED, conditional=True, timesteps=10)
    d, x, y = model.denoiser, draw(3, 2), torch.tensor([0, 1, 2])
    t, alpha, sigma = torch.tensor(4.0), model.schedule.alpha(4), model.schedule.sigma(4)
    steps = torch.full((3,), 4)
    conditional, plain = d.at_steps(x, steps, y), d.at_steps(x, steps, d.labels(3, None))
    assert not torch.allclose(conditional, plain)
    for w in (0.0, 1.0, 3.0):
        wanted = plain + w * (conditional - plain)
        torch.testing.assert_close(d.x0(x, t, alpha, sigma, y, w), wanted)
    samples = [
        model.sample(4, torch.tensor([0, 1, 2, 0]), generator(), guidance=w)
        for w in (0.0, 1.0, 3.0)
    ]
    assert all(not torch.allclose(a, b) for a, b in itertools.pairwise(samples))


def test_labels_are_hidden_in_training_and_only_there(ddpm):
    model = ddpm(LABELLED, conditional=True, label_dropout=0.3)
    batch, noise = data(model), model.noise(6, generator())
    noise["drop"] = torch.tensor([0.0, 0.29, 0.31, 0.5, 0.9, 1.0])
    found = model.loss(batch, noise)["loss"]
    y = torch.where(noise["drop"] < 0.3, 3, batch.y)
    wanted = model.loss(Batch(batch.x, y), {k: noise[k] for k in ("t", "eps")})["loss"]
    torch.testing.assert_close(found, wanted)
    assert not torch.allclose(found, model.loss(batch, {k: noise[k] for k in ("t", "eps")})["loss"])
    assert "drop" not in model.eval().noise(6, generator())


def test_classes_are_drawn_where_none_are_given(ddpm):
    model, seen = ddpm(LABELLED, conditional=True), []
    model.denoiser.denoise_chain = lambda x, y, how, draw: seen.append(y) or [x]
    model.sample(3000, generator=generator())
    counts = seen[0].bincount(minlength=3)
    assert ((counts - 1000).abs() < 150).all()


def test_decode_is_ddim_from_the_prior(ddpm):
    model = ddpm(IMAGE)
    z = model.prior(3, generator())
    assert z.shape == (3, model.code_size) == (3, 64)
    torch.testing.assert_close(
        model.decode(z), model.sample(3, generator=generator(), sampler="ddim")
    )
    assert torch.equal(model.decode(z), model.decode(z))


def test_a_trajectory_goes_from_noise_to_the_sample(ddpm):
    model = ddpm()
    frames = model.trajectory(3, generator=generator(), frames=5)
    assert frames.shape == (5, 3, 2)
    torch.testing.assert_close(frames[0], model.scaling.inverse(model.prior(3, generator())))
    torch.testing.assert_close(frames[-1], model.sample(3, generator=generator()))
    alone = model.trajectory(3, generator=generator(), frames=1)
    torch.testing.assert_close(alone, frames[-1:])


def test_a_reconstruction_is_noised_and_denoised(ddpm):
    model = ddpm(IMAGE, reconstruct_at=0.25)
    x = data(model).x
    rows = model.stages(x, generator())
    noised, denoised = rows.values()
    assert list(rows) == ["noised to t = 10 of 40", "denoised"]
    torch.testing.assert_close(model.reconstruct(x), denoised)
    x_t = model.schedule.diffuse(model.scaling(x), draw(*x.shape), torch.full((6,), 10))
    torch.testing.assert_close(noised, model.scaling.inverse(x_t).clamp(0, 1))
    walk = model.denoiser.denoise_chain(x_t, None, SamplerSettings("ddim", 2), lambda: x_t, 10)
    torch.testing.assert_close(denoised, model.scaling.inverse(list(walk)[-1]))
    little = ddpm(IMAGE, reconstruct_at=0.0).stages(x, generator())
    assert next(iter(little)) == "noised to t = 1 of 40"


@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpmpp"])
def test_all_deterministic_samplers_follow_one_path(ddpm, sampler: str):
    """On the exact denoiser of N(1, ½²), from the same noise, they end at the same points."""
    model = ddpm(timesteps=1000, noise_schedule="linear")

    def exact(x, t, alpha, sigma, y, guidance):
        return 1 + 0.25 * alpha * (x - alpha) / (0.25 * alpha**2 + sigma**2)

    model.denoiser.x0 = exact
    z = model.prior(5, generator())
    found = model.sample(5, generator=generator(), sampler=sampler, steps=300)
    torch.testing.assert_close(found, 1 + 0.5 * z, atol=0.02, rtol=0)


@pytest.mark.trains
@pytest.mark.parametrize("network", ["unet", "mlp"])
def test_four_images_are_learned_by_heart(
    ddpm, network: str, train_seed: int, assert_below: Callable
):
    torch.manual_seed(train_seed)
    keys = {"widths": [128], "channels": [8], "bottleneck": 16, "attention": False}
    model = ddpm(IMAGE, network=network, timesteps=100, **keys)
    x = (draw(4, 1, 8, 8, seed=train_seed) > 0).to(torch.float64)
    batch = Batch(x.repeat(8, 1, 1, 1), None)
    before = (model.reconstruct(x) - x).square().mean()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(120):
        noise = model.noise(32, generator(1000 * train_seed + step))
        loss = model.loss(batch, noise)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = (model.reconstruct(x) - x).square().mean()  # from half noise
    assert_below(after.item(), before.item() / 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset=diabetes", "model.conditional=true"), "conditional=true needs.*labels"),
        (("loss=min_snr", "model.prediction=edm"), "min_snr does not go with.*loss=simple"),
        (("model.network=unet", "dataset=moons"), "needs images.*model.network=mlp"),
        (("model.channels=[8,8,8]",), "halves an image 3 times.*allows 2"),
        (("dataset.pair=superresolution",), "models one image, not a pair"),
        (("loss=mse",), "loss=mse does not fit"),
        (("model.eta=1.5",), "model.eta=1.5 is not allowed"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str):
    (cell,) = compose.compose_cells("train", compose.parse_line(["model=ddpm", *words]))
    with pytest.raises(UserError, match=message):
        prepare(cell.config, lambda text: None)


def test_labels_for_a_model_that_knows_none_are_refused(ddpm):
    with pytest.raises(UserError, match=r"knows no labels.*model\.conditional=true"):
        ddpm().sample(2, torch.zeros(2))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_samples_of_vectors_stay_near_the_data(ddpm, prediction: str):
    """Where nothing of the data is left, an error of eps is multiplied by up to 20,000."""
    for schedule in ["linear", "cosine", "sigmoid"]:
        model = ddpm(prediction=prediction, noise_schedule=schedule, timesteps=1000)
        x = data(model, 200).x
        model.prepare(Batch(x, None))
        for sampler in SAMPLERS:
            found = model.sample(50, generator=generator(), sampler=sampler, steps=20)
            low, high = x.amin(0), x.amax(0)
            assert (found > low - (high - low)).all(), sampler
            assert (found < high + (high - low)).all(), sampler


def test_the_bound_of_vectors_is_not_clipped(ddpm):
    model = ddpm()
    model.prepare(Batch(data(model, 200).x, None))
    far = torch.full((1, 2), 40.0)
    x0, eps = model.scaling(far), draw(1, 2)
    assert (x0 > model.denoiser.high).all()
    t = torch.ones(1, dtype=torch.long)
    x = model.schedule.diffuse(x0, eps, t)
    alpha, sigma = model.schedule.alpha(1), model.schedule.sigma(1)
    free = model.denoiser.x0_from(
        model.denoiser.output(x, t.to(x), alpha, sigma, None), x, alpha, sigma
    )
    torch.testing.assert_close(model.denoiser.at_steps(x, t), free)
    assert (model.denoiser.x0(x, torch.tensor(1.0), alpha, sigma) < free).all()


def test_every_sampler_name_is_known():
    from typing import get_args

    assert set(get_args(samplers.Sampler)) == set(SAMPLERS)
