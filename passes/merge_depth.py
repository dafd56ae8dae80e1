"""Depth merging: activations go where they matter least, and the convolutions between them become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

from dnncc.calibration import synthetic_samples
from dnncc.errors import Culprit, UsageError
from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass, Surroundings
from dnncc.passes.depth.decide import Choice, Table, candidates, choose, measure
from dnncc.passes.depth.importance import Measure, importance, worth
from dnncc.passes.depth.latency import Meter
from dnncc.passes.depth.layers import Layers, find_layers
from dnncc.passes.depth.problem import Merge
from dnncc.passes.depth.rewrite import merge
from dnncc.passes.depth.training import Data, train
from dnncc.runtime.suggest import did_you_mean

_SEED = 0


@dataclass(frozen=True)
class MergeDepth(Pass):
    """Convolutions in a row become one where that is measured to be faster: exactly, or for a budget at least loss.

    Kim et al., "Efficient Latency-Aware CNN Depth Compression via Two-Stage Dynamic Programming", ICML 2023. Takes a
    simplified float graph, so it stands behind simplify and before quantize.

    Attributes:
        mode: "exact" merges only where neither an activation nor the border of an image changes, as far as it is
            faster; "approximate" removes activations and moves padding until the budget is kept.
        budget: for one inference of the whole network: a share (up to 1.0) of what it takes now, or cycles, or
            nanoseconds on the host.
        target: the board to measure on; by default the one that is compiled for.
        importance: what is lost by a merge: "distortion" of the outputs, or "accuracy" with labels.
        labels: the name of the array with each sample's class that comes with the samples.
        samples: so many, the first, importance is measured on.
        trial: each candidate is trained for so many steps before its importance is measured.
        finetune: the merged network is trained for so many steps, on all samples.
        rate: the learning rate of both.
        longest: a merge has at most so many layers.
        growth: and at most so many times their multiplications.
        drop: merges may also leave convolutions out that keep their input's shape (LayerMerge).
        plan: instead of all this, merge these: of each the results of the first and the last convolution, and of those
            that are left out.
        synthetic: where no samples were given, make up so many; 0 makes them obligatory.
    """

    name: ClassVar[str] = "merge-depth"
    mode: Literal["exact", "approximate"] = "exact"
    budget: int | float | None = None
    target: str | None = None
    importance: Measure = "distortion"
    labels: str | None = None
    samples: int = 64
    trial: int = 0
    finetune: int = 0
    rate: float = 1e-3
    longest: int = 6
    growth: float = 8.0
    drop: bool = False
    plan: tuple[tuple[str, ...], ...] | None = None
    synthetic: int = 0
    surroundings: InitVar[Surroundings | None] = None

    def __post_init__(self, surroundings: Surroundings | None) -> None:
        object.__setattr__(self, "_surroundings", surroundings)
        if self.budget is not None and self.budget <= 0:
            raise ValueError("the budget must be positive")
        if min(self.samples, self.longest) < 1 or min(self.trial, self.finetune, self.synthetic) < 0:
            raise ValueError("samples and longest must be positive, and no number negative")
        if self.rate <= 0 or self.growth <= 0:
            raise ValueError("rate and growth must be positive")
        if self.mode == "exact" and (self.trial or self.finetune or self.drop):
            raise ValueError("exact merges train and drop nothing: leave out trial, finetune and drop")
        if any(len(names) < 2 for names in self.plan or ()):
            raise ValueError("each merge of a plan needs the names of its first and its last convolution")
        if self.mode == "approximate" and self.budget is None and self.plan is None:
            raise ValueError("mode=approximate needs a budget, or a plan")
        if self.importance == "accuracy" and self.labels is None:
            raise ValueError("importance=accuracy needs labels=NAME, an array that comes with the samples")

    def bind(self, surroundings: Surroundings) -> MergeDepth:
        return replace(self, surroundings=surroundings)

    def resolved(self) -> MergeDepth:
        return replace(self, plan=getattr(self, "_plan", self.plan))

    def notes(self) -> tuple[str, ...]:
        return getattr(self, "_notes", ())

    def record(self) -> Mapping[str, Any]:
        return getattr(self, "_record", {})

    def run(self, graph: Graph) -> bool:
        layers = find_layers(graph)
        decides, approximate = self.plan is None, self.mode == "approximate"
        data = self._data(graph) if approximate and (decides or self.finetune) else None
        record: dict[str, Any] = {}
        if self.plan is None:
            merges, record = self._choose(graph, layers, data)
        else:
            merges = self._planned(layers, self.plan)
        plan = tuple(_names(layers, m) for m in merges)
        removed = sum(bool(layers[p].activation) for i, j, _ in merges for p in range(i + 1, j))
        merge(graph, merges)
        if data is not None and merges:
            train(graph, data, self.finetune, self.rate)
            record["distortion"] = -worth(graph, data.first(self.samples), "distortion")
        record["merges"] = [list(ends) for ends in plan]
        object.__setattr__(self, "_plan", plan)
        object.__setattr__(self, "_record", record)
        object.__setattr__(self, "_notes", self._note(merges, removed, record) if approximate else ())
        return bool(merges)

    def _choose(
        self, graph: Graph, layers: Layers, data: Data | None
    ) -> tuple[tuple[Merge, ...], dict[str, Any]]:
        meter = self._meter()
        merges = candidates(layers, self.longest, self.growth, data is None, self.drop)
        if not merges and self.budget is None:
            return (), {}
        table = measure(graph, layers, merges, meter)
        budget = table.whole if self.budget is None else self.budget
        if budget <= 1 and not isinstance(budget, int):
            budget = int(table.whole * budget)
        if data is None:
            values = dict.fromkeys(table.useful, 0.0)
        else:
            few = data.first(self.samples)
            values = {
                m: importance(graph, m, few, self.importance, self.trial, self.rate) for m in table.useful
            }
        choice = choose(graph, layers, table, values, int(budget), meter)
        return choice.merges, _record(layers, table, values, choice, meter.unit)

    def _planned(self, layers: Layers, plan: tuple[tuple[str, ...], ...]) -> tuple[Merge, ...]:
        """The plan's merges; UsageError with all that is wrong with them."""
        positions = {layers[p].conv.output.name: p for p in range(1, len(layers) + 1)}
        wrong = [
            Culprit(name, reason="is no convolution with constant weights" + did_you_mean(name, positions))
            for name in dict.fromkeys(name for names in plan for name in names)
            if name not in positions
        ]
        merges: list[Merge] = []
        if not wrong:
            merges = [
                (positions[first] - 1, positions[last], tuple(positions[name] for name in dropped))
                for first, last, *dropped in plan
            ]
        allowed = set(layers.segments(len(layers)))
        exact = {m[:2] for m in candidates(layers, len(layers), float("inf"), exact=True)}
        for i, j, dropped in merges:
            inside = all(i < p <= j and layers.can_drop(p) for p in dropped) and len(dropped) < j - i
            if (i, j) not in allowed or not inside:
                reason = "cannot be merged"
            elif self.mode == "exact" and ((i, j) not in exact or dropped):
                reason = "cannot be merged exactly"
            else:
                continue
            wrong.append(Culprit(" ".join(_names(layers, (i, j, dropped))), reason=reason))
        merges.sort()
        wrong += [
            Culprit(" ".join(_names(layers, second)), reason="overlaps another merge")
            for first, second in pairwise(merges)
            if second[0] < first[1] and not wrong
        ]
        if wrong:
            raise UsageError(
                "the plan does not fit the network", wrong, help="leave out plan=... to decide anew"
            )
        return tuple(merges)

    def _meter(self) -> Meter:
        surroundings: Surroundings | None = getattr(self, "_surroundings", None)
        target = self.target or (None if surroundings is None else surroundings.target)
        if target is None:
            raise UsageError(
                "the pass 'merge-depth' needs a target to measure on", help="give target=BOARD, or a plan"
            )
        if surroundings is None:
            return Meter(target, "int8")
        return Meter(target, surroundings.dtype, surroundings.samples if surroundings.real else None)

    def _data(self, graph: Graph) -> Data:
        surroundings: Surroundings | None = getattr(self, "_surroundings", None)
        if (surroundings is None or not surroundings.real) and self.synthetic:
            surroundings = Surroundings(synthetic_samples(graph, self.synthetic, _SEED))
        if surroundings is None or not surroundings.real:
            raise UsageError(
                "the pass 'merge-depth' needs calibration samples for approximate merges",
                help="give --calibrate X.npz, or merge-depth{synthetic=N} for a try with N made up samples",
            )
        if self.labels is not None and self.labels not in surroundings.others:
            known = did_you_mean(self.labels, surroundings.others)
            raise UsageError(
                f"there is no array '{self.labels}' beside the samples{known}",
                help="labels=NAME names an array of the calibration file with one class per sample",
            )
        return Data.of(
            graph, surroundings.samples, None if self.labels is None else surroundings.others[self.labels]
        )

    def _note(self, merges: Sequence[Merge], removed: int, record: Mapping[str, Any]) -> tuple[str, ...]:
        if not merges:
            return ()
        lost = record.get("distortion")
        error = "" if lost is None else f"; the outputs' error is {lost:.2g} of their power"
        dropped = sum(len(left_out) for _, _, left_out in merges)
        layers = f", {dropped} convolutions" if dropped else ""
        text = (
            f"merge-depth has made another network: {len(merges)} merges, {removed} activations{layers} are gone and "
            f"padding has moved to the first convolution of each merge{error}"
        )
        return (text,)


def _names(layers: Layers, merge: Merge) -> tuple[str, ...]:
    """The names of the results of a merge's first and last convolution, and of those that it leaves out."""
    first, last, dropped = merge
    return tuple(layers[p].conv.output.name for p in (first + 1, last, *dropped))


def _record(
    layers: Layers, table: Table, values: Mapping[Merge, float], choice: Choice, unit: str
) -> dict[str, Any]:
    return {
        "unit": unit,
        "before": table.whole,
        "after": choice.after,
        "status": choice.status,
        "importance": choice.importance,
        "importance_bound": choice.bound,
        "segments": [
            {
                "names": list(_names(layers, merge)),
                "merged": cost,
                "apart": sum(table.latency[p, p + 1, ()] for p in range(merge[0], merge[1])),
                "importance": values.get(merge),
            }
            for merge, cost in table.latency.items()
            if merge[1] > merge[0] + 1
        ],
        "front": [list(point) for point in choice.front],
    }
