"""Seconds an epoch of a normalizing flow of the same layers beside normflows, nflows and zuko.

    python benchmarks/flow.py --coupling spline
    python benchmarks/flow.py --coupling affine --device cuda

Eight couplings, each with a 128-128 network and a fixed permutation before it, and an activation
normalisation where the library has one (zuko has none); splines of 8 bins. The libraries' flows
stand in the plain loop with data in memory. The default data are 50,000 points of two moons.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable

import torch
from entrants import MACHINE, cut, images_of, ours, plain
from race import Entrant, main, parser
from torch import Tensor, nn
from turns import Turns

BOUND, BINS = 4.0, 8


def words(args: argparse.Namespace) -> list[str]:
    widths = ",".join(map(str, args.widths))
    out = ["model=flow", "model.layout=flat", f"model.coupling={args.coupling}"]
    out += [f"model.widths=[{widths}]", f"model.steps={args.couplings}", "model.mixing=permute"]
    return [*out, f"model.bins={BINS}", f"model.bound={BOUND}"]


def mlp(args: argparse.Namespace, inputs: int, outputs: int) -> nn.Sequential:
    """The network of a coupling, its last layer at zero."""
    layers: list[nn.Module] = []
    for width in args.widths:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    last = nn.Linear(inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class Takes(nn.Module):
    """A network that is handed a context and has no use for it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


def normflows(args: argparse.Namespace, d: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    import normflows as nf
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    class Spline(nf.flows.Flow):
        """The library's coupling as one of its flows; its wrapper fixes another network."""

        def __init__(self) -> None:
            super().__init__()
            mask = torch.arange(d) >= d // 2
            self.of = PiecewiseRationalQuadraticCoupling(
                mask.int(),
                lambda m, n: Takes(mlp(args, m, n)),
                num_bins=BINS,
                tails="linear",
                tail_bound=BOUND,
                apply_unconditional_transform=False,
            )

        def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
            z, logdet = self.of(z)
            return z, logdet.view(-1)

    flows: list[nn.Module] = []
    for _ in range(args.couplings):
        if args.coupling == "spline":
            flows.append(Spline())
        else:
            net = mlp(args, d - d // 2, 2 * (d // 2))  # its split puts the larger part first
            flows.append(nf.flows.AffineCouplingBlock(net))
        flows += [nf.flows.Permute(d, mode="swap"), nf.flows.ActNorm(d)]
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(d, trainable=False), flows)
    return model, model.forward_kld


def nflows(args: argparse.Namespace, d: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from nflows import distributions, flows, transforms

    if args.coupling == "spline":
        coupling = functools.partial(
            transforms.PiecewiseRationalQuadraticCouplingTransform,
            num_bins=BINS,
            tails="linear",
            tail_bound=BOUND,
        )
    else:
        coupling = transforms.AffineCouplingTransform
    mask = (torch.arange(d) >= d // 2).int()
    steps: list[nn.Module] = []
    for _ in range(args.couplings):
        steps += [transforms.ActNorm(d), transforms.ReversePermutation(d)]
        steps.append(coupling(mask, lambda m, n: Takes(mlp(args, m, n))))
    model = flows.Flow(transforms.CompositeTransform(steps), distributions.StandardNormal([d]))
    return model, lambda x: -model.log_prob(x).mean()


def zuko(args: argparse.Namespace, d: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from zuko.distributions import DiagNormal
    from zuko.flows import Flow, UnconditionalDistribution
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.transforms import MonotonicRQSTransform

    options = {"hidden_features": args.widths}
    if args.coupling == "spline":
        options["univariate"] = functools.partial(MonotonicRQSTransform, bound=BOUND)
        options["shapes"] = [(BINS,), (BINS,), (BINS - 1,)]
    half = torch.arange(d) < d // 2
    steps = []
    for i in range(args.couplings):  # it masks the other half in place of a permutation
        mask = half if i % 2 == 0 else half.flip(0)
        steps.append(GeneralCouplingTransform(d, mask=mask, **options))
    zeros, ones = torch.zeros(d), torch.ones(d)
    model = Flow(steps, UnconditionalDistribution(DiagNormal, zeros, ones, buffer=True))
    return model, lambda x: -model().log_prob(x).mean()


def loop(
    name: str, make: Callable[[argparse.Namespace, int], tuple[nn.Module, Callable]]
) -> Entrant:
    def enter(args: argparse.Namespace, turns: Turns) -> None:
        x = images_of(args)
        torch.manual_seed(0)
        model, loss = make(args, x.shape[1])
        model.to(x.device)
        plain(turns, args, name, model, loss, lambda: cut(x, args.batch), len(x))

    return Entrant(enter, needs=(name,))


def entrants(device: str) -> dict[str, Entrant]:
    return {
        **ours(words, device),
        "normflows": loop("normflows", normflows),
        "nflows": loop("nflows", nflows),
        "zuko": loop("zuko", zuko),
        **MACHINE,
    }


if __name__ == "__main__":
    options = parser(__doc__, dataset="moons", batch=256)
    options.add_argument("--coupling", choices=["affine", "spline"], default="spline")
    options.add_argument("--couplings", type=int, default=8)
    options.add_argument("--widths", type=int, nargs="+", default=[128, 128])
    options.add_argument("--points", type=int, default=50_000, help="of a toy data set")
    options = options.parse_args()
    options.words = [f"dataset.n={options.points}"]
    sys.exit(main(f"flow, {options.coupling}", options, entrants(options.device)))
