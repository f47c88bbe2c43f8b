"""The entity behind a Kubernetes object, as events name it. Pure."""

from __future__ import annotations

import re

from schema.identity import EntityRef

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicationController"})
CONTAINER_PATH = re.compile(r"spec\.(?:init|ephemeral)?[cC]ontainers\{(.+)\}")
# A replica set is its deployment's name and a hash of the pod template in Kubernetes' vowel-free alphabet.
TEMPLATE_HASH = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5,10}$")


def object_ref(kind: str, name: str, cluster: str, namespace: str, field_path: str) -> EntityRef | None:
    """The pod, container, node, workload or namespace an event speaks of; None for kinds that are no entities."""
    if not name:
        return None
    if kind == "Node":
        return EntityRef("node", cluster, "", name)
    if kind == "Namespace":
        return EntityRef("namespace", cluster, "", name)
    if kind == "Pod":
        container = CONTAINER_PATH.fullmatch(field_path)
        return EntityRef("container", cluster, namespace, f"{name}/{container[1]}") if container else EntityRef("pod", cluster, namespace, name)
    if kind == "ReplicaSet":
        return EntityRef("workload", cluster, namespace, TEMPLATE_HASH.sub("", name))
    return EntityRef("workload", cluster, namespace, name) if kind in WORKLOADS else None
