"""The message tf.train.Example and its features, without TensorFlow, which takes seconds to load.

tensorflow/core/example/{example,feature}.proto: the bytes are the same.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto


def strings(values: Iterable[bytes]) -> Any:
    return Feature(bytes_list={"value": values})


def floats(values: Iterable[float]) -> Any:
    return Feature(float_list={"value": values})


def integers(values: Iterable[int]) -> Any:
    return Feature(int64_list={"value": values})


def _message(name: str, *fields: descriptor_pb2.FieldDescriptorProto) -> Any:
    return descriptor_pb2.DescriptorProto(name=name, field=fields)


def _field(name: str, number: int, kind: Any, *, many: bool = False, of: str = "") -> Any:
    label = _FIELD.LABEL_REPEATED if many else _FIELD.LABEL_OPTIONAL
    type_name = f".av_mae.{of}" if of else None
    return _FIELD(name=name, number=number, type=kind, label=label, type_name=type_name)


def _classes() -> dict[str, Any]:
    """The message classes by name."""
    kinds = (
        ("BytesList", "bytes_list", _FIELD.TYPE_BYTES),
        ("FloatList", "float_list", _FIELD.TYPE_FLOAT),
        ("Int64List", "int64_list", _FIELD.TYPE_INT64),
    )
    lists = [_message(name, _field("value", 1, kind, many=True)) for name, _, kind in kinds]
    feature = _message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, field, _) in enumerate(kinds, start=1):
        chosen = _field(field, number, _FIELD.TYPE_MESSAGE, of=name)
        chosen.oneof_index = 0
        feature.field.append(chosen)
    entry = _message(
        "FeatureEntry",
        _field("key", 1, _FIELD.TYPE_STRING),
        _field("value", 2, _FIELD.TYPE_MESSAGE, of="Feature"),
    )
    entry.options.map_entry = True
    features = _message(
        "Features",
        _field("feature", 1, _FIELD.TYPE_MESSAGE, many=True, of="Features.FeatureEntry"),
    )
    features.nested_type.append(entry)
    example = _message("Example", _field("features", 1, _FIELD.TYPE_MESSAGE, of="Features"))
    file = descriptor_pb2.FileDescriptorProto(
        name="av_mae/example.proto",
        package="av_mae",
        syntax="proto3",
        message_type=[*lists, feature, features, example],
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Feature", "Features", "Example")
    found = {name: pool.FindMessageTypeByName(f"av_mae.{name}") for name in names}
    return {name: message_factory.GetMessageClass(found[name]) for name in names}


Feature, Features, Example = _classes().values()
