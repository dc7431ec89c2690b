"""Collective operations among the ranks of one distributed training run.

Every rank holds the whole model and takes its own rows of each global batch. Each adds up the
gradient of Σ loss / global batch over its rows; one all-reduce for each player makes of it the
gradient of the whole batch, and carries along the sums of the terms and whether anybody was told
to stop. All ranks then take the same optimizer step, so that nothing else has to be exchanged.

Plain torch.distributed: NCCL between GPUs, gloo between CPUs and for everything on the host.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from genai_cli.config import ranks as environment

if TYPE_CHECKING:
    from genai_cli.models.base import Player
    from genai_cli.system.preemption import Signals

PATIENCE = timedelta(minutes=30)  # for one that compiles, draws or writes; a dead one shows at once

LEAVING = "genai/leaving"  # key of the store that the ranks share

P, R = ParamSpec("P"), TypeVar("R")


class PeerLost(Exception):
    """Another rank does not answer any more."""


def _raising_peer_lost(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a collective operation so that its failure is raised as `PeerLost`."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            message = " ".join(str(error).split())[:200]
            raise PeerLost(f"another rank is gone ({message})") from error

    return wrapper


class Ranks:
    """The ranks that train a run together; with a single rank every method is trivial.

    Attributes:
        rank, world: the number of this one and how many there are.
        signals: what this rank listens with; one that is told to stop stops all.
    """

    def __init__(self, rank: int = 0, world: int = 1, signals: Signals | None = None) -> None:
        self.rank, self.world, self.signals = rank, world, signals
        self.idle = False  # this rank has no row of the batch that is trained now
        self._stop: list[_Stop] = []  # what the last steps said of signals, newest last

    @property
    def first(self) -> bool:
        """True on rank 0, which writes logs, metrics, checkpoints and figures."""
        return self.rank == 0

    def rows(self, n: int) -> slice:
        """Return the contiguous rows of a batch of ``n`` that belong to this rank.

        The ranks' numbers of rows are equal or one apart. Where there are fewer rows than ranks, a
        rank without any gets the first row, whose gradient `all_reduce_gradients` leaves out: so
        all ranks make the same calls.
        """
        start, stop = self._bounds(n)
        return slice(start, stop) if stop > start else slice(0, 1)

    def count(self, n: int) -> int:
        """Return the number of rows in `rows`."""
        rows = self.rows(n)
        return rows.stop - rows.start

    def take(self, n: int) -> slice:
        """`rows` of the batch that is trained next."""
        start, stop = self._bounds(n)
        self.idle = start == stop
        return self.rows(n)

    def _bounds(self, n: int) -> tuple[int, int]:
        return self.rank * n // self.world, (self.rank + 1) * n // self.world

    @torch.no_grad()
    def all_reduce_gradients(self, player: Player, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sum a player's gradients over the ranks, so that they are those of the whole batch.

        Args:
            player: whose parameters hold the gradient of this rank's rows.
            terms: (B,) each, of these rows.

        Returns:
            The sum () of each term over all ranks.
        """
        gradients = [p.grad for p in player.module.parameters() if p.grad is not None]
        kind = gradients[0].dtype if gradients else torch.get_default_dtype()
        sums = torch.stack([v.sum(dtype=torch.float64) for v in terms.values()]).to(kind)
        stop = sums.new_zeros(2)  # ranks told by INT, and by TERM
        code = self.signals.code if self.signals else 0
        if code:
            stop[0 if code == 130 else 1] = 1
        flat = torch.cat([*(g.reshape(-1).to(kind) for g in gradients), sums, stop])
        if self.idle:
            flat[:-2] = 0
        self.all_reduce(flat)
        sizes = [g.numel() for g in gradients]
        *reduced, sums, stop = flat.split([*sizes, len(sums), 2])
        if gradients:
            torch._foreach_copy_(
                gradients, [f.view(g.shape) for f, g in zip(reduced, gradients, strict=True)]
            )
        self._stop.append(_Stop(stop))
        return dict(zip(terms, sums.unbind(), strict=True))

    @_raising_peer_lost
    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum ``values`` over the ranks in place."""
        import torch.distributed as dist

        dist.all_reduce(values)
        return values

    def masked_all_reduce(self, values: Tensor) -> Tensor:
        """`all_reduce` of something of a batch's rows: nothing from a rank without any."""
        return self.all_reduce(values * 0 if self.idle else values)

    def stop(self) -> int:
        """After a step: 0, or the exit code of a signal; the same on all ranks.

        On a GPU it is that of the step before: nobody waits for the step that was just launched.
        """
        if self.world == 1:
            return self.signals.code if self.signals else 0
        if not self._stop:
            return 0
        del self._stop[:-2]
        late = self._stop[-1].on_gpu and len(self._stop) == 2
        return self._stop[0 if late else -1].code()

    def leave(self, code: int) -> None:
        """Announce that this rank ends with the exit code of a signal.

        The others may wait for it, and would take it for dead.
        """
        if self.world > 1:
            with suppress(RuntimeError):
                _store().set(LEAVING, str(code))

    def left(self) -> int:
        """The exit code with which another rank said it would `leave`, or 0."""
        if self.world == 1:
            return 0
        with suppress(RuntimeError):
            store = _store()
            if store.check([LEAVING]):
                return int(store.get(LEAVING))
        return 0

    @_raising_peer_lost
    def broadcast(self, value: Any) -> Any:
        """Return the ``value`` of rank 0 on every rank, waiting for the slowest."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    @_raising_peer_lost
    def all_gather(self, value: Any) -> list[Any]:
        """Return the ``value`` of every rank, in rank order."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        box = [None] * self.world
        dist.all_gather_object(box, value)
        return box

    @_raising_peer_lost
    def broadcast_tensors(self, tensors: list[Tensor]) -> None:
        """Make tensors those of rank 0: a first guess by other machines may end in another bit."""
        if self.world == 1:
            return
        import torch.distributed as dist

        for tensor in tensors:
            if tensor.is_floating_point():
                value = tensor.detach().contiguous()
                dist.broadcast(value, src=0)
                tensor.data.copy_(value)

    def device(self, picked: torch.device) -> torch.device:
        """The GPU of this rank, where the run is on GPUs."""
        if self.world == 1 or picked.type != "cuda":
            return picked
        local = torch.device("cuda", environment.local_rank())
        torch.cuda.set_device(local)
        return local


class _Stop:
    """The two counts of one all-reduce, on their way to the host."""

    def __init__(self, counts: Tensor) -> None:
        self.on_gpu = counts.device.type == "cuda"
        if self.on_gpu:
            self.counts = counts.to("cpu", non_blocking=True)  # pinned, and not waited for
            self.there = torch.cuda.Event()
            self.there.record()
        else:
            self.counts = counts.clone()

    def code(self) -> int:
        if self.on_gpu:
            self.there.synchronize()
        by_int, by_term = self.counts.tolist()
        return 130 if by_int else 143 if by_term else 0


SINGLE_RANK = Ranks()


@_raising_peer_lost
def join(signals: Signals | None = None) -> Ranks:
    """This process's place among the ranks of its run; the first call waits for all of them.

    Args:
        signals: what the caller listens with.

    Raises:
        PeerLost: one did not come.
    """
    if environment.world_size() == 1:
        return Ranks(signals=signals)
    import torch.distributed as dist

    if not dist.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available() and dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=PATIENCE)
        atexit.register(_leave)  # not after each run: a second group in a process would not form
    return Ranks(dist.get_rank(), dist.get_world_size(), signals)


def claim_error_report() -> bool:
    """Claim the error report of the run; False where another rank has already reported."""
    if environment.world_size() == 1:
        return True
    try:
        return _store().add("genai/errors", 1) == 1
    except RuntimeError:
        return True


def _store() -> Any:
    """The store of whoever started us: it outlives the ranks."""
    import torch.distributed as dist

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=5))


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        with suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()
