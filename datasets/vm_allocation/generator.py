"""Generate data centers: hosts and flavors as in ByteDance's Medium set, and who comes and goes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...core.contracts import Setting
from ...core.errors import SettingError
from ..hosts import MB_PER_CORE, MEDIUM_FLAVORS, NODE_CPU, NODE_MEM_MB, PMS_PER_RACK
from ..setting_texts import choice, real, whole
from .instance import DEFAULT_TASK, DataCenter
from .shift import shifted

MOST_PMS = 100_000
DAY = 2 * np.pi * np.arange(24) / 24
# Mean in hours, standard deviation of the logarithm (0 for an exponential law), share of the
# requests. `cloud` has 96 % of its VMs under a day with about 2 % of the core-hours, as Alibaba's
# ("DVLA", OSDI 2026); `short` 88 % under an hour with about 2 %, as Google's (LAVA, MLSys 2025).
LAWS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "exponential": ((3.0, 0.0, 1.0),),
    "classes": ((0.25, 0.0, 0.6), (3.0, 0.0, 0.3), (48.0, 0.0, 0.1)),
    "short": ((0.22, 0.8, 0.90), (4.0, 0.9, 0.07), (300.0, 1.0, 0.03)),
    "cloud": ((1.2, 1.6, 0.955), (60.0, 1.0, 0.02), (1600.0, 0.7, 0.025)),
}
# What the shares of flavors in Medium's snapshot are multiplied by, by the cores of a VM.
MIXES: Mapping[str, tuple[float, float]] = {
    "medium": (1.0, 1.0),
    "small": (2.0, 0.5),
    "large": (0.7, 2.0),
}
SMALL_CORES = 4
SHIFTS = ("none", "sizes", "lifetimes", "rate", "all")
SHIFT_PART = (0.25, 0.75)  # of the hours, within which the law changes
STRETCHED, FASTER = 4.0, 1.25  # by how much lifetimes and rates change, up or down
PARAMETERS: Mapping[str, Setting] = {
    "pms": Setting("100", f"physical machines (2 to {MOST_PMS})"),
    "load": Setting("0.95", "CPU that requests would hold on average, over the hosts' (0.01 to 3)"),
    "law": Setting("exponential", f"of lifetimes: {', '.join(LAWS)}"),
    "mean_life_h": Setting(
        "", "hours; stretches the law's lifetimes to this mean (0.05 to 10000; the law's own)"
    ),
    "mix": Setting(
        "medium", "of flavors: medium (as in its snapshot), small or large (twice as many such VMs)"
    ),
    "day": Setting("0.0", "by how much arrivals rise and fall within a day (0 to 1)"),
    "batch_mean": Setting("1.0", "requests that an owner makes at once, on average (1 to 100)"),
    "sets": Setting("0.0", "share of the batches that are deployment sets (0 to 1)"),
    "pinned": Setting("0.0", "share of the VMs that cannot be migrated (0 to 1)"),
    "shift": Setting(
        "none", f"what of the requests changes for good at an hour that nobody is told: "
        f"{', '.join(SHIFTS)}"
    ),
}  # fmt: skip


def generate(parameters: Mapping[str, str], seed: int) -> DataCenter:
    """Generate a data center with Medium's hosts and flavors.

    Requests ask for Medium's flavors in the shares that they have in its snapshot, whatever their
    lifetimes. At the start there are as many VMs as the load would hold; the policy places them.

    Args:
        parameters: texts by the names in PARAMETERS; those left out have their defaults.
        seed: its stream; with the world's seed it decides the requests of each world.

    Raises:
        SettingError: a parameter cannot be read or is out of range.
    """
    texts = {key: setting.default for key, setting in PARAMETERS.items()} | dict(parameters)
    try:
        pms = whole(texts, "pms", MOST_PMS, 2)
        load, day = real(texts, "load", (0.01, 3.0)), real(texts, "day", (0.0, 1.0))
        batch_mean = real(texts, "batch_mean", (1.0, 100.0))
        sets, pinned = (real(texts, key, (0.0, 1.0)) for key in ("sets", "pinned"))
        mix = choice(texts, "mix", tuple(MIXES))
        law = np.array(LAWS[choice(texts, "law", tuple(LAWS))])
        shift = choice(texts, "shift", SHIFTS)
        if texts["mean_life_h"]:
            law[:, 0] *= real(texts, "mean_life_h", (0.05, 1e4)) / (law[:, 0] @ law[:, 2])
    except SettingError as error:
        raise SettingError(f"generate vm_allocation: {error}") from error
    cpu, nodes, counts = (
        np.array(column) for column in list(zip(*MEDIUM_FLAVORS, strict=True))[1:]
    )
    share = _shares(mix, cpu * nodes, counts)
    capacity = pms * 2 * NODE_CPU
    cores = float(share @ (cpu * nodes))
    life_h = float(law[:, 0] @ law[:, 2])
    center = DataCenter(
        name=f"generated-{pms}pm-seed{seed}",
        pm_ids=tuple(f"pm_{i}" for i in range(pms)),
        pm_rack=np.arange(pms, dtype=np.int64) // PMS_PER_RACK,
        numa_cpu=np.full((pms, 2), NODE_CPU, np.int64),
        numa_mem=np.full((pms, 2), NODE_MEM_MB, np.int64),
        cpu_per_core=1,
        flavor_names=tuple(name for name, *_ in MEDIUM_FLAVORS),
        flavor_cpu=cpu.astype(np.int64),
        flavor_mem=(cpu * MB_PER_CORE).astype(np.int64),
        flavor_nodes=nodes.astype(np.int64),
        flavor_share=share,
        law_mean_h=law[:, 0].copy(),
        law_sigma=law[:, 1].copy(),
        law_share=np.tile(law[:, 2], (len(share), 1)),
        arrivals_per_h=load * capacity / (cores * life_h),
        hour_factor=1.0 + day * np.sin(DAY),
        batch_mean=batch_mean,
        set_share=sets,
        pinned_share=pinned,
        start_vms=round(load * capacity / cores),
        stream=seed,
        **DEFAULT_TASK,  # type: ignore[arg-type]
    )
    if shift == "none":
        return center
    rng = np.random.default_rng([seed, 0x5417])
    other = str(rng.choice([one for one in MIXES if one != mix]))
    after = _after(center, shift, _shares(other, cpu * nodes, counts), rng)
    return shifted(center, after, float(rng.uniform(*SHIFT_PART)) * center.horizon_h)


def _shares(mix: str, cores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the shares of flavors of so many cores and VMs of the snapshot in a mix."""
    few, many = MIXES[mix]
    weights = counts * np.where(cores <= SMALL_CORES, few, many)
    return np.asarray(weights / weights.sum())


def _after(
    before: DataCenter, shift: str, share: np.ndarray, rng: np.random.Generator
) -> DataCenter:
    """Return the process after a shift: flavors have other shares; small VMs live longer and the
    others shorter, or the reverse; there are more requests or fewer. Where the rate stays, the load
    does.

    Args:
        before: the process before.
        shift: one of SHIFTS.
        share: of the flavors, should they change.
        rng: draws which way.
    """
    is_up = rng.random(2) < 0.5
    load = before.offered_load
    if shift in ("rate", "all"):
        load *= FASTER if is_up[0] else 1 / FASTER
    after = before
    if shift in ("sizes", "all"):
        after = dataclasses.replace(after, flavor_share=share)
    if shift in ("lifetimes", "all"):
        is_long = (before.flavor_total <= SMALL_CORES) == is_up[1]
        mean_h = before.law_mean_h
        after = dataclasses.replace(
            after,
            law_mean_h=np.concatenate([mean_h / STRETCHED, mean_h * STRETCHED]),
            law_sigma=np.tile(before.law_sigma, 2),
            law_share=np.hstack(
                [np.where((is_long == part)[:, None], before.law_share, 0.0) for part in (0, 1)]
            ),
        )
    rate = before.arrivals_per_h * load / after.offered_load
    return dataclasses.replace(after, arrivals_per_h=rate)
