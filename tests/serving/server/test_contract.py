"""The embedded server's answers are TensorFlow Serving's: literals, and all that was recorded."""

import json
import os
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
RECORDED = Path(os.environ.get("TFB2D_SERVING_CONTRACT") or CHECKOUT.parent / "shared/serving_contract") / "golden.json"
WANTED = 0.95

# What differs on purpose. `docs/embedded_server.md` tells operators the same.
KNOWN = {
    "prometheus names": "TensorFlow's internal metrics (tf.data, XLA) stay in C++; three of serving's are absent",
    "batch: 0 rows": "the recorded server hangs until the deadline; a batch without rows is answered at once here",
}

# Two ops refuse this request, and which of them is named is chance, in the recorded server too.
EITHER = {"wrong rank 1": ["INVALID_ARGUMENT", "In[0] ndims must be >= 2\n\t [[{{node}}]]"]}

SCORES = (
    'outputs { key: "s" value { dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: 4.0 float_val: 4.0 } }'
    ' model_spec { name: "%s" version { value: %d } signature_name: "serving_default" }'
)
LITERALS = {
    "predict version 1": ("OK", SCORES % ("demo", 1)),
    "predict label stable": ("OK", SCORES % ("demo", 1)),
    "predict other dir 000007": ("OK", SCORES % ("other", 7)),
    "predict label unknown": ("INVALID_ARGUMENT", "Unrecognized servable version label: nope"),
    "model not found": ("NOT_FOUND", "Servable not found for request: Latest(nope)"),
    "version not found": ("NOT_FOUND", "Servable not found for request: Specific(demo, 99)"),
    "empty model name": ("INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "no spec": ("INVALID_ARGUMENT", "Missing ModelSpec"),
    "signature not found": ("FAILED_PRECONDITION", 'Serving signature key "zz" not found.'),
    "extra input": (
        "INVALID_ARGUMENT",
        "input size does not match signature: 2!=1 len({q,x}) != len({x}). Sent extra: {q}. Missing but required: {}.",
    ),
    "wrong name same count": (
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided."
        " Inputs expected to be in the request {q}, or default input alias set: ",
    ),
    "wrong dtype double": ("INVALID_ARGUMENT", "Expects arg[0] to be float but double is provided"),
    "wrong dtype in two": ("INVALID_ARGUMENT", "Expects arg[1] to be int64 but int32 is provided"),
    "wrong dim": ("INVALID_ARGUMENT", "Matrix size-incompatible: In[0]: [2,5], In[1]: [4,3]\n\t [[{{node}}]]"),
    "wrong rank 3": ("INVALID_ARGUMENT", "In[0] ndims must be >= 2\n\t [[{{node}}]]"),
    "empty TensorProto (dtype invalid)": ("INVALID_ARGUMENT", "tensor parsing error: x"),
    "negative dim": ("INVALID_ARGUMENT", "tensor parsing error: x"),
    "output filter unknown": (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: zz Outputs expected to be in the set {s,y}.",
    ),
    "output filter duplicate": ("INVALID_ARGUMENT", "duplicate output tensor alias: y"),
    "init op": ("OUT_OF_RANGE", "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0"),
    "deadline": ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
    "classify unknown sig": ("INVALID_ARGUMENT", "No signature was found with the name: zz"),
    "classify no spec": ("INVALID_ARGUMENT", "Missing ModelSpec"),
    "classify empty": ("INVALID_ARGUMENT", "Input is empty."),
    "regress ok": (
        "OK",
        'result { regressions { value: 210.0 } regressions { value: 210.0 } } model_spec { name: "demo" version { value:'
        ' 2 } signature_name: "regress" }',
    ),
    "regress on text sig": ("INVALID_ARGUMENT", "Expected one output Tensor."),
    "multi dup sig": ("INVALID_ARGUMENT", "Duplicate evaluation of signature: classify"),
    "multi bad method": ("UNIMPLEMENTED", "Unsupported signature method_name: foo"),
    "metadata none": ("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
    "metadata bad field": ("INVALID_ARGUMENT", "Metadata field foo is not supported"),
    "status v99": ("NOT_FOUND", "Could not find version 99 of model demo"),
    "status unknown model": ("NOT_FOUND", "Could not find any versions of model nope"),
    "unknown method": ("UNIMPLEMENTED", ""),
    "unknown service": ("UNIMPLEMENTED", ""),
    "garbage bytes to Predict": ("INTERNAL", ""),
    "health ''": ("OK", "0801"),
    "health full name": ("NOT_FOUND", "service name unknown"),
    "health not enabled": ("UNIMPLEMENTED", ""),
    "hot: request old v1": ("NOT_FOUND", "Servable not found for request: Specific(demo, 1)"),
    "reload: empty": (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
    ),
    "reload: dup names": ("INVALID_ARGUMENT", "Illegal to list model demo multiple times in config list"),
    "reload: relative path": (
        "INVALID_ARGUMENT",
        "Expected model demo to have an absolute path or URI; got base_path()=rel",
    ),
    "reload: no platform": (
        "INVALID_ARGUMENT",
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model"
        " name is demo",
    ),
    "reload: labels to not loaded v1": (
        "FAILED_PRECONDITION",
        "Request to assign label to version 1 of model demo, which is not currently available for inference",
    ),
    "reload: other gone": ("NOT_FOUND", "Servable not found for request: Latest(other)"),
    "hot: new version appears: (seconds, served version)": [1, 3],
    "hot: latest dir deleted: (seconds, served)": [3, 1],
    "no base path flag: exit": 255,
    "no base path flag: log": [
        "Failed to start server. Error: INVALID_ARGUMENT: Both server_options.model_base_path and"
        " server_options.model_config_file are empty!"
    ],
    "unknown flag: log": ["unknown argument: --nosuchflag=1"],
    "ssl: log": False,
}
REST_LITERALS = {
    "POST v1": (
        200,
        '{\n    "predictions": [\n        {\n            "s": 4.0,\n            "y": [18.0, 22.0, 26.0]\n'
        "        }\n    ]\n}",
    ),
    "POST nope": (404, '{\n    "error": "Servable not found for request: Latest(nope)"\n}'),
    "bad json": (400, '{\n    "error": "JSON Parse error: Missing a name for object member. at offset: 1"\n}'),
    "DELETE": (400, '{\n    "error": "Malformed request: DELETE /v1/models/demo"\n}'),
    "rest timeout 200ms slow": (504, '{\n    "error": "Timed out waiting for notification"\n}'),
    "GET /foo": (
        404,
        "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n",
    ),
}


def plain(text: str) -> str:
    """Without node names, protobuf's mark on debug strings, the models' place, and digits that float printing may vary."""
    text = re.sub(r"(\[\[)?\{\{function_node [^}]*\}\}\{\{node [^}]*\}\}|\{\{node [^}]*\}\}", r"\1{{node}}", text)
    text = re.sub(r"goo\.gle/debug\w*\s*", "DEBUG ", text)
    text = re.sub(r"StatefulPartitionedCall(_\d+)?", "StatefulPartitionedCall", text)
    text = re.sub(r"ipv4:127\.0\.0\.1:\d+", "ipv4:127.0.0.1:8500", text)
    text = re.sub(r"Specified file path: \S*?/(c/2)", r"Specified file path: /models/hot/\1", text)
    return re.sub(r"\d+\.\d{5,}", lambda one: f"{float(one[0]):.6g}", text)


def normal(answer: object) -> object:
    """An answer, ours or recorded, as it is compared."""
    if isinstance(answer, str):
        return plain(answer)
    if isinstance(answer, dict):
        return {key: normal(one) for key, one in answer.items()}
    if isinstance(answer, list | tuple):
        return [normal(one) for one in answer]
    return answer


@pytest.mark.parametrize("case", LITERALS)
def test_literals(contract, case):
    assert normal(contract[case]) == normal(LITERALS[case])


@pytest.mark.parametrize("case", REST_LITERALS)
def test_rest_literals(contract, case):
    answer = contract[case]
    assert (answer["status"], plain(answer["body"])) == REST_LITERALS[case]


def test_batching_waits_for_company_and_not_for_more(contract):
    """A lone request waits the batch timeout; a full batch goes at once; what cannot batch is refused at once."""
    assert 0.25 < contract["batch: single request of 1 (timeout 300ms)"][0] < 2.0
    assert contract["batch: single request of 4 (full)"][0] < 0.25
    assert contract["batch: 0 rows"][1] == "OK"
    full = contract["batch: overload 40x3 rows, queue 1"]
    assert full[-1] >= 1
    assert full[1].startswith("UNAVAILABLE: The batch scheduling queue")


def test_a_reload_for_a_missing_path_ends_with_the_deadline(contract):
    missing = contract["reload: new model whose base path is missing (deadline 4s)"]
    assert missing == ("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert 1.5 < contract["reload: took"] < 6


def _recorded_answer(entry: dict) -> object:
    if "http" in entry:
        http = entry["http"]
        headers = sorted({*http["hdr"], "Date"})
        return {"status": http["status"], "ctype": http["ctype"], "headers": headers, "body": http["body"]}
    if "code" in entry:
        if entry["code"] == "OK" and isinstance(entry["response"], dict):
            return entry["response"]
        return [entry["code"], entry.get("response", entry.get("details"))]
    return entry.get("note", entry.get("names"))


def _without_seconds(case: str, note: object) -> object:
    """Times are held to by tests of their own."""
    if case.startswith("hot: ") and "served" in case:
        return [what for _, what in note] if isinstance(note[0], list) else note
    if case.startswith("batch: ") and isinstance(note, list | tuple) and note:
        pairs = note if isinstance(note[0], list | tuple) else [note]
        if all(len(one) == 2 and isinstance(one[0], float) for one in pairs):
            return [text for _, text in pairs]
    return note


def _decisive_lines(lines: list[str]) -> list[str]:
    from contract_cases import decisive

    return decisive("\n".join(lines))


def test_recorded_answers(contract):
    """Code and message of every recorded answer, less those listed with their reason."""
    if not RECORDED.is_file():
        pytest.skip("no recorded answers here: TFB2D_SERVING_CONTRACT names no folder that holds golden.json")
    entries = json.loads(RECORDED.read_text())
    same, different, exits = 0, {}, ""
    for entry in entries:
        case = entry["case"]
        theirs = _recorded_answer(entry)
        if case in ("log", "hot: log tail", "warmup bad log", "warmup ok log"):
            theirs = _decisive_lines(theirs)
        if case == "log":
            case = exits.rpartition(":")[0] + ": log"
        elif case == "warmup bad log":
            case = "warmup bad: log"
        elif case == "wrong dim" and "http" in entry:
            case = "REST wrong dim"
        elif case == "took":
            case, theirs = "reload: took", contract["reload: took"]
        else:
            exits = case
        ours = normal(_without_seconds(case, contract.get(case, "not asked")))
        theirs = normal(_without_seconds(case, theirs))
        if ours in (theirs, EITHER.get(case)):
            same += 1
        else:
            different[case] = (theirs, ours)
    assert set(different) <= set(KNOWN), {case: pair for case, pair in different.items() if case not in KNOWN}
    assert same >= WANTED * len(entries)
