"""Data that is broken, one file a case: how it is made, and what the one line must say of it."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Make = Callable[[Path], list[str]]
CASES: dict[str, tuple[Make, list[str]]] = {}

rng = np.random.RandomState(0)
NUMBERS = rng.normal(size=(30, 2))
ROWS = "a,b\n" + "".join(f"{i},{i * i % 7}\n" for i in range(30))


def case(name: str, make: Make, *says: str) -> None:
    assert name not in CASES, name
    CASES[name] = make, list(says)


# ---- tables ------------------------------------------------------------------------------------


def csv(name: str, data: str | bytes, says: str, *words: str) -> None:
    def make(folder: Path) -> list[str]:
        file = folder / "t.csv"
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
        family = [] if any(w.startswith("model=") for w in words) else ["model=flow"]
        return [*family, "dataset=table", f"dataset.path={file}", *words]

    case(f"csv {name}", make, says)


csv("empty", b"", "t.csv is empty")
csv("blank lines", b"\n\n\n", "t.csv")
csv("header alone", b"a,b\n", "no rows")
csv("no header", "1,2\n" * 30, "no header")
csv("no names", ",,\n1,2,3\n", "is empty")
csv("half names", "a,,\n1,2,3\n", "twice")
csv("name twice", "a,b,a\n1,2,3\n", "'a' twice")
csv("ragged short", ROWS + "1\n", "line 32 has 1 cells")
csv("ragged long", ROWS + "1,2,3\n", "line 32 has 3 cells")
csv("word", ROWS + "1,x\n", "line 32, column b: 'x' is not a number")
csv("missing", ROWS + "1,\n", "line 32, column b: the value is missing")
csv("blank", ROWS + "1,  \n", "the value is missing")
csv("nan", ROWS + "nan,1\n", "line 32, column a: 'nan' is not a number")
csv("NaN", ROWS + "1,NaN\n", "column b: 'NaN'")
csv("NA", ROWS + "1,NA\n", "column b: 'NA'")
csv("null", ROWS + "1,null\n", "column b: 'null'")
csv("inf", ROWS + "inf,1\n", "column a: 'inf' is not a number")
csv("minus inf", ROWS + "-inf,1\n", "column a: '-inf'")
csv("overflow", ROWS + "1e999,1\n", "column a: '1e999'")
csv("beyond 32 bits", ROWS + "1,1e39\n", "column b: '1e39' is too large for a 32-bit number")
csv("minus beyond", ROWS + "-1e300,1\n", "column a: '-1e300' is too large")
csv("hexadecimal", ROWS + "0x10,1\n", "'0x10'")
csv("complex", ROWS + "1+2j,1\n", "'1+2j'")
csv("percent", ROWS + "5%,1\n", "'5%'")
csv("thousands", 'a,b\n"1,000",2\n' * 1 + ROWS[4:], "'1,000'")
csv("decimal comma", "a;b\n1,5;2\n", "'1,5'")
csv("date", ROWS + "2020-01-01,1\n", "'2020-01-01'")
csv("true", ROWS + "true,1\n", "'true'")
csv("escape codes", ROWS + "\x1b[2J,3\n", "'?[2J'")
csv("nul", ROWS.encode() + b"1\x002,3\n", "line 32")
csv("right to left", ROWS + "\u202e1,3\n", "line 32")
csv("latin-1", "größe,b\n1,2\n".encode("latin-1"), "is not text in UTF-8")
csv("utf-16", ROWS.encode("utf-16"), "is not text in UTF-8")
csv("binary", bytes(range(256)), "is not text in UTF-8")
csv("gzip", gzip.compress(ROWS.encode()), "is not text in UTF-8")
csv("a picture", b"\x89PNG\r\n\x1a\n" + bytes(50), "is not text in UTF-8")
csv("a million digits", "a,b\n" + "1" * 10**6 + ",2\n", "line 2")
csv("a million letters", "a," + "b" * 10**6 + "\n1,2\n", "line 1")
csv("a million quoted", 'a,b\n"' + "x" * 10**6 + '",2\n', "t.csv")
csv("wide", ",".join(f"c{i}" for i in range(50000)) + "\n" + "1," * 49999 + "1\n", "none to train")
csv("open quote", 'a,b\n"1,2\n3,4\n', "t.csv line")
csv("old line ends", ROWS.replace("\n", "\r"), "t.csv line 1")
csv("one row", "a,b\n1,2\n", "none to train on")
csv("html", "<html><body>404</body></html>\n", "no rows")
csv("json", '{"a": [1, 2]}', "no rows")
csv("no such target", ROWS, "dataset.target=zz", "dataset.target=zz")
csv("near target", "size,b\n1,2\n3,4\n", "did you mean 'size'", "dataset.target=sise")
csv("target twice", ROWS, "'a' twice", "dataset.target=[a,a]")
csv("all targets", ROWS, "no column left", "dataset.target=[a,b]")
csv("target is a number", ROWS, "dataset.target=3", "dataset.target=3")
csv("infinite target", ROWS + "1,inf\n", "column b: 'inf'", "dataset.target=b", "model=mlp")
csv("target beyond", ROWS + "1,1e39\n", "column b: '1e39'", "dataset.target=b", "model=mlp")
csv("typo in target", ROWS + "1,eight\n", "column b: 'eight'", "dataset.target=b", "model=mlp")
csv("no target", ROWS, "dataset.target", "dataset.task=regression")
csv("wrong task", ROWS, "did you mean", "dataset.task=regresion", "dataset.target=b")
csv("wrong scale", ROWS, "dataset.scale=log", "dataset.scale=log")


def npz(name: str, says: str, **arrays: object) -> None:
    def make(folder: Path) -> list[str]:
        np.savez(folder / "t.npz", **arrays)
        return ["model=flow", "dataset=table", f"dataset.path={folder / 't.npz'}"]

    case(f"npz {name}", make, "t.npz", says)


def archive(name: str, says: str, **members: bytes) -> None:
    """An npz whose members are these bytes, whatever they claim to be."""

    def make(folder: Path) -> list[str]:
        with zipfile.ZipFile(folder / "t.npz", "w") as file:
            for member, data in members.items():
                file.writestr(f"{member}.npy", data)
        return ["model=flow", "dataset=table", f"dataset.path={folder / 't.npz'}"]

    case(f"npz {name}", make, "t.npz", says)


def header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    out = io.BytesIO()
    about = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, about)
    return out.getvalue()


BAD = NUMBERS.copy()
BAD[3, 1] = np.nan
npz("without x", "no array x", z=NUMBERS)
npz("one axis", "(n, D)", x=NUMBERS[:, 0])
npz("three axes", "(n, D)", x=NUMBERS[None])
npz("a number", "(n, D)", x=np.float64(3))
npz("text", "(n, D)", x=np.array([["a"]]))
npz("complex", "(n, D)", x=NUMBERS.astype(complex))
npz("dates", "(n, D)", x=np.zeros((30, 2), "M8[s]"))
npz("records", "(n, D)", x=np.zeros(30, [("a", "f4"), ("b", "f4")]))
npz("objects", "without objects", x=np.array([[{}, 1]], object))
npz("object labels", "without objects", x=NUMBERS, y=np.array([{}] * 30, object))
npz("nan", "x[3, 1] is nan", x=BAD)
npz("infinite labels", "y[0, 0] is inf", x=NUMBERS, y=np.full(30, np.inf))
npz("beyond 32 bits", "too large for a 32-bit number", x=NUMBERS * 1e300)
npz("lengths", "n = 30", x=NUMBERS, y=np.zeros(29))
npz("bytes as labels", "y must be", x=NUMBERS, y=np.array([b"u", b"v"] * 15))
npz("no rows", "no rows", x=np.zeros((0, 2)))
npz("no columns", "no column", x=np.zeros((30, 0)))
archive("a promise of terabytes", "cannot be read", x=header((10**10, 10**3)))
archive("a promise of everything", "cannot be read", x=header((10**30, 2)))
archive("a negative length", "cannot be read", x=header((-5, 2)))
archive("a short body", "cannot be read", x=header((30, 2)) + bytes(20))
archive("no array inside", "cannot be read", x=b"nonsense")
archive("an empty member", "cannot be read", x=b"")
archive(
    "code in the header", "cannot be read", x=b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os')" * 2
)
archive("a pickle inside", "cannot be read", x=pickle.dumps([1, 2, 3]))


def file_named(name: str, data: bytes, says: str, kind: str = "table") -> None:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(data)
        return ["model=flow", f"dataset={kind}", f"dataset.path={folder / name}"]

    case(f"{kind} {name} {len(data)} bytes", make, name, says)


file_named("t.npz", b"", "cannot be read as npz")
file_named("t.npz", b"not a zip", "cannot be read as npz")
file_named("t.npz", b"PK\3\4 cut off", "cannot be read as npz")
file_named("t.npy", b"\x93NUMPY\x01\x00", "is not text in UTF-8")
file_named("t.csv", b"a,b\n1,2\n", "is not a folder", "folder")


def odd_file(name: str, put: Callable[[Path], None], says: str, kind: str = "table") -> None:
    def make(folder: Path) -> list[str]:
        put(folder / name)
        return ["model=flow", f"dataset={kind}", f"dataset.path={folder / name}"]

    case(f"{kind} {put.__name__} {name}", make, says)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def folder_there(path: Path) -> None:
    path.mkdir()


for name in ("t.csv", "t.npz"):
    odd_file(name, pipe, "is no regular file")
    odd_file(name, device, "is no regular file")
    odd_file(name, folder_there, "is a folder")
    odd_file(name, dangling, f"{name} is not there")
    odd_file(name, loop, name)
odd_file("images", folder_there, "holds no images", "folder")
odd_file("images", dangling, "images is not there", "folder")
odd_file("images", loop, "images", "folder")
odd_file("images", pipe, "is not a folder", "folder")

# ---- images ------------------------------------------------------------------------------------


def picture(width: int = 8, height: int = 8, **options: object) -> bytes:
    out = io.BytesIO()
    pixels = rng.randint(256, size=(height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, **{"format": "PNG", **options})
    return out.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A grey png that promises so many pixels and has a thousand bytes of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def image(name: str, put: Callable[[Path], object] | bytes, says: str, *words: str) -> None:
    """Eight good pictures and one file by an image's name that is none."""

    def make(folder: Path) -> list[str]:
        for k in range(8):
            (folder / f"{k}.png").write_bytes(picture())
        if isinstance(put, bytes):
            (folder / name).write_bytes(put)
        else:
            put(folder / name)
        return ["model=flow", "dataset=folder", f"dataset.path={folder}", *words]

    case(f"image {len(CASES)} {name}", make, name.replace("\n", "?"), says)


JPEG, TIFF = picture(64, 64, format="JPEG"), picture(32, 32, format="TIFF")
image("empty.png", b"", "empty file")
image("text.png", b"hello, I was renamed", "not an image")
image("zip.png", b"PK\3\4" + bytes(100), "not an image")
image("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image")
image("cut.jpg", JPEG[: len(JPEG) // 2], "truncated")
image("cut.png", picture(64, 64)[:300], "cannot be read")
image("cut.gif", picture(64, 64, format="GIF")[:60], "cannot be read")
image("cut.webp", picture(64, 64, format="WEBP")[:60], "cannot be read")
image("cut.bmp", picture(64, 64, format="BMP")[:100], "cannot be read")
image("cut.tif", TIFF[:20], "cannot be read")
image("head.jpg", JPEG[:3], "cannot be read")
image("head.tif", b"II*\0" + bytes(range(100)), "cannot be read")
image("lzw.tif", b"", "empty file")
image("bomb.png", png_of(50000, 50000), "more than 67108864 pixels")
image("bomb2.png", png_of(12000, 12000), "more than 67108864 pixels")
image("wide.png", png_of(2**31 - 1, 1), "more than 67108864 pixels")
image("none.png", png_of(0, 5), "cannot be read")
image("less.png", png_of(100, 100), "cannot be read")
image("pipe.png", pipe, "not a regular file")
image("zero.png", device, "not a regular file")
image("dangling.png", dangling, "No such file")
image("loop.png", loop, "symbolic links")
image("two\nlines.png", b"no", "not an image")
image("naïve 🙈.png", b"no", "not an image")
image("wider.png", picture(9, 8), "9×8", "dataset.val_fraction=0.2")
image("large.png", picture(400, 300), "400×300")
image("one.png", picture(1, 1), "dataset.size=1")
for words, says in {
    "dataset.size=0": "dataset.size=0",
    "dataset.size=100000": "dataset.size=100000",
    "dataset.size=big": "dataset.size=big",
    "dataset.channels=2": "dataset.channels=2",
    "dataset.channels=0": "dataset.channels=0",
    "dataset.crop=middle": "dataset.crop=middle",
    "dataset.workers=-1": "dataset.workers=-1",
    "dataset.memory_mb=-1": "dataset.memory_mb=-1",
    "dataset.shift=8": "dataset.shift=8",
    "dataset.allow_broken=2": "dataset.allow_broken=2",
}.items():
    image("8.png", picture(), says, words)
    CASES[next(reversed(CASES))][1].remove("8.png")


def only(name: str, says: str, **files: bytes) -> None:
    """A folder with these files alone; ``__`` in a name is a folder."""

    def make(folder: Path) -> list[str]:
        for path, data in files.items():
            file = folder.joinpath(*path.split("__")).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return [
            "model=flow",
            "dataset=folder",
            f"dataset.path={folder}",
            "dataset.allow_broken=true",
        ]

    case(f"folder {name}", make, says)


only("of one image", "none to train on", a=picture())
only("of broken images", "2 of 2 images cannot be read", a=b"no", b=b"")
only("with a broken split", "every image in", train__a=picture(), train__b=picture(), test__a=b"")
only("of hidden images", "holds no images", **{".a": picture()})

# ---- idx ---------------------------------------------------------------------------------------

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx_files(folder: Path, n: int = 12) -> None:
    for stem in ("train", "t10k"):
        pixels = bytes(n * 784)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, n, 28, 28) + pixels
        )
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, n) + bytes(range(n - 2)) + b"\1\2"
        )


def idx(name: str, says: str, change: Callable[[Path], object], dataset: str = "mnist") -> None:
    def make(folder: Path) -> list[str]:
        idx_files(folder)
        change(folder)
        return ["model=flow", f"dataset={dataset}", f"dataset.root={folder}"]

    case(f"idx {name}", make, says)


def images(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / IMAGES).write_bytes(data)


def labels(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / LABELS).write_bytes(data)


def packed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def replace(folder: Path) -> None:
        data = gzip.compress((folder / IMAGES).read_bytes())
        (folder / IMAGES).unlink()
        (folder / f"{IMAGES}.gz").write_bytes(change(data))

    return replace


def becomes_folder(folder: Path) -> None:
    (folder / LABELS).unlink()
    (folder / LABELS).mkdir()


HEAD = struct.pack(">IIII", 0x803, 12, 28, 28)
idx("empty", "only 0 bytes", images(b""))
idx("short head", "only 3 bytes", images(HEAD[:3]))
idx("magic of a picture", "begins with 89504e47", images(b"\x89PNG" + bytes(40)))
idx(
    "of floats", "begins with 00000d03", images(struct.pack(">IIII", 0xD03, 12, 28, 28) + bytes(40))
)
idx("of labels", "begins with 00000801", images(struct.pack(">II", 0x801, 12) + bytes(12)))
idx("cut off", "of data", images(HEAD + bytes(12 * 784 - 5)))
idx("too long", "more than", images(HEAD + bytes(12 * 784 + 1)))
idx("billions", "promises 4294967295", images(struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28)))
idx("millions", IMAGES, images(struct.pack(">IIII", 0x803, 2**20, 28, 28)))
idx("no images", "0×28×28", images(struct.pack(">IIII", 0x803, 0, 28, 28)))
idx("of 32×32", "12×32×32", images(struct.pack(">IIII", 0x803, 12, 32, 32) + bytes(12 * 1024)))
idx("labels out of range", "label 200", labels(struct.pack(">II", 0x801, 12) + b"\xc8" * 12))
idx("fewer labels", "12 images but", labels(struct.pack(">II", 0x801, 5) + bytes(5)))
idx("more labels", "12 images but", labels(struct.pack(">II", 0x801, 15) + bytes(15)))
idx("no labels", f"lacks {LABELS}", lambda folder: (folder / LABELS).unlink())
idx("a folder by the name", f"lacks {LABELS}", becomes_folder)
idx("no test set", "lacks t10k", lambda folder: (folder / "t10k-images-idx3-ubyte").unlink())
idx("nothing", "holds no files of kmnist", lambda folder: (folder / IMAGES).unlink(), "kmnist")
idx("gz cut off", "cannot be unpacked", packed(lambda data: data[:-12]))
idx("gz cut in the head", "cannot be unpacked", packed(lambda data: data[:5]))
idx("gz that is none", "cannot be unpacked", packed(lambda data: b"no gzip at all"))
idx("gz with a wrong sum", "cannot be unpacked", packed(lambda data: data[:-8] + b"12345678"))
idx("gz with more behind", "cannot be unpacked", packed(lambda data: data + b"junk"))
idx("gz with a hole", IMAGES, packed(lambda data: data[:20] + b"\xff" * 4 + data[24:]))
idx(
    "of another set",
    "holds fashion_mnist, not mnist",
    labels(struct.pack(">II", 0x801, 12) + bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 1, 1])),
)

# ---- CIFAR-10 ----------------------------------------------------------------------------------

STEMS = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
ARCHIVE = "cifar-10-binary.tar.gz"


def cifar(name: str, says: str, change: Callable[[Path, Path], object]) -> None:
    def make(folder: Path) -> list[str]:
        batches = folder / "cifar-10-batches-bin"
        batches.mkdir()
        for stem in STEMS:
            (batches / f"{stem}.bin").write_bytes(
                b"".join(bytes([k]) + bytes(3072) for k in (1, 2))
            )
        change(folder, batches)
        return ["model=flow", "dataset=cifar10", f"dataset.root={folder}"]

    case(f"cifar {name}", make, "cifar-10", says)


def tar(folder: Path, batches: Path, keep: slice = slice(None)) -> None:
    with tarfile.open(folder / ARCHIVE, "w:gz") as file:
        file.add(batches, arcname=batches.name)
    shutil.rmtree(batches)
    data = (folder / ARCHIVE).read_bytes()[keep]
    (folder / ARCHIVE).write_bytes(data)


def pickled(data: bytes) -> Callable[[Path, Path], object]:
    def change(folder: Path, batches: Path) -> None:
        shutil.rmtree(batches)
        other = folder / "cifar-10-batches-py"
        other.mkdir()
        (other / "data_batch_1").write_bytes(data)

    return change


def batch(data: bytes) -> Callable[[Path, Path], object]:
    return lambda folder, batches: (batches / "data_batch_3.bin").write_bytes(data)


cifar("short", "2 bytes are not a whole number", batch(b"xx"))
cifar("empty", "0 images", batch(b""))
cifar("label", "label is out of range", batch(b"\x4d" + bytes(3072)))
cifar("missing", "data_batch_2.bin", lambda f, b: (b / "data_batch_2.bin").unlink())
cifar("archive cut off", "get it again", lambda f, b: tar(f, b, slice(0, 150)))
cifar("archive empty", "get it again", lambda f, b: tar(f, b, slice(0, 0)))
cifar(
    "archive that is none",
    "get it again",
    lambda f, b: (tar(f, b), (f / ARCHIVE).write_bytes(b"junk")),
)
cifar("pickle that calls", "names os.system", pickled(b"cos\nsystem\n(S'touch pwned'\ntR."))
cifar("pickle of a list", "data_batch_1", pickled(pickle.dumps([1, 2])))
cifar("pickle of nothing", "data_batch_1", pickled(b""))
cifar("pickle of garbage", "data_batch_1", pickled(bytes(range(256))))
cifar(
    "pickle of exabytes",
    "data_batch_1",
    pickled(b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"xx"),
)
cifar(
    "pickle without labels",
    "data_batch_1",
    pickled(pickle.dumps({"data": np.zeros((1, 3072), "u1")}, 2)),
)
