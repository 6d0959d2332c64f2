"""Learners of one architecture that train in one computation: stacked parameters, one forward pass.

The same steps as `TrainerLearner` on a stock Trainer, with the same batches and the same teaching;
sums are taken in another order, so weights are equal to float tolerance, and bit for bit only with
themselves.  Functional calls over stacked parameters: `torch.func` (Horace & Zou 2021).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from qsynth.errors import StateError
from qsynth.model.classifier import Classifier
from qsynth.pipeline.teach import Lesson, Teaching, build_teachings
from qsynth.types import CLASSES, LABELS

CHUNK_FLOATS = 2**19  # of parameters that train at once: with their moments they stay in a cache
CHUNK_CONVOLUTION = 16  # nodes at most of convolutions: their activations outweigh all else


@dataclass
class Slot:
    """One node's place: its samples, what it draws from, how far it is.

    inputs: (n, *shape).  targets: (n,) or (n, K).  steps: that it has done.
    """

    inputs: Tensor
    targets: Tensor
    batch_size: int
    loader: torch.Generator
    teacher: torch.Generator
    steps: int = 0
    goal: int = 0
    lesson: Lesson | None = None
    order: list[Tensor] = field(default_factory=list)  # batches of this epoch that are left

    def __getstate__(self) -> dict[str, Any]:
        """Return what a snapshot keeps: generators by their state."""
        states = {name: vars(self)[name].get_state() for name in ("loader", "teacher")}
        return vars(self) | states

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a snapshot has kept."""
        for name in ("loader", "teacher"):
            made = torch.Generator()
            made.set_state(state.pop(name))
            state[name] = made
        vars(self).update(state)

    def progress(self) -> dict[str, Any]:
        """Return how far it is, without its samples: what a checkpoint keeps."""
        kept = ("steps", "goal", "loader", "teacher")
        told = {name: value for name, value in self.__getstate__().items() if name in kept}
        return told | {"order": list(self.order)}

    def go_on(self, progress: dict[str, Any]) -> None:
        """Go on from what `progress` gave."""
        self.__setstate__(dict(progress))

    def batches(self, steps: int) -> Tensor:
        """Return (steps, batch) rows, those that `ResumableLoader` would give."""
        rows = []
        for _ in range(steps):
            if not self.order:
                torch.empty((), dtype=torch.int64).random_(generator=self.loader)  # as an iterator
                drawn = torch.randperm(len(self.inputs), generator=self.loader)
                whole = len(drawn) // self.batch_size * self.batch_size
                self.order = list(drawn[:whole].view(-1, self.batch_size))
            rows.append(self.order.pop(0))
        return torch.stack(rows)


class BatchedLearners:
    """Learners of one architecture, task and batch size.

    template: a network of that architecture.  count: of nodes.  max_steps: of a schedule.
    gradient_clip_norm: None for no clipping.  threads: that train parts of the nodes at once; how
    many does not change a bit.
    """

    def __init__(
        self,
        template: Classifier,
        count: int,
        max_steps: int,
        gradient_clip_norm: float | None = None,
        threads: int = 1,
    ) -> None:
        self.slots: list[Slot] = []
        self.errors: dict[int, Exception] = {}
        self.clip, self.max_steps, self.threads = gradient_clip_norm, max_steps, threads
        self._template = template  # its parameters are whose it is asked for
        parameters = dict(template.named_parameters())
        # Of all nodes, by name: (count, *shape); then the two moments of AdamW.
        self.parameters, *self.moments = (
            {k: _mapped(count, *p.shape) for k, p in parameters.items()} for _ in range(3)
        )
        size = sum(p.numel() for p in parameters.values())
        convolves = any(isinstance(module, nn.Conv2d) for module in template.modules())
        most = CHUNK_CONVOLUTION if convolves else count
        self.chunk = max(1, min(count, most, CHUNK_FLOATS // max(size, 1)))

    def add(self, network: Classifier, slot: Slot) -> int:
        """Take a node's network over; return its number.  Buffers are those of the template."""
        number = len(self.slots)
        self.slots.append(slot)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                self.parameters[name][number] = parameter
        return number

    def network(self, number: int) -> Classifier:
        """Return a module with a node's parameters; it is theirs until the next call."""
        # Copied: a view would be written with the parameters of all.
        with torch.no_grad():
            for name, parameter in self._template.named_parameters():
                parameter.copy_(self.parameters[name][number])
        return self._template

    def weights(self, number: int) -> list[dict[str, Tensor]]:
        """Return a copy of a node's parameters and of the two moments of AdamW."""
        each = [self.parameters, *self.moments]
        return [{name: values[number].clone() for name, values in part.items()} for part in each]

    def set_weights(self, number: int, weights: list[dict[str, Tensor]]) -> None:
        """Take what `weights` gave.  Raises KeyError or RuntimeError for another network's."""
        for part, given in zip([self.parameters, *self.moments], weights, strict=True):
            for name, values in part.items():
                values[number] = given[name]

    def ask(self, number: int, steps: int, lesson: Lesson | None) -> None:
        """Let a node train so many steps more, before `ready` is called."""
        slot = self.slots[number]
        slot.lesson, slot.goal = lesson, slot.steps + steps

    def ready(self, number: int) -> None:
        """See to it that a node has trained as asked; who waits as well trains with it."""
        if number in self.errors:
            raise self.errors.pop(number)
        if self.slots[number].steps == self.slots[number].goal:
            return
        waiting = [n for n, slot in enumerate(self.slots) if slot.steps < slot.goal]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for n in waiting:
            alike.setdefault(_kind(self.slots[n]), []).append(n)
        parts = [
            members[begin : begin + self.chunk]
            for members in alike.values()
            for begin in range(0, len(members), self.chunk)
        ]
        if min(self.threads, len(parts)) < 2:
            for part in parts:
                self._tried(self._template, part)
        else:
            # A functional call puts parameters into the module: each part has one of its own.
            with ThreadPoolExecutor(
                self.threads, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                list(pool.map(lambda part: self._tried(deepcopy(self._template), part), parts))
        if number in self.errors:
            raise self.errors.pop(number)

    def _tried(self, template: Classifier, numbers: list[int]) -> None:
        """Train; what goes wrong is told to those whose steps it was, each in its turn."""
        try:
            self._train(template, numbers)
        except Exception as error:
            for number in numbers:
                self.slots[number].goal = self.slots[number].steps
                self.errors[number] = error

    def _train(self, template: Classifier, numbers: list[int]) -> None:
        """Do the steps that nodes of one kind wait for."""
        slots = [self.slots[n] for n in numbers]
        first = slots[0]
        steps = first.goal - first.steps
        teachings = [t for t in build_teachings([slot.lesson for slot in slots]) if t is not None]
        rows = torch.tensor(numbers)
        work = {k: p[rows].requires_grad_() for k, p in self.parameters.items()}
        moments = [{k: m[rows] for k, m in each.items()} for each in self.moments]
        optimizer = self._optimizer(work, moments, first.steps)
        batches = self._batches(slots, steps)
        lessons: Iterator[tuple[Tensor, Tensor]] = iter(())
        weights = torch.zeros(len(slots))
        every = 0
        if teachings and first.lesson is not None and first.lesson.weight:
            every = teachings[0].every_steps
            lessons = _lessons(slots, teachings, steps)
            weights = torch.tensor([t.weight * t.every_steps for t in teachings])
        for at, (inputs, targets) in enumerate(batches):
            done = first.steps + at
            if every and done % every == 0:
                # One pass for both: small networks cost by the call.
                taught, wanted = next(lessons)
                logits = _logits(template, work, torch.cat([inputs, taught], dim=1))
                own = self._losses(logits[:, : inputs.shape[1]], targets)
                losses = own + weights * self._losses(logits[:, inputs.shape[1] :], wanted)
            else:
                losses = self._losses(_logits(template, work, inputs), targets)
            gradients = torch.autograd.grad(losses.sum(), list(work.values()))
            self._step(optimizer, list(work.values()), list(gradients), done)
        for name in work:
            self.parameters[name][rows] = work[name].detach()
            for kept, each in zip(self.moments, moments, strict=True):
                kept[name][rows] = each[name]
        for slot in slots:
            slot.steps, slot.lesson = slot.goal, None

    def _batches(self, slots: Sequence[Slot], steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = torch.stack([slot.batches(steps) for slot in slots])  # (nodes, steps, batch)
        inputs = _padded([slot.inputs for slot in slots])
        targets = _padded([slot.targets for slot in slots])
        node = torch.arange(len(slots))[:, None]
        for step in range(steps):
            yield inputs[node, rows[:, step]], targets[node, rows[:, step]]

    def _losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return (nodes,) losses of (nodes, batch, C) logits and targets."""
        kind = self._template.kind
        flat, wanted = logits.flatten(0, 1), targets.flatten(0, 1)
        if kind == CLASSES:
            each = F.cross_entropy(flat, wanted, reduction="none")
        elif kind == LABELS:
            each = F.binary_cross_entropy_with_logits(flat, wanted, reduction="none")
        else:
            each = F.mse_loss(flat, wanted, reduction="none")
        losses: Tensor = each.reshape(len(logits), -1).mean(dim=1)
        return losses

    def _optimizer(
        self, work: dict[str, Tensor], moments: list[dict[str, Tensor]], done: int
    ) -> torch.optim.AdamW:
        """Return torch's AdamW (Loshchilov & Hutter 2019) over all nodes, where they had been."""
        template = self._template
        optimizer = torch.optim.AdamW(
            work.values(), template.learning_rate, weight_decay=template.weight_decay, fused=True
        )
        for name, weight in work.items():
            optimizer.state[weight] = {
                "step": torch.tensor(float(done)),
                "exp_avg": moments[0][name],
                "exp_avg_sq": moments[1][name],
            }
        return optimizer

    def _step(
        self,
        optimizer: torch.optim.AdamW,
        weights: list[Tensor],
        gradients: list[Tensor],
        done: int,
    ) -> None:
        """Do an optimizer step, after each node's clipping."""
        if self.clip is not None:
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            scale = (self.clip / (norms + 1e-6)).clamp(max=1.0)
            gradients = [g * scale.view(-1, *[1] * (g.dim() - 1)) for g in gradients]
        if self._template.schedule == "cosine":
            share = (1.0 + math.cos(math.pi * done / self.max_steps)) / 2.0
            optimizer.param_groups[0]["lr"] = self._template.learning_rate * share
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.contiguous()  # the fused kernel goes by memory, not by strides
        optimizer.step()


def _logits(template: Classifier, work: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Return (nodes, batch, C) logits of (nodes, batch, ...) inputs."""

    def forward(parameters: dict[str, Tensor], batch: Tensor) -> Tensor:
        logits: Tensor = functional_call(template, parameters, (batch,))
        return logits

    if len(inputs) == 1:  # vmap would only cost
        alone = {name: values.squeeze(0) for name, values in work.items()}
        return forward(alone, inputs[0])[None]
    stacked: Tensor = vmap(forward)(work, inputs)
    return stacked


def _mapped(*shape: int) -> Tensor:
    """Return zeros that live in a file without a name.

    What belongs to nodes that are not training now need not stay in memory.  Raises StateError
    where the disk has no room: found later, it would end the process.
    """
    size = math.prod(shape)
    try:
        with tempfile.NamedTemporaryFile(prefix="qsynth-learners-") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(4 * size, 1))
            return torch.from_file(file.name, True, size, dtype=torch.float32).view(shape)
    except OSError as error:
        raise StateError(
            f"{tempfile.gettempdir()}: no room for networks that wait ({error})"
        ) from None


def _kind(slot: Slot) -> tuple[Any, ...]:
    """Return what slots must have in common to take their steps together."""
    lesson = slot.lesson
    taught: tuple[Any, ...] = ()
    if lesson is not None and lesson.weight:
        taught = min(lesson.batch_size, len(lesson)), lesson.every_steps
    return slot.steps, slot.goal, slot.batch_size, taught


def _padded(parts: Sequence[Tensor]) -> Tensor:
    """Return (nodes, most rows, ...); rows that a node does not have are never asked for."""
    most = max(len(part) for part in parts)
    made = parts[0].new_zeros(len(parts), most, *parts[0].shape[1:])
    for at, part in enumerate(parts):
        made[at, : len(part)] = part
    return made


def _lessons(
    slots: Sequence[Slot], pools: Sequence[Teaching], steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what teaches the nodes, at each step that has a lesson."""
    first = slots[0]
    every = pools[0].every_steps
    lessons = sum((first.steps + at) % every == 0 for at in range(steps))
    drawn = [
        torch.stack(
            [
                torch.randint(
                    len(pool.inputs),
                    (min(pool.batch_size, len(pool.inputs)),),
                    generator=slot.teacher,
                )
                for _ in range(lessons)
            ]
        )
        for slot, pool in zip(slots, pools, strict=True)
    ]
    rows = torch.stack(drawn)
    inputs = _padded([pool.inputs for pool in pools])
    targets = _padded([pool.targets for pool in pools])
    node = torch.arange(len(slots))[:, None]
    for at in range(lessons):
        yield inputs[node, rows[:, at]], targets[node, rows[:, at]]
