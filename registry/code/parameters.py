"""What a task accepts: JSON Schema from its signature, and back from JSON to what its annotations say.

pydantic does both, over one model made from the signature. An executor imports this module only for tasks whose
annotations are more than plain JSON types (`Parameters.convert`).
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import DecimalSchema

from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import find_context
from taskq.registry.errors import InvalidInput
from taskq.registry.model.spec import Parameters

_PLAIN: Final = (None, type(None), bool, int, float, str, list, dict, Any, object, inspect.Parameter.empty)
_REFUSED: Final = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only: parameters are given by name, remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of values (*args): parameters are given by name, use a list",
}
# Where a body keeps the model of its arguments: on itself, so that both go when the version is dropped.
_MODEL: Final = "__taskq_arguments__"
_NO_JSON: Final = (PydanticUserError, PydanticUndefinedAnnotation)
_NOTHING: Final[Mapping[str, Any]] = {"additionalProperties": False, "properties": {}, "type": "object"}


class _Schema(GenerateJsonSchema):
    """pydantic's JSON Schema without titles (they only repeat names) and with what can't be a JSON default left out."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # the base class has it as an instance variable

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return False

    def decimal_schema(self, schema: DecimalSchema) -> dict[str, Any]:  # noqa: ARG002  # the base class's signature
        """Text first: what is typed on a command line then stays exact."""
        return {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "number"}]}


def parameters_of(body: Callable[..., Any], *, is_method: bool = False) -> Parameters:
    """What a task's body accepts, without its context.

    Args:
        body: the function, or a class's ``execute``.
        is_method: whether the first parameter is ``self``.

    Raises:
        InvalidInput: a parameter is positional-only or ``*args``, or its annotation can't be resolved or has no JSON form;
            names the parameter.
    """
    declared, context = _signature(body, is_method=is_method)
    if not declared:
        return Parameters(json_schema=dict(_NOTHING), context=context)
    try:
        schema = _schema_of(declared)
    except _NO_JSON as error:
        raise InvalidInput(_reason(declared, error)) from None
    convert = any(not is_plain(parameter.annotation) for parameter in declared)
    return Parameters(json_schema=schema, context=context, convert=convert)


def build_arguments(body: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for a call of ``body``: ``params`` turned into what its annotations say.

    Args:
        body: the function, or the bound ``execute`` of an instance.
        params: the run's parameters, plain values.

    Returns:
        one argument for each of ``params``; what is left out keeps the default of the signature.

    Raises:
        InvalidInput: a value does not fit; names parameter and value.
    """
    owner = getattr(body, "__func__", body)
    model: type[BaseModel] | None = owner.__dict__.get(_MODEL)
    if model is None:
        declared, _ = _signature(body, is_method=False)
        model = _model(declared)
        setattr(owner, _MODEL, model)
    try:
        built = model.model_validate(dict(params))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise InvalidInput(f"{field}: {first['msg']} (given: {first['input']!r})") from None
    named = {str(field.alias): getattr(built, name) for name, field in model.model_fields.items() if name in built.model_fields_set}
    return named | (built.model_extra or {})


def return_annotation(body: Callable[..., Any]) -> Any:
    """What a body says that it returns; `Any` where it says nothing that can be resolved."""
    said = inspect.signature(body).return_annotation
    hint = _resolve(body, inspect.Parameter("returned", inspect.Parameter.KEYWORD_ONLY, annotation=said))
    return Any if isinstance(hint, _Unresolved) else hint


def _signature(body: Callable[..., Any], *, is_method: bool) -> tuple[list[inspect.Parameter], str | None]:
    """The parameters of a body, their annotations resolved, and the name of the one that takes the context."""
    signature = inspect.signature(body)
    parameters = list(signature.parameters.values())[1 if is_method else 0 :]
    hints: dict[str, Any] = {parameter.name: _resolve(body, parameter) for parameter in parameters}
    context = find_context(signature.replace(parameters=parameters), hints)
    declared = []
    for parameter in parameters:
        if parameter.kind in _REFUSED:
            raise InvalidInput(f"parameter {parameter.name} {_REFUSED[parameter.kind]}")
        if parameter.name == context:
            continue
        hint = hints[parameter.name]
        if isinstance(hint, _Unresolved):
            raise InvalidInput(f"parameter {parameter.name}: the annotation {str(hint)!r} can't be resolved: {hint.reason}")
        declared.append(parameter.replace(annotation=hint))
    return declared, context


class _Unresolved(str):
    """An annotation that can't be evaluated; still the text, since a context's class need not be imported at run time."""

    reason = ""

    @classmethod
    def because(cls, text: str, reason: str) -> _Unresolved:
        made = cls(text)
        made.reason = reason
        return made


def _resolve(body: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    # One at a time: an annotation that can't be resolved spoils no other one.
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    namespace = getattr(inspect.unwrap(body), "__globals__", {})
    try:
        hint = typing.get_type_hints(holder, globalns=namespace, localns={}, include_extras=True)[parameter.name]
    except Exception as error:  # noqa: BLE001  # annotations are code and may raise anything; it is recorded in the answer
        text = parameter.annotation if isinstance(parameter.annotation, str) else repr(parameter.annotation)
        return _Unresolved.because(text.removesuffix(" | None").strip(), f"{type(error).__name__}: {error}")
    optional = [arm for arm in typing.get_args(hint) if arm is not type(None)]
    return TaskContext if optional == [TaskContext] and _is_union(hint) else hint


def _schema_of(declared: list[inspect.Parameter]) -> dict[str, Any]:
    schema = _model(declared).model_json_schema(by_alias=True, schema_generator=_Schema)
    schema.pop("title", None)
    return {"properties": {}} | schema


def _model(declared: list[inspect.Parameter]) -> type[BaseModel]:
    # The fields have names of our own and the parameters' as aliases: a parameter may be called `schema`, `copy` or `_x`.
    fields: dict[str, Any] = {}
    base: type[BaseModel] = _Closed
    for number, parameter in enumerate(declared):
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            base = _open(parameter.annotation)
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[f"p{number}"] = (parameter.annotation, Field(default, alias=parameter.name))
    return create_model("Parameters", __base__=base, **fields)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _open(extra: Any) -> type[BaseModel]:
    names = {"model_config": ConfigDict(extra="allow"), "__module__": __name__, "__annotations__": {"__pydantic_extra__": dict[str, extra]}}
    return type("Open", (BaseModel,), names)


def _reason(declared: list[inspect.Parameter], error: Exception) -> str:
    """Which parameter has no JSON form: each is tried by itself."""
    for parameter in declared:
        try:
            _schema_of([parameter])
        except _NO_JSON as own:
            return f"parameter {parameter.name}: {inspect.formatannotation(parameter.annotation)} has no JSON form: {_first_line(own)}"
    return f"the parameters have no JSON form: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def is_plain(hint: Any) -> bool:
    """Whether a value that came as JSON is already what this annotation says."""
    origin, arms = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return is_plain(arms[0]) and all(isinstance(note, FieldInfo | str) or _is_limit(note) for note in arms[1:])
    if origin is Literal:
        return all(type(arm) in (type(None), bool, int, str) for arm in arms)
    if _is_union(hint) or origin is list:
        return all(is_plain(arm) for arm in arms)
    if origin is dict:
        return arms[0] is str and is_plain(arms[1])
    return any(hint is plain for plain in _PLAIN)


def _is_limit(note: Any) -> bool:
    # annotated_types' constraints (Gt, Len …) only check; the schema has them already.
    return type(note).__module__.split(".")[0] == "annotated_types"
