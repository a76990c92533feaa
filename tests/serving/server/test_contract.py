"""The embedded server answers as TensorFlow Serving 2.21 does. `contract.json` holds what a real one answered, by case."""

import json
import re
from pathlib import Path

import pytest

from tests.serving.server.contract_cases import ask_examples, ask_predict, ask_rest, ask_services

CONTRACT = json.loads(Path(__file__).with_name("contract.json").read_text(encoding="utf-8"))

# What differs on purpose; `docs/embedded_server.md` tells operators the same. At least 95% of the answers must not.
KNOWN = {
    "batch: 0 rows": "the recorded server hangs until the deadline; a batch without rows is answered at once here",
    "bad json": "what is wrong with a JSON text is said in the words of Python's parser",
}
NOT_KEPT = {  # metrics of the official server
    ":tensorflow:cc:saved_model:load_latency_by_stage",
    ":tensorflow:serving:batching:mixed_priority_batching_policy",
    ":tensorflow:serving:batching:padding_size_v2",
    ":tensorflow:serving:mlmd_map",
}

# Shapes are refused by Session.run before the op sees them, where the fast session cannot be used.
OWN_WORDS = {"wrong dim", "wrong rank 1", "wrong rank 3", "REST wrong dim"}
MISMATCH = "batch: concurrent mismatched shapes [1,4] & [1,5]"

# Two ops refuse this request, and which of them is named is chance, in the recorded server too.
EITHER = {"wrong rank 1": ["INVALID_ARGUMENT", "In[0] ndims must be >= 2\n\t [[{{node}}]]"]}


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
        return {key: normal(part) for key, part in answer.items()}
    if isinstance(answer, list | tuple):
        return [normal(part) for part in answer]
    return answer


def without_seconds(case: str, answer: object) -> object:
    """Times are held to by tests of their own."""
    if case.startswith("batch: ") and isinstance(answer, list) and answer:
        pairs = answer if isinstance(answer[0], list) else [answer]
        if all(len(pair) == 2 and isinstance(pair[0], float) for pair in pairs):
            return [text for _, text in pairs]
    return answer


def same(contract: dict, case: str) -> bool:
    ours = without_seconds(case, normal(contract[case]))
    return ours in (CONTRACT[case], EITHER.get(case))


@pytest.mark.parametrize("case", sorted(set(CONTRACT) - set(KNOWN) - {"prometheus names"}))
def test_recorded_answers(contract, case):
    assert same(contract, case), (contract[case], CONTRACT[case])


def test_few_answers_differ(contract):
    assert sum(same(contract, case) for case in CONTRACT) >= 0.95 * len(CONTRACT)
    assert not any(same(contract, case) for case in KNOWN)  # else it is to be taken off the list


def differing(answers):
    return {case for case in answers if case in CONTRACT and case not in KNOWN and not same(answers, case)}


def test_the_public_interfaces_answer_alike(public):
    """Over gRPC and REST, with a session that refuses wrong shapes in words of its own."""
    answers = {**ask_predict(public), **ask_examples(public), **ask_services(public), **ask_rest(public)}
    assert differing(answers) - {"prometheus names"} == OWN_WORDS


@pytest.mark.slow
def test_recorded_answers_by_public_interfaces(contract_public):
    assert differing(contract_public) - {"prometheus names"} <= OWN_WORDS | {MISMATCH}
    assert sum(same(contract_public, case) for case in CONTRACT) >= 0.95 * len(CONTRACT)


def test_metric_names(contract):
    ours = {tuple(pair) for pair in contract["prometheus names"]}
    official = {tuple(pair) for pair in CONTRACT["prometheus names"]}
    assert ours <= official
    assert {name for name, _ in official - ours} == NOT_KEPT


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
