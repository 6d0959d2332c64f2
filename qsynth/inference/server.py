"""A predictor behind HTTP: rows in, answers out, as JSON."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from qsynth.data.columns import arrow
from qsynth.data.samples import check_range, check_shape, inputs_of
from qsynth.data.table import MISSING
from qsynth.errors import DataError, QsynthError, printable
from qsynth.inference.export import described
from qsynth.inference.new_data import features_of
from qsynth.inference.predict import cells, header
from qsynth.lazy import Deferred
from qsynth.pipeline.predictor import Predictor
from qsynth.types import Floats32

applications = Deferred("starlette.applications")
requests = Deferred("starlette.requests")
responses = Deferred("starlette.responses")
routing = Deferred("starlette.routing")
uvicorn = Deferred("uvicorn")
MOST_ROWS = 10_000  # of one request
MOST_BYTES = 32 << 20  # of one request
PATIENCE_S = 30.0  # in which a request must have come
MOST_SAID = 300  # letters of what is answered to a wrong one
SOURCE = "the request"


def answered(predictor: Predictor, body: Any) -> dict[str, Any]:
    """Return what a request is answered: a list of answers, one a row.

    body: {"rows": [{column: value, ...}, ...]} of a table, {"inputs": [...]} of numbers.  Raises
    DataError where it is anything else.
    """
    inputs = _inputs(predictor, body)
    with torch.no_grad():
        answers = predictor(torch.from_numpy(inputs)).double().numpy()
    names = header(predictor.task)[1:]
    made = [dict(zip(names, row, strict=True)) for row in cells(predictor, answers)]
    return {"answers": made}


def _inputs(predictor: Predictor, body: Any) -> Floats32:
    task = predictor.inputs
    wanted = "rows" if task.columns else "inputs"
    if not isinstance(body, Mapping) or not isinstance(body.get(wanted), list):
        raise DataError(f'{SOURCE}: must be {{"{wanted}": [...]}}')
    given = body[wanted]
    if not 0 < len(given) <= MOST_ROWS:
        raise DataError(f"{SOURCE}: {len(given)} {wanted}; from 1 to {MOST_ROWS:,} at a time")
    if not task.columns:
        made = inputs_of(np.array(given, np.float64), SOURCE)
        check_shape(made, task, SOURCE)
        check_range(made, task, SOURCE)
        return made
    return features_of(_table(given, predictor), task, SOURCE)


def _table(rows: Sequence[Any], predictor: Predictor) -> Any:
    """Return rows as a table of pyarrow; what a row does not say is missing."""
    columns = predictor.inputs.columns
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"{SOURCE}: row {at} must be a mapping of columns")
    known = {column.name for column in columns}
    for at, row in enumerate(rows):
        if not known & set(row):
            raise DataError(f"{SOURCE}: row {at} has none of {', '.join(sorted(known)[:5])}")
        for name in set(row) - known:
            close = difflib.get_close_matches(str(name), known - set(row), n=1, cutoff=0.8)
            if close:
                raise DataError(f"{SOURCE}: row {at} has {name}; did you mean {close[0]}?")
    made, nothing = {}, {*MISSING, *predictor.inputs.missing}
    for column in columns:
        given = [row.get(column.name) for row in rows]
        if any(isinstance(cell, (list, dict)) for cell in given):
            raise DataError(f"{SOURCE}: {column.name} must be a number or text")
        # As text, as a CSV would have it: each is then read as what the task says it is.
        texts = [None if cell is None else _text(cell) for cell in given]
        texts = [None if text is None or text.strip() in nothing else text for text in texts]
        made[column.name] = arrow.array(texts, arrow.string())
    return arrow.table(made)


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(int(cell))
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def application(predictor: Predictor) -> Any:
    """Return an ASGI application: POST /predict, GET /task, GET /healthz."""
    told = described(predictor)

    async def predict(request: Any) -> Any:
        whole = bytearray()
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for part in request.stream():
                    whole += part
                    if len(whole) > MOST_BYTES:
                        return _refused(f"{SOURCE}: {MOST_BYTES:,} bytes at most", 413)
        except (TimeoutError, requests.ClientDisconnect):
            return _refused(f"{SOURCE}: did not come whole in {PATIENCE_S:g} s", 408)
        try:
            body = json.loads(whole)
        except (ValueError, RecursionError) as error:
            return _refused(f"{SOURCE}: is not JSON ({error})", 400)
        try:
            made = await asyncio.to_thread(answered, predictor, body)
        except (QsynthError, ValueError, TypeError, OverflowError) as error:
            return _refused(str(error), 422)
        return responses.JSONResponse(made)

    async def task(_request: Any) -> Any:
        return responses.JSONResponse(told)

    async def health(_request: Any) -> Any:
        return responses.JSONResponse({"status": "well"})

    return applications.Starlette(
        routes=[
            routing.Route("/predict", predict, methods=["POST"]),
            routing.Route("/task", task),
            routing.Route("/healthz", health),
        ]
    )


def _refused(said: str, status: int) -> Any:
    return responses.JSONResponse({"error": printable(said)[:MOST_SAID]}, status_code=status)


def serve(predictor: Predictor, host: str, port: int) -> None:
    """Answer over HTTP until a signal ends it.  Raises DataError where the extra is missing."""
    try:
        app = application(predictor)
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
    except ImportError:
        raise DataError("serve: needs pip install 'qsynth[serve]'") from None
