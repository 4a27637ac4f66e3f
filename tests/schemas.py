#!/usr/bin/env python3
"""Checks the examples in docs against the schemas of Grafana, Kubernetes and HCL. tests/schemas.sh runs it."""

import enum
import json
import pathlib
import sys
import types
import typing

import hcl2
import kubernetes_validate
import yaml
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard

DOCS = pathlib.Path(__file__).parent.parent / "docs"


def check_dashboard(path):
    """Yields what Grafana's schema does not know or has with another type."""
    plugins.register_default_plugins()
    text = json.loads(path.read_text())
    parsed = dashboard.Dashboard.from_json(text)
    again = json.loads(json.dumps(parsed, cls=encoder.JSONEncoder))
    yield from lost(text, again, "")
    yield from mistyped(parsed, "")


def lost(text, again, path):
    """Yields the values that a round trip through the classes of the schema changes. It may add defaults."""
    if isinstance(text, dict) and isinstance(again, dict):
        for key, value in text.items():
            if key not in again:
                yield f"{path}.{key}: not in the schema"
            else:
                yield from lost(value, again[key], f"{path}.{key}")
    elif isinstance(text, list) and isinstance(again, list) and len(text) == len(again):
        for number, (one, other) in enumerate(zip(text, again)):
            yield from lost(one, other, f"{path}[{number}]")
    elif text != again:
        yield f"{path}: {text!r} became {again!r}"


def mistyped(value, path):
    """Yields the attributes of an object of the schema whose values have another type."""
    hints = typing.get_type_hints(type(value), vars(sys.modules[type(value).__module__]))
    for name, hint in hints.items():
        yield from matches(getattr(value, name), hint, f"{path}.{name}")


def matches(value, hint, path):
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is typing.Any or hint is object:
        # The options of a panel have a class of their own.
        if type(value).__module__.startswith("grafana_foundation_sdk"):
            yield from mistyped(value, path)
    elif origin in (typing.Union, types.UnionType):
        inner = [type(value)] if type(value) in inner else [one for one in inner if one is not type(None)]
        problems = [list(matches(value, one, path)) for one in inner]
        if value is not None and all(problems):
            yield from problems[0]
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{path}: {value!r} is none of {inner}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path}: {value!r} is no list"
        else:
            for number, one in enumerate(value):
                yield from matches(one, inner[0], f"{path}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{path}: {value!r} is no object"
        else:
            for key, one in value.items():
                yield from matches(one, inner[1], f"{path}.{key}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in list(hint):
            yield f"{path}: {value!r} is none of {[one.value for one in hint]}"
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path}: {value!r} is no number"
    elif hint is int and isinstance(value, bool) or isinstance(hint, type) and not isinstance(value, hint):
        yield f"{path}: {value!r} is no {hint.__name__}"
    elif type(value).__module__.startswith("grafana_foundation_sdk"):
        yield from mistyped(value, path)


def main():
    problems = []
    checked = 0
    for path in sorted(DOCS.glob("monitoring/dashboard*.json")):
        problems += [f"{path.name}{problem}" for problem in check_dashboard(path)]
        checked += 1
    for path in sorted(DOCS.glob("scaling/kubernetes*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for version in ("1.28", "1.37"):
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    problems.append(f"{path.name}: {document['kind']}, Kubernetes {version}: {error}")
            checked += 1
    for path in sorted(DOCS.glob("scaling/*.hcl")):
        if "job" not in hcl2.loads(path.read_text()):
            problems.append(f"{path.name}: not a job")
        checked += 1
    print("\n".join(problems) or f"{checked} files or objects are valid")
    return 1 if problems or checked < 7 else 0


if __name__ == "__main__":
    sys.exit(main())
