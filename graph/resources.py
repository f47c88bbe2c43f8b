"""Resource attributes -> the entities a resource speaks of. Pure: attributes in, refs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schema.identity import EntityRef

SERVICE_NAME, SERVICE_NAMESPACE = "service.name", "service.namespace"
CLUSTER_NAME, NAMESPACE_NAME, NODE_NAME = "k8s.cluster.name", "k8s.namespace.name", "k8s.node.name"
POD_NAME, POD_UID, POD_IP = "k8s.pod.name", "k8s.pod.uid", "k8s.pod.ip"
CONTAINER_NAME, BARE_CONTAINER_NAME, CONTAINER_ID = "k8s.container.name", "container.name", "container.id"
HOST_NAME, HOST_IP = "host.name", "host.ip"
ENVIRONMENT = "deployment.environment.name"
# Most telling first: a deployment's pods belong to its replica sets too, a cron job's to its jobs.
WORKLOAD_KEYS = (
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.replicationcontroller.name",
    "k8s.replicaset.name",
)
LABEL_KEYS: dict[str, tuple[str, ...]] = {
    "service": ("service.version", "service.criticality", ENVIRONMENT),
    "pod": (POD_UID,),
    "container": ("container.image.name", "container.image.tags"),
    "node": ("cloud.provider", "cloud.region", "cloud.availability_zone"),
}
UNKNOWN_SERVICE = "unknown_service"  # what SDKs say when nobody named the service


@dataclass(frozen=True, slots=True)
class ResolvedResource:
    """The entities a resource speaks of, the relations among them, and their labels."""

    service: EntityRef | None
    pod: EntityRef | None
    container: EntityRef | None
    node: EntityRef | None
    workload: EntityRef | None
    namespace: EntityRef | None
    cluster: EntityRef | None
    relations: tuple[tuple[EntityRef, str, EntityRef], ...]
    labels: Mapping[EntityRef, Mapping[str, str]]

    def of_kind(self, kind: str) -> EntityRef | None:
        """The resource's own entity of that kind."""
        match kind:
            case "service":
                return self.service
            case "container":
                return self.container
            case "pod":
                return self.pod
            case "node":
                return self.node
            case "workload":
                return self.workload
            case _:
                return None


def cluster_of(attributes: Mapping[str, str], default: str) -> str:
    """The cluster part of identities: the Kubernetes cluster, else the deployment environment, else the default."""
    return identity_part(attributes.get(CLUSTER_NAME) or attributes.get(ENVIRONMENT) or default)


def namespace_of(attributes: Mapping[str, str]) -> str:
    """The namespace part of a service's identity: service.namespace, else the Kubernetes namespace."""
    return identity_part(attributes.get(SERVICE_NAMESPACE) or attributes.get(NAMESPACE_NAME, ""))


def resolve(attributes: Mapping[str, str], default_cluster: str) -> ResolvedResource:
    """The entities of a resource. A host name names a node unless the resource is a pod or container, whose host name is its own."""
    get = attributes.get
    cluster, namespace = cluster_of(attributes, default_cluster), identity_part(get(NAMESPACE_NAME, ""))
    workload = _ref("workload", cluster, namespace, next((attributes[key] for key in WORKLOAD_KEYS if get(key)), ""))
    service_name = get(SERVICE_NAME, "")
    if service_name.startswith(UNKNOWN_SERVICE) and workload is not None:
        service_name = workload.name
    service = _ref("service", cluster, namespace_of(attributes), service_name)
    pod = _ref("pod", cluster, namespace, get(POD_NAME, ""))
    node = _ref("node", cluster, "", get(NODE_NAME) or ("" if pod else get(HOST_NAME, "")))
    container = _container(attributes, cluster, namespace, pod, node)
    namespace_ref = _ref("namespace", cluster, "", namespace)
    cluster_ref = _ref("cluster", cluster, "", identity_part(get(CLUSTER_NAME, "")))
    links = (
        (service, "runs_on", pod or container or node),
        (container, "part_of", pod),
        (container, "runs_on", None if pod else node),
        (pod, "part_of", workload),
        (pod, "runs_on", node),
        (pod, "part_of", None if workload else namespace_ref),
        (workload, "part_of", namespace_ref),
        (namespace_ref, "part_of", cluster_ref),
        (node, "part_of", cluster_ref),
    )
    relations = tuple((source, kind, target) for source, kind, target in links if source is not None and target is not None)
    entities = [each for each in (service, pod, container, node) if each is not None]
    labels = {each: {key: attributes[key] for key in LABEL_KEYS[each.kind] if get(key)} for each in entities}
    return ResolvedResource(
        service, pod, container, node, workload, namespace_ref, cluster_ref, relations, {each: held for each, held in labels.items() if held}
    )


def identity_part(text: str) -> str:
    """A cluster or namespace as part of an identity: slashes would end it (`arn:aws:eks:...:cluster/prod` -> `...:cluster-prod`)."""
    return text.replace("/", "-")


def _container(attributes: Mapping[str, str], cluster: str, namespace: str, pod: EntityRef | None, node: EntityRef | None) -> EntityRef | None:
    """A container is named within its pod, or within its machine outside Kubernetes."""
    if pod is not None:
        name = attributes.get(CONTAINER_NAME, "")
        return EntityRef("container", cluster, namespace, f"{pod.name}/{name}") if name else None
    name = attributes.get(BARE_CONTAINER_NAME, "")
    return _ref("container", cluster, "", f"{node.name}/{name}" if node and name else name)


def _ref(kind: str, cluster: str, namespace: str, name: str) -> EntityRef | None:
    return EntityRef(kind, cluster, namespace, name) if name else None
