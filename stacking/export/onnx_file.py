"""What all ONNX files of the package have in common: their version, and how they are finished."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

OPSET = 18
"""The first with BitwiseXor, and the lowest that torch's exporter writes without converting; older runtimes read it."""

IR_VERSION = 9
"""Of opset 18's time, so that older runtimes read the file; default values of inputs need 4."""


def import_onnx(*others: str) -> Any:
    """Import onnx, or say how to install it.

    Parameters
    ----------
    *others : str
        Further modules that are needed.

    Returns
    -------
    module
        ``onnx``.

    Raises
    ------
    ImportError
        If one of them is not installed.
    """
    try:
        for name in others:
            importlib.import_module(name)
        return importlib.import_module("onnx")
    except ImportError as error:
        needed = " and ".join(["onnx", *others])
        raise ImportError(f"export to ONNX needs {needed}: pip install 'labelstack[onnx]'.") from error


def finish_onnx(model: Any, facts: Mapping[str, Any]) -> bytes:
    """Write facts into a model, check it and give its bytes.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    facts : mapping
        JSON-able; texts are kept as they are.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    onnx.checker.ValidationError
        If the model is no valid one.
    """
    onnx = import_onnx()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(model, texts)
    model.producer_name = "labelstack"
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
