# SPDX-License-Identifier: Apache-2.0
"""Who publishes on a topic, and whether a subscription of ours can hear them."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

from whetstone_common.core.sources import identity_of

# What the middleware says before it has heard the name, or of a participant that is no ROS node.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


def full_name(info: Any) -> str:
    """Fully qualified name of the node of an endpoint, where the middleware knows it."""
    if info.node_name == _UNKNOWN:
        return f"a node without a known name (publisher {identity(info)})"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def identity(info: Any) -> str:
    """Identity of an endpoint."""
    return identity_of(bytes(info.endpoint_gid))


def publishers(node: Any, topic: str) -> list[Any]:
    """Endpoints that publish on a topic, relative to a node and after its remappings."""
    return list(node.get_publishers_info_by_topic(node.resolve_topic_name(topic)))


def subscribers(node: Any, topic: str) -> list[Any]:
    """Endpoints that subscribe to a topic, relative to a node and after its remappings."""
    return list(node.get_subscriptions_info_by_topic(node.resolve_topic_name(topic)))


def incompatible_publishers(node: Any, topic: str, msg_type: type, *profiles: QoSProfile) -> list[str]:
    """One sentence for each publisher that none of our subscriptions can hear.

    Args:
        node: Ours.
        topic: As the subscriptions were created with.
        msg_type: Message class of the subscriptions.
        profiles: QoS of each subscription on that topic.
    """
    wanted = type_name(msg_type)
    found = []
    for info in publishers(node, topic):
        if info.topic_type != wanted:
            found.append(f"{full_name(info)} publishes {info.topic_type} on {topic}, which takes {wanted}")
            continue
        checks = [qos_check_compatible(info.qos_profile, profile) for profile in profiles]
        if all(result == QoSCompatibility.ERROR for result, _ in checks):
            why = checks[0][1].removeprefix("ERROR: ").rstrip(";. ")
            found.append(f"{full_name(info)} publishes on {topic} with a QoS that cannot be heard: {why}")
    return found


def rival_publishers(node: Any, topic: str) -> str:
    """A sentence that names all publishers of a topic when there is more than one, else empty."""
    names = sorted(full_name(info) for info in publishers(node, topic))
    return f"{topic} has {len(names)} publishers, of whom the last word wins: {', '.join(names)}" if names[1:] else ""


def type_name(msg_type: type) -> str:
    """Name of a message class as the graph has it, for example std_msgs/msg/Bool."""
    package, kind, *_ = msg_type.__module__.split(".")
    return f"{package}/{kind}/{msg_type.__name__}"
