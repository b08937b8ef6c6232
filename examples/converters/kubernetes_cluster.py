"""Convert listings of Kubernetes to a cluster file of vm_rescheduling.

    kubectl get nodes -o json > nodes.json
    kubectl get pods --all-namespaces -o json > pods.json
    python kubernetes_cluster.py nodes.json pods.json --out cluster.json

A node is a host of one NUMA node with what is allocatable, in millicores and MiB; its zone is its
rack. A cordoned node, or one with a taint that keeps pods off, lets pods out and none in; one that
is not ready, neither. A pod is a VM of what it requests, as the scheduler counts it. Pods that a
drain would not bring elsewhere are pinned: those of DaemonSets, of the node itself, of no
controller; those that say where they run, use the host's files, must not be evicted, or are ending.
Replicas whose anti-affinity keeps them apart are a deployment set.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from listings import ListingError, note, read, refuse, write

NODES, PODS = "kubectl get nodes -o json", "kubectl get pods --all-namespaces -o json"
MILLI, MIB = 1000, 2**20
# Suffixes of quantities: kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {f"{letter}i": 2 ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d{1,3})|([KMGTPE]i|[numkMGTPE])?)")
APART = {"kubernetes.io/hostname": "host", "topology.kubernetes.io/zone": "rack"}
RESOURCES = ("cpu", "memory")
NO_EVICTION = "cluster-autoscaler.kubernetes.io/safe-to-evict"


def quantity(text: Any, place: str) -> Fraction:
    """Read a quantity such as "500m", "1Gi", "128974848" or "1e9".

    Args:
        text: as it stands in a listing.
        place: file, record and field, for the error message.
    """
    match = QUANTITY.fullmatch(str(text))
    if match is None:
        refuse(place, f"is {text!r}, expected a quantity such as 500m, 2, 1Gi or 1e9")
    number, exponent, suffix = match.groups()
    if suffix in BINARY:
        return Fraction(number) * BINARY[suffix]
    return Fraction(number) * Fraction(10) ** int(exponent or DECIMAL[suffix or ""])


def items(path: Path, command: str, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects of a listing, each with its place.

    Args:
        path: the file.
        command: what prints such a listing.
        kind: kind of the objects.
    """
    listing = read(path, command)
    found = listing.get("items") if isinstance(listing, dict) else None
    if not isinstance(found, list):
        refuse(str(path), f"has no list of items; write it by `{command} > {path}`")
    if not found:
        refuse(str(path), f"lists no {kind}; write it by `{command} > {path}`")
    named = []
    for at, one in enumerate(found):
        place = f"{path}: items[{at}]"
        if not isinstance(one, dict) or one.get("kind", kind) != kind:
            refuse(place, f"is no {kind}; write the file by `{command} > {path}`")
        name = one.get("metadata", {}).get("name")
        if not name:
            refuse(place, f"has no metadata.name; write the file by `{command} > {path}`")
        named.append((f"{place} ({name})", one))
    return named


def host(place: str, node: dict[str, Any]) -> dict[str, Any]:
    """Return a node as a host.

    Args:
        place: where it stands.
        node: the object.
    """
    spec, status = node.get("spec", {}), node.get("status", {})
    offered = {**status.get("capacity", {}), **status.get("allocatable", {})}
    for key in RESOURCES:
        if key not in offered:
            refuse(f"{place}.status.allocatable", f"has no {key}; list nodes by `{NODES}`")
    ready = {one["type"]: one["status"] for one in status.get("conditions", [])}
    closed = spec.get("unschedulable") or any(
        taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints", [])
    )
    state = "DISABLED" if closed else "ACTIVE"
    zone = node["metadata"].get("labels", {}).get("topology.kubernetes.io/zone", "")
    cpu, memory = (quantity(offered[key], f"{place}.status.allocatable.{key}") for key in RESOURCES)
    return {
        "node_id": node["metadata"]["name"],
        "status": state if ready.get("Ready", "True") == "True" else "OUTAGE",
        "rack_id": zone or "none",
        "node_cpu": int(cpu * MILLI),
        "node_mem_mb": int(memory // MIB),
    }


def requested(place: str, spec: dict[str, Any]) -> tuple[int, int]:
    """Return the millicores and MiB that the scheduler counts for a pod, rounded up.

    Args:
        place: where it stands.
        spec: its spec.
    """

    def of(one: dict[str, Any], where: str, key: str) -> Fraction:
        asked = one.get("resources", {})
        text = {**asked.get("limits", {}), **asked.get("requests", {})}.get(key, 0)
        return quantity(text, f"{place}.{where}.resources.requests.{key}")

    total = {}
    for key in RESOURCES:
        beside = Fraction(0)  # of sidecars, init containers that go on running
        most = Fraction(0)  # while the pod begins
        for at, one in enumerate(spec.get("initContainers", [])):
            amount = of(one, f"spec.initContainers[{at}]", key)
            if one.get("restartPolicy") == "Always":
                beside += amount
                most = max(most, beside)
            else:
                most = max(most, beside + amount)
        running = sum(
            (of(one, f"spec.containers[{at}]", key)
             for at, one in enumerate(spec.get("containers", []))), beside,
        )  # fmt: skip
        of_pod = {**spec.get("resources", {}).get("limits", {}),
                  **spec.get("resources", {}).get("requests", {})}  # fmt: skip
        whole = quantity(of_pod[key], f"{place}.spec.resources") if key in of_pod else running
        extra = quantity(spec.get("overhead", {}).get(key, 0), f"{place}.spec.overhead.{key}")
        total[key] = max(whole, most) + extra
    return -int(-total["cpu"] * MILLI // 1), -int(-total["memory"] // MIB)


def why_pinned(pod: dict[str, Any]) -> str:
    """Return why a pod stays where it is; empty if it may move.

    Args:
        pod: the object.
    """
    about, spec = pod["metadata"], pod.get("spec", {})
    owners = {one.get("kind") for one in about.get("ownerReferences", [])}
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    reasons = {
        "of a DaemonSet": "DaemonSet" in owners,
        "of the node itself": "Node" in owners,
        "of no controller": not owners,
        "ending": "deletionTimestamp" in about,
        "not to be evicted": about.get("annotations", {}).get(NO_EVICTION) == "false",
        "saying where they run": bool(spec.get("nodeSelector"))
        or "requiredDuringSchedulingIgnoredDuringExecution" in affinity,
        "using the host's files": any("hostPath" in one for one in spec.get("volumes", [])),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def kept_apart(pod: dict[str, Any]) -> tuple[str, str] | None:
    """Return the controller of a pod that is kept apart from its like, and "host" or "rack".

    Args:
        pod: the object.
    """
    affinity = pod.get("spec", {}).get("affinity", {}).get("podAntiAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", [])
    labels = pod["metadata"].get("labels", {})
    for term in terms:
        wanted = term.get("labelSelector", {}).get("matchLabels", {})
        own = all(labels.get(key) == value for key, value in wanted.items())
        owners = pod["metadata"].get("ownerReferences", [])
        if own and owners and term.get("topologyKey") in APART:
            return str(owners[0].get("uid") or owners[0]["name"]), APART[term["topologyKey"]]
    return None


def convert(nodes: Path, pods: Path) -> dict[str, Any]:
    """Return a cluster file's document.

    Args:
        nodes: the listing of nodes.
        pods: the listing of pods.
    """
    hosts = [host(*one) for one in items(nodes, NODES, "Node")]
    known = {one["node_id"] for one in hosts}
    vms, left_out, pinned = [], defaultdict(int), defaultdict(int)
    sets: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place, pod in items(pods, PODS, "Pod"):
        about, spec = pod["metadata"], pod.get("spec", {})
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            left_out["that have ended"] += 1
            continue
        if not spec.get("nodeName"):
            left_out["that wait for a node"] += 1
            continue
        if spec["nodeName"] not in known:
            refuse(
                f"{place}.spec.nodeName",
                f"is {spec['nodeName']!r}, which is not in {nodes}; list nodes and pods together",
            )
        cpu, memory = requested(place, spec)
        if not cpu and not memory:
            left_out["that request nothing"] += 1
            continue
        why = why_pinned(pod)
        pinned[why] += bool(why)
        name = f"{about.get('namespace', 'default')}/{about['name']}"
        apart = kept_apart(pod)
        if apart is not None:
            sets[apart].append(name)
        vms.append(
            {
                "instance_id": name,
                "host_id": spec["nodeName"],
                "instance_type": f"{cpu}m {memory}Mi",
                "allow_migration": not why,
                "numa": [{"node": 0, "cpu": cpu, "mem_mb": memory}],
            }
        )
    for what, counts in (("left out", left_out), ("pinned", pinned)):
        for reason, count in counts.items():
            if count:
                note(f"{pods}: {what} pods {reason}: {count}")
    if not vms:
        refuse(str(pods), "no pod runs on a node and requests something; nothing can be moved")
    groups = [
        {"granularity": where, "data": members}
        for (_, where), members in sets.items()
        if len(members) > 1
    ]
    member = {"cluster_name": "kubernetes", "host_info": hosts, "vm_instance": vms}
    return {
        "cluster_list": [member | {"other_requirement": {"deployment_set": groups}}],
        "general_requirement": {"cpu_per_core": MILLI},
    }


def main() -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("nodes", type=Path, help=f"from `{NODES}`")
    parser.add_argument("pods", type=Path, help=f"from `{PODS}`")
    parser.add_argument("--out", type=Path, default=Path("cluster.json"))
    words = parser.parse_args()
    try:
        write(convert(words.nodes, words.pods), words.out)
    except ListingError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
