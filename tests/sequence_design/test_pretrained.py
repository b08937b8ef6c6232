"""Language models of Hugging Face under BIB: random weights in folders that the tests write."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sysopt_gym.core.budget import Budget
from sysopt_gym.core.errors import MissingDependencyError, SettingError
from sysopt_gym.core.registry import load_contender, load_problem
from sysopt_gym.datasets.sequence_design.instance import DesignTask, make_task, seal
from sysopt_gym.envs.sequence_design.plan import designs_of
from sysopt_gym.methods.sequence_design import language_model, pretrained

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RESIDUES = list("LAGVESIKRDTPNQFYMHCWXUBZO")  # as in ProtBert
TRIPLES = ["".join(triple) for triple in itertools.product("ATCG", repeat=3)]  # as in DNABERT
Folder = Callable[[list[str]], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Writes a small BERT of random weights with a vocabulary."""

    def written(tokens: list[str]) -> str:
        place = tmp_path_factory.mktemp("model")
        (place / "vocab.txt").write_text("\n".join([*SPECIAL, *tokens]))
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(SPECIAL) + len(tokens),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
            initializer_range=0.5,
        )
        transformers.BertModel(config).save_pretrained(place)
        return str(place)

    return written


def task_of(alphabet: str, length: int = 8, count: int = 40) -> DesignTask:
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, len(alphabet), (count, length)), axis=0).astype(np.int8)
    handle = {"landscape": "measured"}
    return make_task("few", alphabet, rows, rng.normal(size=len(rows)), handle, batch_size=8)


def letters_of(task: DesignTask) -> torch.Tensor:
    tokens = torch.as_tensor(task.sequences.astype(np.int64))
    return torch.nn.functional.one_hot(tokens, task.letters).float()


def spelled(task: DesignTask, k: int) -> list[str]:
    """The sequences as the model's own tokenizer is given them."""
    texts = [task.text(row) for row in task.sequences]
    return [" ".join(t[at : at + k] for at in range(len(t) - k + 1)) for t in texts]


@pytest.mark.parametrize(
    ("alphabet", "tokens", "k"),
    [("ACDEFGHIKLMNPQRSTVWY", RESIDUES, 1), ("ACGT", TRIPLES, 3)],
    ids=["residues", "triples"],
)
def test_features_of_whole_letters_are_the_models_own_without_the_special_tokens(
    folder: Folder, alphabet: str, tokens: list[str], k: int
) -> None:
    task, name = task_of(alphabet), folder(tokens)
    tokenizer = transformers.BertTokenizer.from_pretrained(name, do_lower_case=False)
    encoder = transformers.AutoModel.from_pretrained(name).eval()
    ids = tokenizer(spelled(task, k), return_tensors="pt")["input_ids"]
    assert ids.shape[1] == task.length - k + 3 and (ids != tokenizer.unk_token_id).all()
    with torch.inference_mode():
        own = encoder(input_ids=ids).last_hidden_state[:, 1:-1].mean(dim=1)
    found = pretrained.load(name, task).features(letters_of(task))
    assert torch.allclose(found, own, atol=1e-5)
    assert torch.pdist(found).min() > 1e-3  # different sequences have different features


@pytest.mark.parametrize(
    ("alphabet", "tokens"), [("ACDEF", RESIDUES), ("ACGT", TRIPLES)], ids=["residues", "triples"]
)
def test_gradients_reach_every_letter_and_the_model_stays_frozen(
    folder: Folder, alphabet: str, tokens: list[str]
) -> None:
    task = task_of(alphabet)
    model = pretrained.load(folder(tokens), task)
    soft = letters_of(task).mul(0.8).add(0.2 / task.letters).requires_grad_()
    (slope,) = torch.autograd.grad(model.features(soft)[:, 0].sum(), soft)
    assert (slope.abs() > 1e-6).float().mean() > 0.95
    assert not any(weight.requires_grad for weight in model.encoder.parameters())


def test_a_k_mer_of_soft_letters_is_embedded_as_is_expected(folder: Folder) -> None:
    task = task_of("ACGT", length=3)
    model = pretrained.load(folder(TRIPLES), task)
    soft = torch.rand(1, 3, 4).softmax(dim=2)
    expected = sum(
        soft[0, 0, a] * soft[0, 1, b] * soft[0, 2, c] * model.tokens[16 * a + 4 * b + c]
        for a, b, c in itertools.product(range(4), repeat=3)
    )
    inputs = torch.cat([model.before, expected[None], model.after])[None]
    last = model.encoder(inputs_embeds=inputs).last_hidden_state
    assert torch.allclose(model.features(soft), last[:, 1], atol=1e-5)


def test_bib_designs_with_the_model_that_the_environment_names(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pretrained.VARIABLE, folder(TRIPLES))

    def never(*arguments: object) -> None:
        raise AssertionError("a model of the task's own was trained")

    monkeypatch.setattr(language_model, "pretrain", never)
    monkeypatch.setattr("sysopt_gym.solvers.sequence_design.bib.pretrain", never)
    problem = load_problem("sequence_design")
    solve = load_contender("sequence_design", "bib").object
    for task in (seal(task_of("ACGT")), problem.contender_view(problem.warm_up_instance())):
        solution = solve(task, Budget(20.0, 40), 0)
        designs = designs_of(task, solution.actions)
        assert len(np.unique(designs, axis=0)) == len(designs) == task.batch_size


def test_what_cannot_be_used_is_refused_by_name(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"cannot load it.*give a folder"):
        pretrained.load(str(tmp_path), task_of("ACGT"))
    with pytest.raises(SettingError, match="lacks letters of few, J, and the k-mers"):
        pretrained.load(folder(RESIDUES), task_of("ACGJ"))
    with pytest.raises(SettingError, match="lacks letters of few, A, C, G, U, "):
        pretrained.load(folder(TRIPLES), task_of("ACGU"))
    with pytest.raises(SettingError, match="takes 20 tokens, and few needs 32"):
        pretrained.load(folder(RESIDUES), task_of("ACGT", length=30))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"sysopt-gym\[language_models\]"):
        pretrained.load(folder(RESIDUES), task_of("ACGT"))


def test_without_the_variable_there_is_no_such_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pretrained.VARIABLE, raising=False)
    assert pretrained.chosen_model(task_of("ACGT")) is None
