"""Data sets by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

DATASETS: Mapping[str, Entry] = {
    "digits": Entry("starcli.data.digits:load_digits", "1,797 scans of digits, 8x8, inside the package"),
    "mnist": Entry("starcli.data.public:load_mnist", "MNIST, through torchvision"),
    "fashion-mnist": Entry("starcli.data.public:load_fashion_mnist", "Fashion-MNIST, through torchvision"),
    "cifar10": Entry("starcli.data.public:load_cifar10", "CIFAR-10, through torchvision"),
    "cifar100": Entry("starcli.data.public:load_cifar100", "CIFAR-100, through torchvision"),
    "gaussians": Entry(
        "starcli.data.gaussians:load_gaussians", "two Gaussian classes in the plane, the paper's theory data"
    ),
    "idx": Entry("starcli.data.idx:load_idx", "idx:DIR, files of MNIST's format, gzipped or not"),
    "folder": Entry(
        "starcli.data.folder:load_folder", "folder:DIR, an image folder a class, under train, val and test"
    ),
    "arrays": Entry(
        "starcli.data.token_arrays:load_images_or_tokens",
        "FILE.npz or FILE.safetensors with images and labels, or tokens",
    ),
    "table": Entry(
        "starcli.data.feature_table:load_table",
        "table:FILE.csv, .tsv, .jsonl or .parquet with columns of numbers, or a folder of a train and a test table",
    ),
    "hf": Entry("starcli.data.saved_datasets:load_saved", "hf:DIR, a data set of Hugging Face, saved to disk"),
    "wds": Entry("starcli.data.webdataset:load_webdataset", "wds:PATTERN, tar shards of a webdataset"),
    "build": Entry("starcli.data.built:load_built", "FILE.py:NAME or package.module:NAME, a function that makes data"),
    "text": Entry(
        "starcli.data.text:load_text",
        "text:FILE.csv, .tsv, .jsonl or .parquet with texts and labels, or a folder of a train and a test table",
    ),
}
"""`--data`: functions from `data.loading.Request` to `data.loading.Loaded`."""
