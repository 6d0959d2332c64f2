"""A loader of training batches that a fit can go on with in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset


class _Order(Sampler[int]):
    """Shuffle as torch's RandomSampler does, and begin a saved epoch where it was left."""

    def __init__(self, samples: int, generator: torch.Generator) -> None:
        self.samples, self.generator = samples, generator
        self.began: Tensor | None = None  # the generator, before the order of this epoch was drawn
        # The same of a saved epoch, what to skip of it, and how many samples it was of.
        self.saved: tuple[Tensor, int, int] | None = None
        self.drawn = samples  # of which this epoch is

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        yield from self.draw().tolist()

    def draw(self) -> Tensor:
        """Return the rows of an epoch that are left, in their order."""
        skipped, self.drawn = 0, self.samples
        if self.saved is not None:
            state, skipped, self.drawn = self.saved
            self.generator.set_state(state)
            self.saved = None
        self.began = self.generator.get_state()
        return torch.randperm(self.drawn, generator=self.generator)[skipped:]


class ResumableLoader(DataLoader[tuple[Tensor, ...]]):
    """Give shuffled batches of equal size; its state is kept in Lightning's checkpoints.

    The batches of a fit that goes on are those that an uninterrupted one would have had.
    """

    def __init__(self, data: TensorDataset, batch_size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.order, self.tensors = _Order(len(data), generator), data.tensors
        self.given = 0  # batches of this epoch
        super().__init__(data, batch_size, sampler=self.order, drop_last=True, generator=generator)

    def replace(self, *tensors: Tensor) -> None:
        """Give other samples from now on; those that are more than before, from the next epoch on.

        They must be as many as before at least.
        """
        self.tensors, self.order.samples = tensors, len(tensors[0])

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A batch at once: taking it sample by sample costs as much as a step of a small network.
        torch.empty((), dtype=torch.int64).random_(generator=self.order.generator)  # as torch does
        self.given = 0 if self.order.saved is None else self.order.saved[1] // self._size
        return self._counted()

    @property
    def _size(self) -> int:
        assert self.batch_size is not None
        return self.batch_size

    @property
    def _whole(self) -> int:
        """Return the batches of this epoch."""
        return self.order.drawn // self._size

    def _counted(self) -> Iterator[Any]:
        rows = iter(torch.split(self.order.draw(), self._size))
        while self.given < self._whole:
            batch = next(rows)
            self.given += 1
            yield [tensor[batch] for tensor in self.tensors]

    def state_dict(self) -> dict[str, Any]:
        """Return where in which order the fit is."""
        if self.order.saved is not None:  # not gone on with yet
            state, _, drawn = self.order.saved
            return {"generator": state, "given": self.given, "samples": drawn}
        if self.order.began is None or self.given >= self._whole:
            state, given = self.order.generator.get_state(), 0
        else:
            state, given = self.order.began, self.given
        return {"generator": state, "given": given, "samples": self.order.drawn}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, at the next iteration."""
        if state_dict["given"]:
            drawn = state_dict.get("samples", self.order.samples)
            self.order.saved = state_dict["generator"], state_dict["given"] * self._size, drawn
        else:
            self.order.generator.set_state(state_dict["generator"])
