"""Tables of measured sequences as laboratories and benchmarks write them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysopt_gym.core.errors import InstanceError, SettingError
from sysopt_gym.core.instance import save_archive
from sysopt_gym.core.notes import told_to
from sysopt_gym.core.registry import load_problem
from sysopt_gym.core.sources import find_instances
from sysopt_gym.datasets.sequence_design.instance import DesignTask
from sysopt_gym.datasets.sequence_design.loaders import load_file

UNRULED = {"offline": "1", "fixed": "none", "max_mutations": "none"}
WILD = "MKTAYIAKQR"
PROTEINS = {  # mutations -> sequence
    "WT": WILD,
    "A4G": "MKTGYIAKQR",
    "K2R:Q9H": "MRTAYIAKHR",
    "Y5W": "MKTAWIAKQR",
    "M1V": "VKTAYIAKQR",
    "R10K": "MKTAYIAKQK",
}


def load(path: Path, text: str, **given: str) -> tuple[DesignTask, str]:
    """The task in a text, read with settings, and what is said of it."""
    path.write_text(text)
    said: list[str] = []
    with told_to(said.append):
        task = load_file(path, UNRULED | given)
    return task, " | ".join(said)


def rows(task: DesignTask) -> dict[str, float]:
    return {task.text(own): score for own, score in zip(task.sequences, task.scores, strict=True)}


def listed(header: str, *lines: str) -> str:
    return "\n".join([header, *lines])


def test_columns_of_flip_and_proteingym_are_known_and_said(tmp_path: Path) -> None:
    lines = [f"{seq},{n},train,False" for n, seq in enumerate(PROTEINS.values())]
    task, said = load(tmp_path / "flip.csv", listed("sequence,target,set,validation", *lines))
    assert rows(task) == {seq: n for n, seq in enumerate(PROTEINS.values())}
    assert "scores from 'target'; not read: 'set', 'validation'" in said
    lines = [f"{mut},{seq},{n},1" for n, (mut, seq) in enumerate(PROTEINS.items())]
    header = "mutant,mutated_sequence,DMS_score,DMS_score_bin"
    gym, said = load(tmp_path / "gym.csv", listed(header, *lines))
    assert rows(gym) == rows(task) and gym.wild_type == WILD
    assert "from the column 'mutated_sequence', scores from 'dms_score'" in said


@pytest.mark.parametrize("column", ["DMS score", "dms_score", "2"])
def test_a_column_is_named_by_a_setting_in_any_spelling_or_by_its_place(
    tmp_path: Path, column: str
) -> None:
    text = listed("score,DMS_score,peptide", "1,5,ACGT", "2,6,ACGA")
    task, said = load(tmp_path / "t.csv", text, score_column=column, sequence_column="Peptide")
    assert rows(task) == {"ACGT": 5, "ACGA": 6} and "not read: 'score'" in said
    with pytest.raises(SettingError, match="has the columns score, dms_score, peptide"):
        load(tmp_path / "t.csv", text, score_column="kd")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("sequence,score,score", r"column 2 \('score'\) or column 3 .* setting score_column"),
        ("sequence,fitness,activity", "'fitness' or 'activity'; choose one by .* score_column"),
        ("oligo,score,x", r"no column is called like sequences .* \('oligo' may hold them\)"),
        ("sequence,kd,ki", r"no column is called like scores .* \('kd' or 'ki' may hold them\)"),
    ],
)
def test_columns_that_cannot_be_told_are_refused_with_the_choices(
    tmp_path: Path, header: str, told: str
) -> None:
    with pytest.raises(InstanceError, match=rf"row 1: .*{told}"):
        load(tmp_path / "t.csv", listed(header, "ACGT,1,3", "ACGA,2,4"))


def test_rows_without_a_score_are_left_out_with_their_count(tmp_path: Path) -> None:
    text = listed("sequence,score", "ACGT,1", "ACGA,#N/A", "ACGC,2", "ACGG,", "CCGG,NaN")
    task, said = load(tmp_path / "t.csv", text)
    assert rows(task) == {"ACGT": 1, "ACGC": 2}
    assert "3 of 5 rows have no score (the first is row 3); left out" in said
    with pytest.raises(InstanceError, match="no row has a score"):
        load(tmp_path / "t.csv", listed("sequence,score", "ACGT,NA"))


@pytest.mark.parametrize(
    ("way", "score"), [("mean", 3.0), ("median", 2.0), ("max", 6.0), ("min", 1.0)]
)
def test_replicates_are_joined_and_said(tmp_path: Path, way: str, score: float) -> None:
    text = listed("sequence,score", "ACGT,6", "ACGA,5", "acgt,1", "ACGT,2")
    task, said = load(tmp_path / "t.csv", text, replicates=way)
    assert rows(task) == {"ACGT": score, "ACGA": 5}
    assert f"4 rows are 2 different sequences, up to 3 rows each; the {way} of" in said
    with pytest.raises(InstanceError, match=r"row 4: .*score 1 here and 6 in .*row 2"):
        load(tmp_path / "t.csv", text, replicates="refuse")
    with pytest.raises(SettingError, match="give one of mean, median"):
        load(tmp_path / "t.csv", text, replicates="sum")


def test_a_few_odd_letters_do_not_make_dna_a_protein(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seqs = ["".join(rng.choice(list("ACGT"), 12)) for _ in range(30)]
    lines = [f"{seq},{n}" for n, seq in enumerate(seqs)]
    for odd in ("ACGTACGNACGT", "ACGTRCGTACGT", "ACXTACGTACGT", "ACGTACGNNKGT"):
        text = listed("sequence,score", *lines, f"{odd},7")
        with pytest.raises(InstanceError, match=r"row 32: '[NRX]' at .* no letter of DNA"):
            load(tmp_path / "t.csv", text)
        task, said = load(tmp_path / "t.csv", text, odd_letters="drop")
        assert task.alphabet == "ACGT" and len(task.scores) == 30
        assert "1 of 31 rows have such letters, left out" in said
        assert len(load(tmp_path / "t.csv", text, alphabet="ACGTNRXK")[0].scores) == 31


@pytest.mark.parametrize(
    ("sequences", "told"),
    [
        (("ACGT", "ACGU", "ACGA"), r"row 3: T and U are mixed .*DNA is written with T, RNA with U"),
        (("MKTAY", "MK*AY"), r"row 3: '\*' at position 3 .* is a stop codon"),
        (("MKTAY", "MK-AY"), "row 3: '-' at position 3 .* is a gap of an alignment"),
        (("MKTAX", "MKTAY"), "row 2: 'X' at position 5 .* stands for any residue"),
        (("MKTAB", "MKTAZ"), r"row 2: 'B' at .* stands for D or N.*leave out the 2 of 2 rows"),
        (("MKTAY", "MKTAYA"), r"row 3: 'MKTAYA' has 6 letters where .*row 2 has 5"),
    ],
)
def test_letters_that_are_no_bases_or_residues_are_refused_by_what_they_are(
    tmp_path: Path, sequences: tuple[str, ...], told: str
) -> None:
    lines = [f"{seq},{n}" for n, seq in enumerate(sequences)]
    with pytest.raises(InstanceError, match=told):
        load(tmp_path / "t.csv", listed("sequence,score", *lines))


@pytest.mark.parametrize(
    "spelled",
    [
        ["WT", "A4G", "K2R:Q9H", "Y5W", "M1V", "R10K"],
        ["_wt", "a4g", "K2R_Q9H", "Y5W", "M1V", "R10K"],
        ["=", "A4G", "K2R;Q9H", "Y5W", "M1V", "R10K"],
        ["p.=", "p.Ala4Gly", "p.[Lys2Arg;Gln9His]", "p.Tyr5Trp", "p.Met1Val", "p.(Arg10Lys)"],
        ["wild type", "A4G", "K2R/Q9H", "Y5W", "M1V", "R10K"],
        ["Wt", "A103G", "K101R Q108H", "Y104W", "M100V", "R109K"],
        ["WT", "A3G", "K1R-Q8H", "Y4W", "M0V", "R9K"],
    ],
)
@pytest.mark.parametrize("column", ["mutant", "sequence", "Variant"])
def test_mutations_are_applied_to_the_wild_type_from_any_first_position(
    tmp_path: Path, spelled: list[str], column: str
) -> None:
    lines = [f'"{mut}",{n}' for n, mut in enumerate(spelled)]
    text = listed(f"{column},score", *lines)
    task, said = load(tmp_path / "t.csv", text, wild_type=WILD.lower())
    assert rows(task) == {seq: n for n, seq in enumerate(PROTEINS.values())}
    assert task.wild_type == WILD
    assert ("mutations are counted from" in said) == ("A4G" not in map(str.upper, spelled)
                                                      and "p.=" not in spelled)  # fmt: skip
    with pytest.raises(InstanceError, match="give the wild type by the setting wild_type"):
        load(tmp_path / "t.csv", text)


@pytest.mark.parametrize(
    ("mutations", "given", "told"),
    [
        (("A4G", "C5G"), {}, "row 3, column 'mutant': C5G: the wild type has 'Y' there"),
        (("A4G", "A14G"), {}, "row 3, column 'mutant': A14G: the wild type has 10 letters"),
        (("A4G", "G4A"), {}, "row 3, column 'mutant': G4A: the wild type's letter at 4 is 'A'"),
        (("A4G", "A4C:A4G"), {}, "row 3, column 'mutant': .* changes one position twice"),
        (("A4G", "A4del"), {}, "row 3, column 'mutant': 'A4del' is no mutation"),
        (("A4G", "K2R"), {"first_position": "2"}, "A4G: the wild type has 'T' there, counted f"),
        (("A40G", "A40C"), {}, "row 2, .*first letter may be number 34 or 37; set first_position"),
    ],
)
def test_mutations_that_do_not_fit_are_refused_by_row(
    tmp_path: Path, mutations: tuple[str, ...], given: dict[str, str], told: str
) -> None:
    lines = [f"{mut},{n}" for n, mut in enumerate(mutations)]
    with pytest.raises(InstanceError, match=told):
        load(tmp_path / "t.csv", listed("mutant,score", *lines), wild_type=WILD, **given)


def test_commands_read_a_zip_of_one_table_and_refuse_other_zips(tmp_path: Path) -> None:
    problem = load_problem("sequence_design")
    text = listed("sequence,score", *(f"{seq},{n}" for n, seq in enumerate(PROTEINS.values())))
    path = tmp_path / "measured.csv.zip"
    path.write_bytes(plain_zip(text.encode()))
    (task,) = find_instances(problem, str(path), UNRULED)
    assert task.content_hash == load(tmp_path / "measured.csv", text)[0].content_hash
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.md", "two files")
    with pytest.raises(InstanceError, match=r"holds measured.csv, readme.md, no instances of this"):
        find_instances(problem, str(path), UNRULED)


RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
LONG = dict(
    A="Ala", C="Cys", D="Asp", E="Glu", F="Phe", G="Gly", H="His", I="Ile", K="Lys", L="Leu",
    M="Met", N="Asn", P="Pro", Q="Gln", R="Arg", S="Ser", T="Thr", V="Val", W="Trp", Y="Tyr",
)  # fmt: skip


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_variants_come_back_from_their_mutations(
    tmp_path: Path, data: st.DataObject
) -> None:
    wild = data.draw(st.text(RESIDUES, min_size=6, max_size=30))
    first = data.draw(st.integers(-3, 400))
    mark = data.draw(st.sampled_from([":", "_", ",", ";", "/", "+", " "]))
    long = data.draw(st.booleans())
    expected, cells = {wild: 0.0}, ["WT"]
    for n in range(1, data.draw(st.integers(2, 8))):
        places = data.draw(st.sets(st.integers(max(0, -first), len(wild) - 1), min_size=1,
                                   max_size=4))  # fmt: skip
        letters, changes = list(wild), []
        for at in sorted(places):
            new = data.draw(st.sampled_from(RESIDUES.replace(wild[at], "")))
            names = (LONG[wild[at]], LONG[new]) if long else (wild[at], new)
            changes.append(f"{names[0]}{at + first}{names[1]}")
            letters[at] = new
        if "".join(letters) not in expected:
            expected["".join(letters)] = float(n)
            cells.append(("p." if long else "") + mark.join(changes))
    lines = [f'"{cell}",{score}' for cell, score in zip(cells, expected.values(), strict=True)]
    given = {"wild_type": wild, "first_position": str(first)}
    task, _ = load(tmp_path / "t.csv", listed("variant,score", *lines), alphabet="protein", **given)
    assert rows(task) == expected and task.wild_type == wild
    # Both columns together tell the wild type, without a setting.
    both = [
        f'"{cell}",{seq},{score}'
        for cell, (seq, score) in zip(cells, expected.items(), strict=True)
    ]
    given = {"first_position": str(first), "alphabet": "protein"}
    task, _ = load(tmp_path / "t.csv", listed("variant,sequence,score", *both), **given)
    assert rows(task) == expected and task.wild_type == wild


def test_mutations_beside_sequences_that_do_not_belong_together_tell_no_wild_type(
    tmp_path: Path,
) -> None:
    lines = ["A4G,MKTGYIAKQR,1", "Y5W,MKTGWIAKQR,2"]
    task, said = load(tmp_path / "t.csv", listed("mutant,sequence,score", *lines))
    assert task.wild_type == "" and "lead to no common wild type" in said


def test_settings_of_reading_are_refused_where_nothing_is_read(
    tmp_path: Path, tiny_task: Callable[..., DesignTask]
) -> None:
    save_archive([tiny_task(0)], tmp_path / "one.zip")
    with pytest.raises(SettingError, match="score_column='x': says how a table"):
        load_file(tmp_path / "one.zip", {"score_column": "x"})


def plain_zip(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("measured.csv", data)
    return stream.getvalue()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_table_in_any_form_is_the_same_task(tmp_path: Path, data: st.DataObject) -> None:
    def one_of(*choices: Any) -> Any:
        return data.draw(st.sampled_from(choices))

    numbers = st.integers(-(10**6), 10**6).map(lambda value: value / 1000)
    scores = data.draw(st.lists(numbers, min_size=8, max_size=16, unique=True))
    seqs = [np.base_repr(n + 64, 4).translate(str.maketrans("0123", "ACGT")) for n, _ in
            enumerate(scores)]  # fmt: skip
    plain, _ = load(tmp_path / "t.csv", listed(
        "sequence,score", *(f"{seq},{score}" for seq, score in zip(seqs, scores, strict=True))
    ))  # fmt: skip
    table: list[dict[str, str]] = []
    mark, separator = one_of(".", ","), one_of(",", ";", "\t", "|")
    for n, (seq, score) in enumerate(zip(seqs, scores, strict=True)):
        table.append({"q": one_of(seq, seq.lower(), f" {seq} "),
                      "s": f"{score:.4f}".replace(".", mark), "n": f"note {n} °C"})  # fmt: skip
    for _ in range(one_of(0, 1, 3)):  # rows that say nothing
        missing = {"q": seqs[0], "s": one_of("NA", "#N/A", "", "nan", "?", "null"), "n": "lost"}
        table.insert(data.draw(st.integers(0, len(table))), missing)
    order = data.draw(st.permutations("qsn"))
    names = {"q": one_of("sequence", "Sequence", "SEQ", "mutated_sequence"),
             "s": one_of("score", "Score ", "DMS_score", "target", "Fitness"),
             "n": one_of("note", "remark, if any")}  # fmt: skip
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=separator,
        quoting=one_of(csv.QUOTE_MINIMAL, csv.QUOTE_ALL),
        lineterminator=one_of("\n", "\r\n", "\r"),
    )
    writer.writerow([names[column] for column in order])
    writer.writerows([[row[column] for column in order] for row in table])
    encoding = one_of("utf-8", "utf-8-sig", "utf-16", "latin-1")
    pack = one_of(bytes, gzip.compress, bz2.compress, lzma.compress, plain_zip)
    path = tmp_path / "t.bin"
    path.write_bytes(pack(stream.getvalue().encode(encoding)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task = load_file(path, UNRULED)
    assert task.content_hash == plain.content_hash
