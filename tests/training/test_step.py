"""One optimizer step, the numbers it draws, and the images it is given."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from genai_cli.data.augment import Augment
from genai_cli.data.dataset import Batch
from genai_cli.models.base import Model, Player
from genai_cli.rng import derive_seed, generator, permutation
from genai_cli.training.state import Means
from genai_cli.training.step import autocast, train_step


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


class Duel(Model):
    """Two linear players on one another's output, and a lazy third that shares the second's."""

    def __init__(self, lazy: int = 3, third: bool = True) -> None:
        super().__init__()
        self.g, self.d = nn.Linear(3, 3), nn.Linear(3, 1)
        self.lazy, self.third = lazy, third
        self.calls: list[tuple[str, bool, bool]] = []  # player, whether g and d take gradients

    def players(self) -> list[Player]:
        pair = [Player("d", self.d), Player("g", self.g)]
        r1 = Player("r1", self.d, every=self.lazy, optimizer="d")
        return [*pair, r1] if self.third else pair

    def loss(self, batch: Batch, noise: dict[str, Tensor], player: str = "model"):
        self.calls.append((player, self.g.weight.requires_grad, self.d.weight.requires_grad))
        score = self.d(self.g(batch.x + noise["eps"]))[:, 0]
        values = {"d": score.square(), "g": -score, "r1": (score - 1).square()}[player]
        return {"loss": values, "score": score}


class Alone(Model):
    """One player: a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 2)

    def loss(self, batch: Batch, noise: dict[str, Tensor], player: str = "model"):
        error = (self.map(batch.x) - batch.y).square().sum(1)
        return {"loss": error, "half": error.detach() / 2}


@pytest.fixture
def batch() -> Batch:
    return Batch(torch.randn(7, 3), torch.randn(7, 2))


@pytest.fixture
def noise() -> dict[str, Tensor]:
    return {"eps": torch.randn(7, 3)}


def sgd(model: Model, lr: float = 0.1) -> dict[str, torch.optim.Optimizer]:
    return {
        p.name: torch.optim.SGD(p.module.parameters(), lr)
        for p in model.players()
        if p.optimizer is None
    }


Weights = dict[str, Tensor]


def weights(model: Model) -> Weights:
    return {k: p.detach().clone() for k, p in model.named_parameters()}


def changed(before: Weights, model: Model) -> set[str]:
    return {k.split(".")[0] for k, p in model.named_parameters() if not torch.equal(before[k], p)}


@pytest.mark.parametrize("accumulate", [1, 2, 3, 7, 20])
def test_gradient_is_that_of_the_sum_over_the_batch_size(batch: Batch, accumulate: int):
    model = Alone()
    before, optimizers = weights(model), sgd(model, 1.0)
    mean = model.loss(batch, {})["loss"].sum() / 7
    wanted = torch.autograd.grad(mean, list(model.parameters()))
    terms = train_step(model, model.players(), optimizers, batch, {}, 0, accumulate=accumulate)
    for (name, p), gradient in zip(model.named_parameters(), wanted, strict=True):
        torch.testing.assert_close(before[name] - p, gradient, rtol=1e-12, atol=1e-12)
    assert set(terms) == {"loss", "half"}
    assert all(v.shape == (7,) and not v.requires_grad for v in terms.values())
    torch.testing.assert_close(terms["half"], terms["loss"] / 2)


def test_terms_are_those_before_the_update_in_the_order_of_the_batch(batch: Batch):
    model = Alone()
    wanted = model.loss(batch, {})["loss"].detach()
    terms = train_step(model, model.players(), sgd(model), batch, {}, 0, accumulate=3)
    torch.testing.assert_close(terms["loss"], wanted)


def test_gradients_of_an_earlier_step_are_forgotten(batch: Batch):
    model, twin = Alone(), Alone()
    twin.load_state_dict(model.state_dict())
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e3)
    for m in (model, twin):
        train_step(m, m.players(), sgd(m), batch, {}, 0)
    torch.testing.assert_close(weights(model), weights(twin))


@pytest.mark.parametrize("clip", [1e-3, 0.5, 1e9])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_clip_bounds_the_norm_of_the_whole_gradient(batch: Batch, clip: float, accumulate: int):
    model = Alone()
    before, optimizers = weights(model), sgd(model, 1.0)
    gradients = torch.autograd.grad(model.loss(batch, {})["loss"].mean(), model.parameters())
    norm = torch.cat([g.flatten() for g in gradients]).norm().item()
    train_step(model, model.players(), optimizers, batch, {}, 0, clip=clip, accumulate=accumulate)
    moved = torch.cat([(before[k] - p).flatten() for k, p in model.named_parameters()])
    assert moved.norm().item() == pytest.approx(min(norm, clip), rel=1e-4)
    assert torch.cosine_similarity(
        moved, torch.cat([g.flatten() for g in gradients]), dim=0
    ).item() == pytest.approx(1)


@pytest.mark.parametrize("player", ["d", "g"])
def test_only_the_player_that_is_due_changes(batch: Batch, noise, player: str):
    model = Duel(third=False)
    before = weights(model)
    chosen = [p for p in model.players() if p.name == player]
    others = [p._replace(every=2) for p in model.players() if p.name != player]
    train_step(model, [*chosen, *others], sgd(model), batch, noise, 1)
    assert changed(before, model) == {player}
    frozen = {"d": model.g, "g": model.d}[player]
    assert all(p.grad is None for p in frozen.parameters())


def test_every_player_is_frozen_while_another_trains(batch: Batch, noise):
    model = Duel()
    train_step(model, model.players(), sgd(model), batch, noise, 0)
    assert model.calls == [("d", False, True), ("g", True, False), ("r1", False, True)]
    assert all(p.requires_grad for p in model.parameters())


def test_players_are_thawed_after_an_error(batch: Batch):
    model = Duel()
    with pytest.raises(KeyError):
        train_step(model, model.players(), sgd(model), batch, {}, 0)  # no noise to be found
    assert all(p.requires_grad for p in model.parameters())


def test_what_a_model_freezes_itself_stays_frozen(batch: Batch, noise):
    model = Duel()
    model.g.bias.requires_grad_(False)
    before = weights(model)
    train_step(model, model.players(), sgd(model), batch, noise, 0)
    assert not model.g.bias.requires_grad
    assert torch.equal(before["g.bias"], model.g.bias)


def test_a_lazy_player_trains_every_few_steps_and_is_logged_by_name(batch: Batch, noise):
    model = Duel(lazy=3)
    optimizers = sgd(model)
    for step in range(7):
        terms = train_step(model, model.players(), optimizers, batch, noise, step)
        names = ["d", "g", "r1"] if step % 3 == 0 else ["d", "g"]
        assert set(terms) == {f"{n}/{t}" for n in names for t in ("loss", "score")}
    assert [c for c, _, _ in model.calls].count("r1") == 3


def test_players_alternate_each_seeing_the_others_last_update(batch: Batch, noise):
    model, by_hand = Duel(third=False), Duel(third=False)
    by_hand.load_state_dict(model.state_dict())
    train_step(model, model.players(), sgd(model), batch, noise, 0)
    for name, module in (("d", by_hand.d), ("g", by_hand.g)):
        loss = by_hand.loss(batch, noise, name)["loss"].mean()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for p, gradient in zip(module.parameters(), gradients, strict=True):
                p -= 0.1 * gradient
    torch.testing.assert_close(weights(model), weights(by_hand))


def test_a_shared_optimizer_moves_by_name(batch: Batch, noise):
    model = Duel(lazy=1)
    optimizers = sgd(model) | {"g": torch.optim.SGD(model.g.parameters(), 0.0)}
    before = weights(model)
    (r1,) = [p for p in model.players() if p.name == "r1"]
    train_step(model, [r1, *model.players()[1:2]], optimizers, batch, noise, 0)
    assert changed(before, model) == {"d"}


def test_micro_batches_of_several_players_give_the_same_step(batch: Batch, noise):
    model, twin = Duel(), Duel()
    twin.load_state_dict(model.state_dict())
    whole = train_step(model, model.players(), sgd(model), batch, noise, 0)
    parts = train_step(twin, twin.players(), sgd(twin), batch, noise, 0, accumulate=3)
    torch.testing.assert_close(weights(model), weights(twin), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-12)


def test_a_precision_that_is_still_to_be_measured_computes_nothing():
    with pytest.raises(ValueError, match="precision=auto"):
        autocast("auto", torch.device("cpu"))


def test_only_bf16_runs_under_autocast():
    for precision, dtype in (
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp64", torch.float32),
    ):
        with autocast(precision, torch.device("cpu")):
            assert (torch.ones(2, 2).float() @ torch.ones(2, 2).float()).dtype == dtype


def test_means_weigh_every_example_alike():
    means = Means()
    means.add({"loss": torch.ones(3), "lazy": torch.zeros(3)})
    means.add({"loss": torch.full((1,), 5.0)})
    assert means.means() == {"loss": 2.0, "lazy": 0.0}
    means.clear()
    assert means.means() == {}


def test_seeds_are_the_same_on_every_machine():
    """Pinned: another value would make old runs impossible to repeat."""
    assert derive_seed(0, "weights") == 6579489009559179723
    assert derive_seed(0, "noise", 1) == 4331743028374165210
    assert derive_seed(7, "permutation", 3) == 3909696640872617725


def test_seeds_differ_by_seed_purpose_and_index():
    purposes = ("weights", "noise", "permutation", "validation", "test", "augment")
    seeds = [derive_seed(s, p, i) for s in (0, 1, 10) for p in purposes for i in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
    assert derive_seed(1, "a", 11) != derive_seed(11, "a", 1)


def test_generators_start_anew_at_every_call():
    first, again, other = (torch.rand(4, generator=generator(0, "noise", i)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_permutations_hold_every_example_once_and_differ_by_epoch_and_seed():
    orders = [permutation(50, seed, epoch) for seed in (0, 1) for epoch in range(5)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(50))
    assert len({tuple(o.tolist()) for o in orders}) == len(orders)


def test_permutations_neither_use_nor_move_the_global_generator():
    before, first = torch.get_rng_state(), permutation(50, 0, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(permutation(50, 0, 3), first)


@pytest.fixture
def images() -> Tensor:
    """Six images with no two pixels alike."""
    return (torch.randperm(6 * 2 * 5 * 4) + 1.0).view(6, 2, 5, 4)


def change(x: Tensor, flip: bool = False, shift: int = 0, seed: int = 0) -> Tensor:
    return Augment(flip, shift)(x, torch.Generator().manual_seed(seed))


def test_no_augmentation_is_the_identity_and_draws_nothing(images: Tensor):
    draws = torch.Generator().manual_seed(0)
    before = draws.get_state()
    assert torch.equal(Augment(flip=False, shift=0)(images, draws), images)
    assert torch.equal(draws.get_state(), before)


def test_an_image_is_mirrored_left_to_right_or_left_alone(images: Tensor):
    seen = set()
    for seed in range(5):
        for x, out in zip(images, change(images, flip=True, seed=seed), strict=True):
            mirrored = torch.equal(out, x.flip(2))
            assert mirrored or torch.equal(out, x)
            seen.add(mirrored)
    assert seen == {True, False}


def test_half_of_all_images_are_mirrored():
    x = torch.arange(2.0).expand(4000, 1, 1, 2)
    share = change(x, flip=True)[:, 0, 0, 0].mean().item()
    assert abs(share - 0.5) < 5 * 0.5 / 4000**0.5


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_a_shift_moves_the_whole_image_and_fills_with_zero(images: Tensor, shift: int):
    moves = set()
    for seed in range(30):
        for x, out in zip(images, change(images, shift=shift, seed=seed), strict=True):
            canvas = nn.functional.pad(x, [shift] * 4)
            windows = canvas.unfold(1, 5, 1).unfold(2, 4, 1)  # (C, 2s + 1, 2s + 1, 5, 4)
            same = (windows == out[:, None, None]).all(-1).all(-1).all(0).nonzero().tolist()
            assert same  # one of the windows, all channels alike
            if len(same) == 1:
                moves.add(tuple(same[0]))
    if shift == 1:
        assert len(moves) == 9  # every move is drawn


@pytest.mark.parametrize("flip", [True, False])
def test_augmentation_only_moves_pixels(images: Tensor, flip: bool):
    bordered = nn.functional.pad(images, (2, 2, 2, 2))  # nothing is lost over the edge
    out = change(bordered, flip=flip, shift=2)
    assert out.shape == bordered.shape
    assert out.is_contiguous()
    assert torch.equal(out.flatten(1).sort().values, bordered.flatten(1).sort().values)
    assert not torch.equal(out, bordered)


def test_augmentation_is_a_function_of_its_generator(images: Tensor):
    first, again, other = (change(images, True, 2, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_leaves_its_input_alone(images: Tensor):
    before = images.clone()
    change(images, flip=True, shift=2)
    assert torch.equal(images, before)
