"""Finding, checking, decoding data: the shipped samples, and the whole sets where CONCORD_DATA has them."""

import csv
import gzip
import io
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness import credit, data, editions, samples
from harness.cli import main
from harness.errors import HarnessError

WHOLE = os.environ.get("CONCORD_DATA")
needs_whole = pytest.mark.skipif(not WHOLE, reason="CONCORD_DATA does not say where the whole data sets are")
IMAGES = "sample-train-images-idx3-ubyte"
LABELS = "sample-t10k-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data anywhere but in the repository."""
    monkeypatch.delenv("CONCORD_DATA", raising=False)
    for name in ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with copies of the shipped samples."""
    return Path(shutil.copytree(data.SAMPLES, tmp_path / "folder"))


@pytest.fixture
def powerless() -> Iterator[Path]:
    """A folder anybody can enter, while this process has no more rights than anybody."""
    euid = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # the tests' own folder is closed to others
        Path(name).chmod(0o777)
        if euid == 0:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(euid)
            for path in Path(name).rglob("*"):
                path.chmod(0o700)


def listed(name: str) -> editions.File:
    """What a file of an edition must be."""
    return next(file for edition in editions.EDITIONS for file in edition.files if file.name == name)


def message(call: Callable[[], object]) -> str:
    """The one sentence of the error that the call must raise."""
    with pytest.raises(HarnessError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


@pytest.mark.parametrize(
    ("name", "label", "train", "test"),
    [
        ("mnist", "mnist (sample 10,000 of 60,000)", (10_000, 28, 28, 1), (2_000, 28, 28, 1)),
        ("cifar10", "cifar10 (sample 4,000 of 50,000)", (4_000, 32, 32, 3), (1_000, 32, 32, 3)),
    ],
)
def test_image_samples(name: str, label: str, train: tuple[int, ...], test: tuple[int, ...]) -> None:
    """The shipped images are found without any data folder, say that they are a sample, and are balanced."""
    found = data.find(name)
    assert (found.label, found.whole, found.where) == (label, False, data.SAMPLES / name)
    for part, shape in (("train", train), ("test", test)):
        x, y = found.arrays[f"x_{part}"], found.arrays[f"y_{part}"]
        assert (x.shape, x.dtype.name, y.dtype.name) == (shape, "uint8", "int32")
        assert x.flags.c_contiguous
        assert np.bincount(y).tolist() == [shape[0] // 10] * 10
        assert len({image.tobytes() for image in x}) > 0.99 * len(x)


def test_samples_are_small_and_licensed() -> None:
    """All samples together stay under 12 MB, and each says whose it is."""
    files = [path for path in data.SAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12_000_000
    notes = {path.parent.name: path.read_text("utf-8") for path in files if path.name == samples.NOTE}
    assert sorted(notes) == ["cifar10", "german_credit", "mnist"]
    assert "BY-SA 3.0" in notes["mnist"] or "ShareAlike 3.0" in notes["mnist"]
    assert "Attribution 4.0" in notes["german_credit"]
    assert "Learning Multiple Layers" in notes["cifar10"]


def test_credit_default_is_not_shipped() -> None:
    """What is not there is said to be not there, and how to get it."""
    told = message(lambda: data.find("credit_default"))
    assert "concord data fetch credit_default" in told
    assert editions.TABLE in told


def test_german_credit() -> None:
    """61 features, standardised by the training rows alone, thirteen categories, a stratified split."""
    found = data.find("german_credit")
    assert (found.label, found.whole) == ("german_credit (1,000)", True)
    sizes = {part: len(found.arrays[f"y_{part}"]) for part in ("train", "val", "test")}
    assert sizes == {"train": 600, "val": 200, "test": 200}
    for part in sizes:
        x, y = found.arrays[f"x_{part}"], found.arrays[f"y_{part}"]
        assert (x.shape[1], x.dtype.name, y.dtype.name) == (61, "float32", "int32")
        assert y.mean() == pytest.approx(0.3)
        assert (x[:, 7:].sum(axis=1) == 13).all()
        assert set(np.unique(x[:, 7:])) == {0, 1}
    train = found.arrays["x_train"][:, :7].astype(np.float64)
    assert train.mean(axis=0) == pytest.approx(np.zeros(7), abs=1e-6)
    assert train.std(axis=0) == pytest.approx(np.ones(7), abs=1e-6)
    assert abs(found.arrays["x_test"][:, :7].mean(axis=0)).max() > 1e-3


def test_split_is_a_partition() -> None:
    """Every row is in one part, in the order of the file, and the split is the same for everybody for ever."""
    y = np.array([0, 1, 0, 0, 1] * 20)
    parts = credit.split(y, "german_credit")
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(100))
    assert [int(y[rows].sum()) for rows in parts.values()] == [24, 8, 8]
    assert parts["test"][:8].tolist() == [0, 3, 8, 9, 16, 20, 23, 30]
    assert all((np.diff(rows) > 0).all() for rows in parts.values())
    assert (parts["test"] != credit.split(y, "credit_default")["test"]).any()


def table(rows: list[dict[str, str]]) -> bytes:
    """The rows as a CSV file."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def default_rows() -> list[dict[str, str]]:
    """Invented rows of the credit-default table: this data set is not shipped."""
    return [
        {"ID": str(i), **{f"X{k}": str((i * 7 + k) % 97) for k in range(1, 24)}}
        | {"X1": str(100_000 * (1 + i % 9)), "X2": str(1 + i % 2), "X3": str(i % 7), "X4": str(i % 4)}
        | {"Y": str(int(i % 5 == 0))}
        for i in range(100)
    ]


def test_credit_default_features() -> None:
    """33 features: 20 numbers and three categories of 2, 7 and 4 values; the ID is none."""
    arrays = credit.arrays(table(default_rows()), "credit_default")
    assert arrays["x_train"].shape == (60, 33)
    assert (arrays["x_val"][:, 20:].sum(axis=1) == 3).all()
    assert arrays["y_test"].sum() == 4


def test_column_order_changes_nothing() -> None:
    """The columns are found by name."""
    rows = default_rows()
    plain, turned = (table(each) for each in (rows, [dict(reversed(row.items())) for row in rows]))
    assert credit.digest(plain) == credit.digest(turned) != ""
    plain, turned = (credit.arrays(each, "credit_default") for each in (plain, turned))
    assert all((plain[key] == turned[key]).all() for key in plain)


def test_spelling_of_numbers_does_not_matter() -> None:
    """The credit-default table is known by its numbers: 1.00E+05 is 100000, and 100001 is not."""
    rows = default_rows()
    spelt = [row | {"X1": f"{float(row['X1']):.2E}"} for row in rows]
    wrong = [*rows[:-1], rows[-1] | {"X1": str(int(rows[-1]["X1"]) + 1)}]
    digests = [credit.digest(table(each)) for each in (rows, spelt, wrong)]
    assert digests[0] == digests[1] != ""
    assert digests[2] not in {digests[0], ""}
    for broken in (b"", b"<html>not a table</html>", b"\xff\x00", table(rows)[:-9], table(rows).replace(b"96", b"")):
        assert credit.digest(broken) != digests[0]
    plain, odd = (credit.arrays(table(each), "credit_default") for each in (rows, spelt))
    assert all((plain[key] == odd[key]).all() for key in plain)


def test_data_dir_comes_before_environment_and_samples(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--data-dir, then CONCORD_DATA, then what is shipped; a folder without the set is passed over."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    monkeypatch.setenv("CONCORD_DATA", str(other))
    assert data.find("mnist").where == other / "mnist"
    assert data.find("mnist", data_dir=folder).where == folder / "mnist"
    shutil.rmtree(folder / "mnist")
    assert data.find("mnist", data_dir=folder).where == other / "mnist"
    shutil.rmtree(other / "mnist")
    assert data.find("mnist", data_dir=folder).where == data.SAMPLES / "mnist"


def test_cache_comes_before_samples(folder: Path) -> None:
    """What was fetched is used."""
    shutil.copytree(folder, data.cache())
    assert data.find("mnist").where == data.cache() / "mnist"


@pytest.mark.parametrize("below", ["mnist", "MNIST/raw", "."])
def test_layouts_and_packings(folder: Path, tmp_path: Path, below: str) -> None:
    """Concord's layout, torchvision's and the set's own folder; plain files as well as packed ones."""
    home = tmp_path / "home" / below
    home.mkdir(parents=True)
    for path in (folder / "mnist").glob("*.gz"):
        (home / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    found, shipped = data.find("mnist", data_dir=tmp_path / "home"), data.find("mnist")
    assert found.where == home
    assert found.digest == shipped.digest
    assert (found.arrays["x_train"] == shipped.arrays["x_train"]).all()


def truncate(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit of the content and pack it again."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[len(content) // 2] ^= 1
    path.write_bytes(gzip.compress(bytes(content), 1))


def inflate(path: Path) -> None:
    """Pack far more than there should be."""
    path.write_bytes(gzip.compress(bytes(50_000_000), 1))


def shorten(path: Path) -> None:
    """Pack less than there should be."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1], 1))


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (truncate, "truncated"),
        (shorten, "truncated"),
        (flip, "altered"),
        (inflate, "too long"),
        (lambda path: path.write_bytes(b"<html>please log in</html>"), "cannot be read"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (Path.unlink, "lacks"),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], object], fact: str) -> None:
    """Damaged files in a folder the user named are never passed over: what, where, what to do."""
    damage(folder / "mnist" / f"{IMAGES}.gz")
    told = message(lambda: data.find("mnist", data_dir=folder))
    assert fact in told
    assert str(folder / "mnist") in told
    assert "concord data fetch mnist" in told


@pytest.mark.parametrize(("damage", "fact"), [(shorten, "truncated"), (flip, "altered"), (inflate, "too long")])
def test_damaged_differences_are_told(folder: Path, damage: Callable[[Path], object], fact: str) -> None:
    """The same for the form in which the CIFAR-10 sample is stored."""
    path = folder / "cifar10" / "sample-test.bin.delta.gz"
    damage(path)
    with pytest.raises(data.DamagedError, match=fact):
        data.read(path, listed("sample-test.bin"))


def test_unpacking_is_bounded(folder: Path) -> None:
    """Of content that is too long, one byte too many is unpacked and no more."""
    inflate(folder / "mnist" / f"{IMAGES}.gz")
    file = listed(IMAGES)
    assert len(data._unpacked(folder / "mnist" / f"{IMAGES}.gz", file)) == file.size + 1


def test_damaged_cache_is_told(folder: Path) -> None:
    """Our own cache is not passed over either."""
    shutil.copytree(folder, data.cache())
    flip(data.cache() / "german_credit" / "germancredit.csv.gz")
    assert "altered" in message(lambda: data.find("german_credit"))


def test_damage_elsewhere_is_passed_over(folder: Path) -> None:
    """What another program left in its own folder is used when it is good and passed over when not."""
    home = Path("data") / "MNIST" / "raw"
    home.parent.mkdir(parents=True)
    shutil.copytree(folder / "mnist", home)
    assert data.find("mnist").where == home
    flip(home / f"{LABELS}.gz")
    assert data.find("mnist").where == data.SAMPLES / "mnist"


def test_unreadable_folder_is_told(powerless: Path) -> None:
    """A data folder without permission: one sentence."""
    (powerless / "mnist").mkdir()
    (powerless / "mnist").chmod(0)
    for root in (powerless, powerless / "mnist"):
        told = message(lambda root=root: data.find("mnist", data_dir=root))  # type: ignore[misc]
        assert str(powerless / "mnist") in told
        assert "permission" in told.lower()


def test_the_command_line_tells_an_unreadable_folder(powerless: Path) -> None:
    """In our words and not in the parser's, which know no way out."""
    closed = powerless / "closed"
    closed.mkdir(0)
    done = CliRunner().invoke(main, ["data", "sample", "german_credit", "--out", "made", "--data-dir", str(closed)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"concord: --data-dir: cannot read {closed} (Permission denied): allow it or name another one.\n"


def test_missing_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder that does not exist is a slip of the pen, not a reason to look elsewhere."""
    assert "nowhere" in message(lambda: data.find("mnist", data_dir=tmp_path / "nowhere"))
    assert "nowhere" in message(lambda: data.locate_all(tmp_path / "nowhere"))
    monkeypatch.setenv("CONCORD_DATA", str(tmp_path / "nowhere"))
    assert "CONCORD_DATA" in message(lambda: data.find("mnist"))


def test_unknown_name() -> None:
    """The nearest name is offered."""
    assert "'mnist'" in message(lambda: data.find("mnits"))


def test_locate_all(folder: Path) -> None:
    """Names, labels and folders without decoding; a reason where there is none; a hole is told."""
    (folder / "mnist" / f"{IMAGES}.gz").write_bytes(b"anything")
    (folder / "cifar10" / "sample-test.bin.delta.gz").unlink()
    found = data.locate_all(folder)
    assert tuple(found) == editions.NAMES
    assert found["mnist"] == ("mnist (sample 10,000 of 60,000)", folder / "mnist")
    assert found["german_credit"] == ("german_credit (1,000)", folder / "german_credit")
    assert found["cifar10"][1] is found["credit_default"][1] is None
    assert "lacks sample-test.bin" in found["cifar10"][0]
    assert "concord data fetch" in found["credit_default"][0]


def test_keras_archive_gives_idx_files(tmp_path: Path) -> None:
    """A member of Keras' mnist.npz becomes the IDX file with the same bytes."""
    labels = np.arange(10_000, dtype=np.uint8) % 10
    np.savez_compressed(tmp_path / "mnist.npz", y_test=labels)
    file = editions.official("mnist").files[3]
    content = data._unpacked(tmp_path / "mnist.npz", file)
    assert content == bytes([0, 0, 8, 1, 0, 0, 39, 16]) + labels.tobytes()
    assert len(content) == file.size


class Trap:
    """What a crafted pickle can do: here, leave a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Run when it is unpickled."""
        return Path.touch, (Path("sprung"),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A pickle where Keras keeps its archive is never run: passed over there, an error in a named folder."""
    home = Path(os.environ["KERAS_HOME"]) / "datasets"
    home.mkdir(parents=True)
    with zipfile.ZipFile(home / "mnist.npz", "w") as archive:
        for member in editions.KERAS.values():
            archive.writestr(member, b"\x93NUMPY\x01\x00" + pickle.dumps(Trap()))
    assert data.locate_all()["mnist"] == ("mnist (60,000)", home)
    assert data.find("mnist").where == data.SAMPLES / "mnist"
    assert "mnist.npz" in message(lambda: data.find("mnist", data_dir=home))
    assert not Path("sprung").exists()
    (home / "mnist.npz").write_bytes(b"no archive")
    assert "cannot be read" in message(lambda: data.find("mnist", data_dir=home))


def test_arrays_cannot_be_changed() -> None:
    """A data set is shared by all backends of a process: nobody can write to it."""
    found = data.find("mnist")
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["y_train"][0] = 1


def test_save(tmp_path: Path) -> None:
    """Workers read what was found, without pickle; nothing else is left in the folder."""
    found = data.find("german_credit")
    path = data.save(found, tmp_path)
    assert [each for each in tmp_path.iterdir() if each.is_file()] == [path]
    with np.load(path, allow_pickle=False) as loaded:
        assert sorted(loaded.files) == sorted(found.arrays)
        assert all((loaded[key] == found.arrays[key]).all() for key in loaded.files)


def test_save_without_space(tmp_path: Path) -> None:
    """When the disk gives out, one sentence names the file."""
    found = data.find("mnist")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        told = message(lambda: data.save(found, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"cannot write {tmp_path / 'mnist-'}" in told


def test_delta_loses_nothing() -> None:
    """Any bytes come back from the form in which the CIFAR-10 sample is stored."""
    rng = np.random.default_rng(0)
    for content in (rng.bytes(5 * data.CIFAR_ROW), bytes(data.CIFAR_ROW), b"\xff" * data.CIFAR_ROW):
        assert data._undelta(samples.delta(content)) == content


def test_choice_is_balanced_and_fixed() -> None:
    """The same number of each class, in the order of the file, the same rows every time."""
    labels = np.random.default_rng(1).integers(0, 10, 1_000).astype(np.uint8)
    rows = samples._choose(labels, 200, stream=("mnist", "train"))
    assert np.bincount(labels[rows]).tolist() == [20] * 10
    assert (np.diff(rows) > 0).all()
    assert (rows == samples._choose(labels, 200, stream=("mnist", "train"))).all()
    assert (rows != samples._choose(labels, 200, stream=("mnist", "t10k"))).any()


def test_make_needs_the_whole(tmp_path: Path) -> None:
    """No sample is drawn from a sample."""
    told = message(lambda: samples.make("mnist", data.SAMPLES, tmp_path / "out"))
    assert "only mnist (sample 10,000 of 60,000)" in told
    assert "concord data fetch mnist" in told
    assert not (tmp_path / "out").exists()


def test_a_sample_is_written_over_nothing(tmp_path: Path) -> None:
    """What ships whole can be made anywhere: what ships, beside its licence, and only once."""
    made = samples.make("german_credit", None, tmp_path)
    assert [path.name for path in made] == [samples.NOTE, "germancredit.csv.gz"]
    found = data.find("german_credit", data_dir=tmp_path)
    assert (found.where, found.digest) == (tmp_path / "german_credit", data.find("german_credit").digest)
    made[0].write_text("mine")
    assert f"{tmp_path / 'german_credit'} exists" in message(lambda: samples.make("german_credit", None, tmp_path))
    assert made[0].read_text() == "mine"


def test_what_has_no_sample() -> None:
    """The nearest name is offered; what does not ship is not made."""
    assert "did you mean 'mnist'?" in message(lambda: samples.make("mnits", None, Path("out")))
    assert "unknown sample 'credit_default'" in message(lambda: samples.make("credit_default", None, Path("out")))


def test_import_is_light() -> None:
    """Finding data loads neither a framework nor the downloader."""
    heavy = "{'torch', 'tensorflow', 'jax', 'pandas', 'requests', 'harness.download'}"
    code = f"import sys, harness.data; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=data.SAMPLES.parents[1])
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def whole() -> dict[str, data.Dataset]:
    """All of every data set."""
    return {name: data.find(name, data_dir=Path(WHOLE or "")) for name in editions.NAMES}


@needs_whole
def test_whole_sets(whole: dict[str, data.Dataset]) -> None:
    """The official files are recognised, and have the official shapes and counts."""
    assert all(found.whole and "sample" not in found.label for found in whole.values())
    assert np.bincount(whole["mnist"].arrays["y_train"])[:3].tolist() == [5923, 6742, 5958]
    assert np.bincount(whole["cifar10"].arrays["y_test"]).tolist() == [1000] * 10
    means = whole["cifar10"].arrays["x_train"][::10].mean(axis=(0, 1, 2)) / 255
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-3)
    assert whole["credit_default"].arrays["x_train"].shape == (17_999, 33)


@needs_whole
def test_make_gives_the_shipped_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, data.Dataset]) -> None:
    """The samples in the repository are what the command makes of the whole sets, and images of those."""
    assert gzip.decompress(samples._gzipped(b"as small as can be, which takes a while")).startswith(b"as small")
    monkeypatch.setattr(samples, "_gzipped", lambda content, *_: gzip.compress(content, 1))
    for name in samples.MAKERS:
        made = samples.make(name, Path(WHOLE or ""), tmp_path)
        assert [path.name for path in made] == sorted(path.name for path in (data.SAMPLES / name).iterdir())
        ours, shipped = data.find(name, data_dir=tmp_path), data.find(name)
        assert ours.where == tmp_path / name
        assert ours.digest == shipped.digest
    for name in ("mnist", "cifar10"):
        arrays = whole[name].arrays
        known = {(image.tobytes(), int(y)) for image, y in zip(arrays["x_test"], arrays["y_test"], strict=True)}
        part = data.find(name).arrays
        assert all((x.tobytes(), int(y)) in known for x, y in zip(part["x_test"], part["y_test"], strict=True))


@needs_whole
def test_keras_and_torchvision_places(whole: dict[str, data.Dataset]) -> None:
    """The whole of MNIST is found where Keras keeps it, and where torchvision does, and is the same."""
    source = whole["mnist"]
    home = Path(os.environ["KERAS_HOME"]) / "datasets"
    home.mkdir(parents=True)
    arrays = {key: array.astype(np.uint8) for key, array in source.arrays.items()}
    np.savez(home / "mnist.npz", **{key: array.squeeze() for key, array in arrays.items()})  # type: ignore[arg-type]
    from_keras = data.find("mnist")
    assert (from_keras.where, from_keras.label, from_keras.digest) == (home, "mnist (60,000)", source.digest)
    shutil.rmtree(home)
    raw = Path("data") / "MNIST" / "raw"
    raw.parent.mkdir(parents=True)
    shutil.copytree(source.where, raw)
    from_torchvision = data.find("mnist")
    assert (from_torchvision.where, from_torchvision.digest) == (raw, source.digest)
