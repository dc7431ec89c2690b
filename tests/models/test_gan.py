"""The game of a GAN: its objectives, penalties, players and the search for a z."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError
from genai_cli.losses import adversarial
from genai_cli.models.gan import GAN
from genai_cli.rng import RowGenerator, generator
from genai_cli.training.step import train_step

Make = Callable[..., GAN]
PLANE, IMAGES = Spec((3,)), Spec((1, 8, 8), levels=17, unit_interval=True)
LOSSES = list(adversarial.LOSSES)
LAZY = {"r1": 1.0, "r2": 0.5, "penalty_every": 2}
R, F = torch.tensor([0.3, -2.0, 5.0]), torch.tensor([-1.2, 0.7, 3.0])  # scores, real and fake


@pytest.fixture
def gan(build: Callable[..., GAN]) -> Make:
    def make(data: Spec = PLANE, loss: str = "nonsaturating", bottleneck: int = 2, **keys) -> GAN:
        node = {"name": loss} | ({"penalty": keys.pop("penalty", 10.0)} if "gp" in loss else {})
        return build("gan", data, node, bottleneck, **({"widths": [8]} | keys))

    return make


def batch(model: GAN, n: int = 5, seed: int = 0) -> Batch:
    return Batch(torch.rand(n, *model.event_shape, generator=generator(seed, "x")), None)


def noise(model: GAN, n: int = 5, index: int = 0) -> dict[str, Tensor]:
    return model.noise(n, generator(0, "noise", index))


def linear(model: GAN, direction: Tensor) -> GAN:
    """With D(x) = direction · x on data that are not scaled."""
    (layer,) = model.discriminator.mlp.layers
    with torch.no_grad():
        layer.weight.copy_(direction[None])
    return model


@pytest.mark.parametrize(
    ("name", "discriminator", "generator_"),
    [
        ("minimax", lambda r, f: -r.sigmoid().log() - (1 - f.sigmoid()).log(),
         lambda r, f: (1 - f.sigmoid()).log()),
        ("nonsaturating", lambda r, f: -r.sigmoid().log() - (1 - f.sigmoid()).log(),
         lambda r, f: -f.sigmoid().log()),
        ("lsgan", lambda r, f: (r - 1) ** 2 / 2 + f**2 / 2, lambda r, f: (f - 1) ** 2 / 2),
        ("hinge", lambda r, f: -torch.minimum(r - 1, 0 * r) - torch.minimum(-1 - f, 0 * f),
         lambda r, f: -f),
        ("wgan_gp", lambda r, f: -(r - f), lambda r, f: -f),
        ("relativistic", lambda r, f: -(r - f).sigmoid().log(),
         lambda r, f: -(f - r).sigmoid().log()),
    ],
)  # fmt: skip
def test_objectives_are_their_formulas(name: str, discriminator, generator_):
    objective, real, fake = adversarial.make({"name": name}), R.double(), F.double()
    torch.testing.assert_close(objective.discriminator(real, fake), discriminator(real, fake))
    torch.testing.assert_close(objective.generator(real, fake), generator_(real, fake))
    assert objective.gradient_penalty == (10.0 if name == "wgan_gp" else 0.0)


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [("minimax", math.log(4)), ("nonsaturating", math.log(4)), ("relativistic", math.log(2))],
)
def test_an_undecided_discriminator_pays_log_four(gan: Make, loss: str, wanted: float):
    model = gan(loss=loss)
    for p in model.discriminator.parameters():
        nn.init.zeros_(p)
    terms = model.loss(batch(model), noise(model))
    torch.testing.assert_close(terms["loss"], torch.full((5,), wanted))
    half = 0.5 if loss != "relativistic" else 0.0  # a probability, or a score
    assert terms["d_real"].tolist() == terms["d_fake"].tolist() == [half] * 5


def test_only_the_saturating_generator_starves_when_the_discriminator_wins():
    fake = torch.tensor(-20.0, requires_grad=True)
    sizes = {}
    for name in ("minimax", "nonsaturating"):
        loss = adversarial.make({"name": name}).generator(torch.tensor(20.0), fake)
        sizes[name] = torch.autograd.grad(loss, fake)[0].abs().item()
    assert sizes["minimax"] == pytest.approx(math.exp(-20), rel=1e-6)
    assert sizes["nonsaturating"] == pytest.approx(1.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_of_one_player_leaves_the_other_bit_for_bit(gan: Make, loss: str):
    model = gan(loss=loss, **LAZY)
    players = model.players()
    optimizers = {
        p.name: torch.optim.Adam(p.module.parameters(), 1e-2) for p in players if not p.optimizer
    }
    assert [p.name for p in players] == ["discriminator", "generator", "penalty"]
    own = {"generator": "generator", "discriminator": "discriminator", "penalty": "discriminator"}
    for player in players:
        before = {k: v.clone() for k, v in model.state_dict().items()}
        others = [p._replace(every=1 if p is player else 2) for p in players]
        train_step(model, others, optimizers, batch(model), noise(model), 1)
        moved = {k.split(".")[0] for k, v in model.state_dict().items() if not v.equal(before[k])}
        assert moved == {own[player.name]}


def test_a_loss_gives_its_own_player_a_gradient_and_the_discriminator_none_to_the_generator(gan):
    model = gan(**LAZY)
    for player in ("discriminator", "penalty"):
        loss = model.loss(batch(model), noise(model), player)["loss"].sum()
        names, parameters = zip(*model.named_parameters(), strict=True)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        got = {n.split(".")[0] for n, g in zip(names, found, strict=True) if g is not None}
        assert got == {"discriminator"}


def test_r1_and_r2_are_half_the_squared_gradient(gan: Make):
    direction = torch.tensor([1.0, -2.0, 0.5])
    model = linear(gan(widths=[], r1=3.0, r2=0.7), direction)
    terms, square = model.loss(batch(model), noise(model)), direction.square().sum() / 2
    torch.testing.assert_close(terms["r1"], square.expand(5))
    torch.testing.assert_close(terms["r2"], square.expand(5))
    bare = linear(gan(widths=[], r1=0.0), direction)
    bare.load_state_dict(model.state_dict())
    without = bare.loss(batch(model), noise(model))
    assert "r1" not in without
    torch.testing.assert_close(terms["loss"] - without["loss"], (3.7 * square).expand(5))


def test_r1_is_the_gradient_at_the_data_by_finite_differences(gan: Make):
    model = gan(widths=[8, 8], activation="tanh", r1=1.0)
    x, h = batch(model).x, 1e-5
    steps = h * torch.eye(3)
    slopes = torch.stack([(model.score(x + s) - model.score(x - s)) / (2 * h) for s in steps])
    found = model.loss(Batch(x, None), noise(model))["r1"]
    torch.testing.assert_close(found, slopes.square().sum(0) / 2, rtol=1e-6, atol=1e-9)


def test_a_lazy_penalty_is_a_player_whose_weight_makes_up_for_its_absence(gan: Make):
    eager, lazy = gan(r1=2.0, r2=1.0), gan(r1=2.0, r2=1.0, penalty_every=4)
    lazy.load_state_dict(eager.state_dict())
    b, draws = batch(eager), noise(eager)
    assert [p.name for p in eager.players()] == ["discriminator", "generator"]
    name, module, every, optimizer, _ = lazy.players()[2]
    assert (name, every, optimizer) == ("penalty", 4, "discriminator")
    assert module is lazy.discriminator
    whole, game = eager.loss(b, draws)["loss"], lazy.loss(b, draws)["loss"]
    torch.testing.assert_close(lazy.loss(b, draws, "penalty")["loss"], 4 * (whole - game))
    assert len(gan(r1=0.0, penalty_every=4).players()) == 2  # nothing to apply


@pytest.mark.parametrize(("length", "wanted"), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_the_gradient_penalty_is_zero_for_a_slope_of_one(gan: Make, length: float, wanted: float):
    direction = length * torch.tensor([0.6, 0.0, -0.8])
    model = linear(gan(loss="wgan_gp", penalty=5.0, widths=[], r1=0.0), direction)
    b, draws = batch(model), noise(model)
    terms = model.loss(b, draws)
    torch.testing.assert_close(terms["gradient_penalty"], torch.full((5,), wanted))
    score = terms["d_fake"] - terms["d_real"]
    torch.testing.assert_close(terms["loss"], score + 5 * terms["gradient_penalty"])


def test_the_gradient_penalty_is_taken_between_real_and_fake(gan: Make):
    model = gan(loss="wgan_gp", widths=[8], activation="tanh", r1=0.0)
    b, draws = batch(model), noise(model)
    for u, point in ((1.0, b.x), (0.0, model.decode(draws["z"]).detach())):
        term = model.loss(b, draws | {"u": torch.full((5,), u)})["gradient_penalty"]
        slope = (2 * adversarial.zero_centred(model.score, point)).sqrt()
        torch.testing.assert_close(term, (slope - 1).square().detach())


@pytest.mark.parametrize("loss", LOSSES)
def test_evaluation_without_gradients_gives_the_same_terms(gan: Make, loss: str):
    model = gan(loss=loss, **LAZY)
    for player in model.players():
        with_ = model.loss(batch(model), noise(model), player.name)
        with torch.no_grad():
            without = model.loss(batch(model), noise(model), player.name)
        assert with_.keys() == without.keys()
        for name, values in without.items():
            assert not values.requires_grad
            torch.testing.assert_close(values, with_[name].detach())


def test_discriminator_steps_and_rates_are_in_the_players(gan: Make):
    model = gan(discriminator_steps=5, discriminator_lr=0.3, generator_lr=0.1)
    discriminator, generator_ = model.players()
    assert (discriminator.every, discriminator.lr) == (1, 0.3)
    assert (generator_.every, generator_.lr) == (5, 0.1)
    assert discriminator.module is model.discriminator
    assert generator_.module is model.generator


def test_the_discriminator_sees_standardised_data_and_samples_are_in_the_datas_units(gan: Make):
    model = gan()
    b = Batch(torch.randn(4000, 3) * torch.tensor([1.0, 30.0, 0.0]) + 7, None)
    model.prepare(b)
    seen = model.scaling(b.x)
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=1e-9, rtol=0)
    torch.testing.assert_close(seen[:, :2].std(0, correction=0), torch.ones(2))
    assert {"scaling.shift", "scaling.scale"} <= model.state_dict().keys()
    z = torch.randn(6, 2)
    torch.testing.assert_close(model.scaling(model.decode(z)), model.generated(z))
    images = gan(IMAGES)
    assert not any(key.startswith("scaling") for key in images.state_dict())
    assert images.decode(100 * z).min() >= 0
    assert images.decode(100 * z).max() <= 1
    torch.testing.assert_close(images.decode(z), images.generator(z).sigmoid())


def test_augmentation_changes_what_the_discriminator_sees_and_nothing_else(gan: Make):
    plain, changed = gan(IMAGES), gan(IMAGES, augment=["color", "translation", "cutout"])
    changed.load_state_dict(plain.state_dict())
    b, draws = batch(plain), noise(changed)
    assert draws["augment"].shape == (5, 3, 7)
    for player in ("discriminator", "generator"):
        a, c = plain.loss(b, draws, player)["loss"], changed.loss(b, draws, player)["loss"]
        assert not torch.isclose(a, c).any()
    changed.augment = ("color", "translation")  # both of which have draws that change nothing
    neutral = draws | {"augment": torch.full((5, 3, 5), 0.5)}
    same = changed.loss(b, neutral)
    torch.testing.assert_close(same["loss"], plain.loss(b, draws)["loss"])
    z = torch.randn(3, 2)
    assert torch.equal(plain.decode(z), changed.decode(z))


def test_reconstruction_beats_the_best_of_many_samples_and_touches_nothing(gan: Make):
    model = gan(IMAGES, bottleneck=4, widths=[32])
    with torch.no_grad():
        for p in model.generator.parameters():
            p.mul_(3)  # images that differ
        x = model.decode(torch.randn(5, 4))
        many = model.sample(2000, generator=torch.Generator().manual_seed(1))
        before, state = [p.clone() for p in model.parameters()], torch.get_rng_state()
        found = model.reconstruct(x)  # under no_grad, as the figures call it
    error = (found - x).square().flatten(1).sum(1)
    best = torch.cdist(x.flatten(1), many.flatten(1)).min(1).values.square()
    assert (error < best / 5).all()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.reconstruct(x[2:3]), found[2:3])
    assert not found.requires_grad


def test_there_is_no_code_and_no_likelihood(gan: Make):
    model = gan()
    assert not hasattr(model, "encode")
    assert not hasattr(model, "log_prob")
    assert model.reconstructs_by == "optimisation"
    assert model.reconstruction_note == "z found by 200 steps of Adam from 4 starts"


def test_temperature_scales_the_noise(gan: Make):
    model = gan()
    cold = model.sample(3, generator=RowGenerator(0, "sample", 0, 3), temperature=0.0)
    torch.testing.assert_close(cold, model.decode(torch.zeros(3, 2)))
    z = model.prior(3, RowGenerator(0, "sample", 0, 3))
    warm = model.sample(3, generator=RowGenerator(0, "sample", 0, 3), temperature=0.5)
    assert torch.equal(warm, model.decode(0.5 * z))


@pytest.mark.trains
def test_a_gan_comes_to_draw_both_images_it_is_shown(
    gan: Make, train_seed: int, assert_below: Callable
):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(train_seed)
    model = gan(IMAGES, "relativistic", 8, widths=[64], r1=3.0, r2=3.0)
    x = (torch.rand(2, 1, 8, 8, generator=generator(train_seed, "x")) > 0.5).float()
    players = model.players()
    optimizers = {
        p.name: torch.optim.Adam(p.module.parameters(), 5e-3, (0.0, 0.9)) for p in players
    }

    def distances() -> tuple[float, float]:
        with torch.no_grad():
            fake = model.sample(200, generator=torch.Generator().manual_seed(0)).flatten(1)
        square = torch.cdist(fake, x.flatten(1)).square()
        return square.min(1).values.mean().item(), square.min(0).values.mean().item()

    start = distances()
    for step in range(400):
        for optimizer in optimizers.values():
            optimizer.param_groups[0]["lr"] = 5e-3 * (1 - 0.9 * step / 400)
        index = torch.randint(2, (32,), generator=generator(train_seed, "index", step))
        draws = model.noise(32, generator(train_seed, "noise", step))
        train_step(model, players, optimizers, Batch(x[index], None), draws, step)
    # squared: every sample is near an image, and every image near a sample
    for before, after in zip(start, distances(), strict=True):
        assert_below(after, before / 5)


@pytest.mark.parametrize(
    ("data", "keys", "said"),
    [
        (IMAGES._replace(target="image", target_shape=(1, 8, 8)), {}, "use model=autoencoder"),
        (PLANE, {"augment": ["cutout"]}, r"model\.augment=\['cutout'\].*3 columns.*=\[\]"),
        (IMAGES, {"augment": ["color", "color"]}, "names one twice"),
        (IMAGES, {"augment": ["blur"]}, "choose from color, translation, cutout"),
        (IMAGES, {"penalty_every": 0}, r"model\.penalty_every=0.*>= 1"),
        (PLANE, {"loss": "mse"}, "loss=mse is not a loss of this family.*nonsaturating"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(gan: Make, data: Spec, keys: dict, said: str):
    with pytest.raises(UserError, match=said) as refusal:
        gan(data, **keys)
    assert "\n" not in str(refusal.value)


def test_a_loss_option_of_another_loss_is_refused():
    with pytest.raises(UserError, match=r"unknown key 'loss\.penalty'"):
        adversarial.make({"name": "hinge", "penalty": 1.0})
