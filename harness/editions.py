"""The forms in which the data sets are distributed: their files, what those must contain, where they lie.

A file is known by the sha256 of its unpacked content, so that any mirror and any packing will do.
"""

import hashlib
from dataclasses import dataclass

from harness.errors import unknown

_CONTENTS = """
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db 47040016 train-images-idx3-ubyte
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5    60008 train-labels-idx1-ubyte
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7  7840016 t10k-images-idx3-ubyte
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2    10008 t10k-labels-idx1-ubyte
be68c5d4b387d8f165c77659315c6144ad7d5b8dfa85b444ef939f464f91c058  7840016 sample-train-images-idx3-ubyte
168e9ea83e0c7c11d0557b10d1cda5811377f4b440564312eedee98103c78a30    10008 sample-train-labels-idx1-ubyte
a7481f8f3d8e9d850e65dec7be5ee09065ff19a960c7602210393737f0168068  1568016 sample-t10k-images-idx3-ubyte
b2276440a9540fc3b1ac9496fa0137a537abce3f279a96414deca9ceeacf9880     2008 sample-t10k-labels-idx1-ubyte
cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5 30730000 data_batch_1.bin
a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed 30730000 data_batch_2.bin
bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67 30730000 data_batch_3.bin
014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48 30730000 data_batch_4.bin
755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add 30730000 data_batch_5.bin
8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b 30730000 test_batch.bin
d7106f8b097f1c6c6059ad24e0f590e920c2d3b654b18ed78ee1aead0e8f8e2c 12292000 sample-train.bin
d71f2e4c89db561baf29ae6523d56819c5d45cfa3e777b3d95edd6d391e0a97e  3073000 sample-test.bin
2c0bae00275c028fc853a1ea72cc7a68002c3f6876c41300c5c948711540c8c6   268042 germancredit.csv
023eb2c3ad9efd15e7869616fa50a0143f25223105c7069ba632431530afdb61  2905603 default_of_credit_card_clients.csv
"""


@dataclass(frozen=True)
class File:
    """One file of a data set: what it is called unpacked, and what its unpacked content must be."""

    sha256: str
    size: int  # bytes
    name: str


@dataclass(frozen=True)
class Edition:
    """A form in which a data set is distributed: the whole of it, or a sample."""

    name: str
    label: str  # for records and reports: says when it is a sample
    files: tuple[File, ...]
    whole: bool = True

    @property
    def digest(self) -> str:
        """The sha256 of what ``sha256sum`` prints for the unpacked files."""
        return hashlib.sha256("".join(f"{f.sha256}  {f.name}\n" for f in self.files).encode()).hexdigest()


def files(*names: str) -> tuple[File, ...]:
    """The named files of the list above."""
    rows = {row.split()[2]: row.split() for row in _CONTENTS.strip().splitlines()}
    return tuple(File(rows[name][0], int(rows[name][1]), name) for name in names)


def official(name: str) -> Edition:
    """The whole of a data set, as it is distributed."""
    if name not in NAMES:
        raise unknown("data set", name, NAMES)
    return next(edition for edition in EDITIONS if edition.name == name and edition.whole)


MNIST = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
CIFAR = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
TABLE = "default_of_credit_card_clients.csv"
EDITIONS = (  # the whole of a data set before its sample
    Edition("mnist", "mnist (60,000)", files(*MNIST)),
    Edition("mnist", "mnist (sample 10,000 of 60,000)", files(*(f"sample-{name}" for name in MNIST)), whole=False),
    Edition("cifar10", "cifar10 (50,000)", files(*CIFAR)),
    Edition("cifar10", "cifar10 (sample 4,000 of 50,000)", files("sample-train.bin", "sample-test.bin"), whole=False),
    Edition("german_credit", "german_credit (1,000)", files("germancredit.csv")),
    Edition("credit_default", "credit_default (30,000)", files(TABLE)),
)
NAMES = tuple(dict.fromkeys(edition.name for edition in EDITIONS))
FOLDERS = {  # below a place, in the order they are tried, the one to fetch into first; "." is the set's own folder
    "mnist": ("mnist", "MNIST/raw", "raw", "."),  # MNIST/raw is torchvision's
    "cifar10": ("cifar10/cifar-10-batches-bin", "cifar10", "cifar-10-batches-bin", "."),
    "german_credit": ("german_credit", "."),
    "credit_default": ("credit_default", "."),
}
# the members of Keras' mnist.npz with the same bytes
KERAS = dict(zip(MNIST, ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"), strict=True))
