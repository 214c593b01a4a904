# SPDX-License-Identifier: Apache-2.0
"""What tools such as `ros2 param describe` and `rqt_reconfigure` are told of a parameter."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

from whetstone_common.core.parameters import ParameterSpec

_TYPES = {
    "bool": Parameter.Type.BOOL,
    "int": Parameter.Type.INTEGER,
    "double": Parameter.Type.DOUBLE,
    "string": Parameter.Type.STRING,
    "bool_array": Parameter.Type.BOOL_ARRAY,
    "int_array": Parameter.Type.INTEGER_ARRAY,
    "double_array": Parameter.Type.DOUBLE_ARRAY,
    "string_array": Parameter.Type.STRING_ARRAY,
}


def descriptor_of(spec: ParameterSpec) -> ParameterDescriptor:
    """Descriptor of a declared parameter; a step of 0 lets any value between the bounds be set."""
    descriptor = ParameterDescriptor(
        name=spec.name,
        type=_TYPES[spec.type].value,
        description=spec.description,
        additional_constraints=spec.constraints,
        read_only=spec.read_only,
    )
    if spec.range is not None and spec.type == "int":
        low, high = map(int, spec.range)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    elif spec.range is not None:
        low_value, high_value = map(float, spec.range)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low_value, to_value=high_value, step=0.0)]
    return descriptor
