"""What the contract asks of every model under configs/model, on every kind of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genai_cli.data.dataset import Batch, Spec
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator
from genai_cli.training.step import train_step


def rows(ready: Any, start: int, stop: int, noise: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of examples start … stop, with their share of the noise."""
    x, y = ready.batch
    part = Batch(x[start:stop], None if y is None else y[start:stop])
    return ready.losses(part, {k: v[start:stop] for k, v in noise.items()})


def test_a_loss_is_pure_finite_and_of_one_example_unless_the_model_says_otherwise(ready):
    model, noise, before = ready.model, ready.noise(), torch.get_rng_state()
    tensors = [*model.parameters(), *model.buffers()]
    given = [t for t in (*ready.batch, *noise.values()) if t is not None]
    copies = [t.clone() for t in [*tensors, *given]]
    first, second = (ready.losses(ready.batch, noise) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert all(torch.equal(a, b) for a, b in zip([*tensors, *given], copies, strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training

    parts = [rows(ready, start, stop, noise) for start, stop in ((0, 1), (1, 3), (3, 6))]
    same = all(
        torch.allclose(torch.cat([part[name] for part in parts]), values, rtol=1e-9, atol=1e-12)
        for name, values in first.items()
    )
    assert same != model.batch_dependent
    gaussian = ready.case.model in ("vae", "latent_flow") and ready.cfg.loss["name"] == "gaussian"
    optimal = gaussian and ready.cfg.loss.get("sigma", "optimal") == "optimal"
    assert model.batch_dependent == optimal  # only a batch's own sigma does

    evaluated = ready._replace(model=model.eval())
    for terms in (first, evaluated.losses(ready.batch, evaluated.noise())):
        assert {f"{player.name}/loss" for player in model.players()} <= set(terms)
        for name, values in terms.items():
            assert values.shape == (6,), name
            assert values.isfinite().all(), name
            assert values.dtype == torch.float64, name
    assert "keep" not in evaluated.noise()


def test_noise_is_of_its_generator_holds_the_dropout_and_weights_carry_the_model(ready):
    noise_is_of_its_generator(ready)
    if ready.cfg.model.get("dropout"):
        dropout_comes_from_the_mask(ready._replace(model=ready.built()))
    else:
        assert "keep" not in ready.noise()
    weights_carry_the_whole_model(ready)


def noise_is_of_its_generator(ready: Any) -> None:
    first, again, other = ready.noise(5), ready.noise(5), ready.noise(5, index=1)
    for name, values in first.items():
        assert len(values) == 5, name
        assert torch.equal(values, again[name]), name
        assert not torch.equal(values, other[name]), name


def dropout_comes_from_the_mask(ready: Any) -> None:
    """The mask has its rate and mean one, and a loss that it changes is plain without it."""
    noise = ready.noise()
    keep = ready.noise(400)["keep"]
    assert set(keep.unique().tolist()) == {0.0, 1 / 0.75}
    n = keep.numel()
    assert abs((keep == 0).double().mean().item() - 0.25) < 5 * (0.25 * 0.75 / n) ** 0.5
    assert abs(keep.mean().item() - 1) < 5 * (1 / 3 / n) ** 0.5
    with torch.no_grad():  # layers that start at zero would hide a mask
        for p in ready.model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    keep = noise.pop("keep")
    loss = f"{ready.model.players()[0].name}/loss"
    without = ready.losses(ready.batch, noise)[loss]
    ones = ready.losses(ready.batch, noise | {"keep": torch.ones_like(keep)})[loss]
    masked = ready.losses(ready.batch, noise | {"keep": keep})[loss]
    assert torch.equal(ones, without)
    assert not torch.allclose(masked, without)


def weights_carry_the_whole_model(ready: Any) -> None:
    noise = ready.noise()
    before = ready.losses(ready.batch, noise)
    torch.manual_seed(1)
    weights = {k: v + torch.rand_like(v) for k, v in ready.model.state_dict().items()}
    twin = ready.built()
    twin.load_state_dict(weights)
    ready.model.load_state_dict(weights)
    after, copy = ready.losses(ready.batch, noise), ready._replace(model=twin)
    for name, values in copy.losses(ready.batch, noise).items():
        assert torch.equal(values, after[name])
    assert not any(torch.equal(before[k], v) for k, v in after.items() if k.endswith("/loss"))


def test_every_parameter_gets_a_gradient_within_three_steps(case, prepare_case):
    every_parameter_gets_a_gradient(prepare_case(case, rows=8))


@pytest.mark.trains
def test_eight_examples_are_learned_by_heart(
    case, prepare_case, train_seed: int, assert_below: Callable
):
    ready = prepare_case(case, rows=8)
    if len(ready.model.players()) > 1 or ready.model.reconstructs_by == "denoising":
        return  # a loss that need not fall so far: see test_gan.py and _ddpm.py
    assert_below(steps_until_eight_examples_are_learned(ready, train_seed, most=400), 300)


def every_parameter_gets_a_gradient(ready: Any) -> None:
    model, touched = ready.model, set()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for step in range(3):
        model.step.fill_(step)
        for player in model.players():
            optimizer.zero_grad()
            model.loss(ready.batch, ready.noise(8, step), player.name)["loss"].mean().backward()
            for name, p in model.named_parameters():
                if p.grad is not None and p.grad.abs().max() > 0:
                    touched.add(name)
            optimizer.step()
    every = list(model.named_parameters())
    if len(model.players()) > 1:  # what is added to all scores of a discriminator may cancel
        every = [(name, p) for name, p in every if p.numel() > 1 or name in touched]
    assert touched == {name for name, _ in every}


def shortfall(model: Model, batch: Batch, noise: dict[str, Tensor]) -> float:
    """Squared error of what the model makes of the batch, or its loss where no code is used."""
    with torch.no_grad():
        if not hasattr(model, "reconstruct") or model.reconstructs_by != "code":
            return model.loss(batch, noise)["loss"].mean().item()
        target = batch.y if getattr(model, "to_image", False) else batch.x
        return (model.reconstruct(batch.x) - target).square().mean().item()


def steps_until_eight_examples_are_learned(ready: Any, seed: int, most: int) -> int:
    off = dict.fromkeys(("dropout", "denoise", "label_smoothing", "input_noise", "beta"), 0.0)
    model = ready.built(seed, **off)  # whatever keeps a model from it
    lr = 5e-3 if "model.network=conv" in ready.case.words else 1e-2  # those jump above it
    optimizer = torch.optim.Adam(model.parameters(), lr)
    start = shortfall(model, ready.batch, ready.noise(8))
    # dequantised levels keep the entropy of the noise between them: fewer bits, never none
    bounded = ready.data.spec.levels and model.reconstructs_by == "inversion"
    enough = start / (1.2 if bounded else 3)
    for step in range(most):
        model.step.fill_(step)
        optimizer.zero_grad()
        noise = ready._replace(model=model).noise(8, 1000 * seed + step)
        model.loss(ready.batch, noise)["loss"].mean().backward()
        optimizer.step()
        if step % 5 == 4:
            noise = ready._replace(model=model.eval()).noise(8)
            if shortfall(model, ready.batch, noise) < enough:
                return step + 1
            model.train()
    return most


def test_micro_batches_of_a_ragged_batch_give_the_same_step(case, prepare_case):
    for dtype, rtol in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        torch.set_default_dtype(dtype)
        ready = prepare_case(case, rows=7)  # three pieces of 3, 3 and 1
        if ready.model.batch_dependent:  # such a loss refuses micro-batches: test_vae.py
            words = (*case.words, "loss=gaussian", "loss.sigma=learned")
            ready = prepare_case(case._replace(words=words), rows=7)
        stepped = [values_after_a_step(ready, accumulate) for accumulate in (1, 3)]
        torch.testing.assert_close(*stepped, rtol=rtol, atol=rtol)


def values_after_a_step(ready: Any, accumulate: int) -> list[Tensor]:
    """All parameters and terms after one step of plain gradient descent on a fresh model."""
    model = ready.built()
    players = model.players()
    optimizers = {
        p.name: torch.optim.SGD(p.module.parameters(), 0.01) for p in players if p.optimizer is None
    }
    noise = ready.noise(7)
    terms = train_step(model, players, optimizers, ready.batch, noise, 0, accumulate=accumulate)
    assert all(values.shape == (7,) for values in terms.values())
    return [*model.parameters(), *terms.values()]


def test_abilities_have_their_shapes_and_samples_are_of_their_generator(ready):
    samples_are_a_function_of_their_generator_and_not_of_the_batch(ready)
    model, data = ready.model.eval(), ready.data.spec
    x = ready.batch.x
    if hasattr(model, "reconstruct") and model.reconstructs_by in ("code", "inversion"):
        torch.testing.assert_close(model.reconstruct(x), model.decode(model.encode(x)))
    else:
        assert not (hasattr(model, "encode") and hasattr(model, "decode"))
    width, event = getattr(model, "code_size", ready.cfg.bottleneck), tuple(data.event_shape)
    model.finish([ready.batch])
    rebuilt = tuple(data.target_shape) if data.target == "image" else event
    outputs = data.target_shape or (max(len(data.classes), 1),)
    shapes = {
        "encode": (lambda: model.encode(x), (6, width)),
        "decode": (lambda: model.decode(torch.zeros(4, width)), (4, *rebuilt)),
        "reconstruct": (lambda: model.reconstruct(x), (6, *rebuilt)),
        "sample": (lambda: model.sample(3), (3, *rebuilt)),
        "prior": (lambda: model.prior(3), (3, width)),
        "trajectory": (lambda: model.trajectory(2, frames=4), (4, 2, *event)),
        "predict": (lambda: model.predict(x), (6, *outputs)),
        "log_prob": (lambda: model.log_prob(x), (6,)),
    }
    found = {name: pair for name, pair in shapes.items() if hasattr(model, name)}
    assert found
    for name, (call, shape) in found.items():
        out = call()
        assert out.shape == shape, name
        assert out.isfinite().all(), name
    if hasattr(model, "log_prob"):
        assert model.log_prob_kind in ("exact", "bound")


def samples_are_a_function_of_their_generator_and_not_of_the_batch(ready: Any) -> None:
    model = ready.model
    if not hasattr(model, "sample"):
        assert ready.case.model == "mlp"
        return
    model.finish([ready.batch])
    a, b, c = (model.sample(4, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    model.eval()
    with torch.no_grad():
        whole = model.sample(12, generator=RowGenerator(0, "sample", 0, 12))
        parts = [
            model.sample(n, generator=RowGenerator(0, "sample", i, n)) for i, n in ((0, 3), (3, 9))
        ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(whole[0], whole[1])


@pytest.mark.parametrize("network", ["fc", "conv"])
@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_images_of_any_size_pass_both_networks(
    build: Callable[..., Model], name: str, network: str
):
    loss = {"name": "mse"} if name == "autoencoder" else {"name": "logistic"}
    for shape in [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 15, 9)]:
        spec = Spec(event_shape=shape, levels=256, unit_interval=True)
        model = build(name, spec, loss, network=network, channels=[3, 5, 7], widths=[9], depth=1)
        x = torch.rand(2, *shape)
        noise = model.noise(2, torch.Generator())
        terms = model.loss(Batch(x, None), noise)
        assert terms["loss"].shape == (2,), shape
        assert terms["loss"].isfinite().all(), shape
        assert model.encode(x).shape == (2, 3), shape
        assert model.reconstruct(x).shape == (2, *shape)
