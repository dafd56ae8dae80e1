"""The least joint footprint of buffers that an operator may overlap.

At one step, buffers that must be disjoint need the sum of their sizes. A rule (output below input by at least
`gap`) lets two of them share bytes. Closing a hole in an arrangement never breaks a rule, so the least *span*
of a group of buffers linked by rules equals its least *union*, and groups simply add up, together with all
that live beside them.

One output over several inputs is a one-machine schedule: the inputs are jobs as long as their sizes, released
at their gaps, while the output occupies [0, size). Running the jobs by release date minimises the last end
(Jackson 1955), and starting an input below the output never helps. Several outputs over one input are the
mirror image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Rule = tuple[int, int, int]
"""(output, input, gap): the output lies at least `gap` bytes below the input, or wholly above it; gap <=
size(output)."""


def _star(centre: int, jobs: Iterable[tuple[int, int]]) -> int:
    """The least span of a buffer of `centre` bytes and of disjoint (release, size) jobs."""
    end = 0
    for release, size in sorted(jobs):
        end = max(end, release) + size
    return max(centre, end)


def _output_star(output: int, rules: Sequence[Rule], size: Mapping[int, int] | Sequence[int]) -> int:
    return _star(size[output], ((max(0, gap), size[i]) for o, i, gap in rules if o == output))


def _input_star(input: int, rules: Sequence[Rule], size: Mapping[int, int] | Sequence[int]) -> int:
    jobs = ((max(0, size[input] + gap - size[o]), size[o]) for o, i, gap in rules if i == input)
    return _star(size[input], jobs)


def _groups(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules, split into groups that share no buffer."""
    groups: list[tuple[set[int], list[Rule]]] = []
    for rule in rules:
        joined = (set(rule[:2]), [rule])
        apart = []
        for group in groups:
            if group[0] & joined[0]:
                joined = (group[0] | joined[0], group[1] + joined[1])
            else:
                apart.append(group)
        groups = [*apart, joined]
    return [group for _, group in groups]


def saved_bytes(rules: Sequence[Rule], size: Mapping[int, int] | Sequence[int]) -> int:
    """By how much the rules that have effect at one step lower the need of their buffers below the sum of
    sizes.

    Exact where each group of linked buffers has one output or one input; else an upper bound of the saving
    (the group counts by the largest of: its outputs, its inputs, any one output or input with all its
    partners).

    Args:
        rules: the rules of one step that have effect there, each pair at most once.
        size: bytes by buffer.
    """
    saved = 0
    for group in _groups(rules):
        outputs = {o for o, _, _ in group}
        inputs = {i for _, i, _ in group}
        output_bytes = sum(size[o] for o in outputs)
        input_bytes = sum(size[i] for i in inputs)
        span = max(
            output_bytes,
            input_bytes,
            *(_output_star(o, group, size) for o in outputs),
            *(_input_star(i, group, size) for i in inputs),
        )
        saved += output_bytes + input_bytes - span
    return saved
