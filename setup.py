"""Packaging of tfb2d: what training a student up to its report needs is a requirement, all else an extra."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
REQUIRES = [
    "absl-py",
    "bm25s>=0.3",  # the report's row of what words alone are worth
    "google-crc32c>=1.6",  # checksums of warm-up requests and of request logs
    "jinja2>=3.1",
    "keras>=3.10",
    "keras-hub>=0.26",
    "keras-nlp>=0.26",
    "matplotlib>=3.8",
    "ml-collections>=1.0",
    "numpy>=1.26",
    "pyarrow>=17",
    "safetensors>=0.4",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "tensorboard>=2.19",  # tf.summary writes through it
    "tensorflow>=2.19,<2.22",
    "tensorflow-model-optimization>=0.8",
    "tensorflow-serving-api>=2.19,<2.22",  # brings grpcio and protobuf, so that tfb2d.Client works, too
    "tensorflow-text>=2.19,<2.22",
    "tf-keras>=2.19,<2.22",
    "tokenizers>=0.21",  # KerasHub needs it, too
    "tqdm>=4.66",
]
EXTRAS = {
    "server": [  # the embedded server
        "grpcio>=1.60",
        "grpcio-health-checking>=1.60",
        "ml-dtypes>=0.5",
        "prometheus-client>=0.20",
        "protobuf>=5",
        "starlette>=0.40",
        "uvicorn>=0.30",
    ],
    "client": [
        "google-crc32c>=1.6",
        "grpcio>=1.60",
        "numpy>=1.26",
        "protobuf>=5",
    ],  # alone, without TensorFlow: BUILD.md
    "edge": ["ai-edge-litert>=1.2", "numpy>=1.26"],  # alone, without TensorFlow: BUILD.md
    "bench": [  # what students are compared with: 130 MB installed
        "ai-edge-litert>=1.2",
        "fasttext-numpy2>=0.10.4",
        "model2vec>=0.6",
        "onnx>=1.17",
        "onnxruntime>=1.20",
    ],
    "search": ["bm25s>=0.3", "faiss-cpu>=1.9", "starlette>=0.40", "uvicorn>=0.30"],
    "milvus": ["pymilvus>=2.5"],  # where a catalogue outgrows one machine
    "ray": ["ray[train]>=2.40"],  # labelling and training on several machines: 95 MB, 15 of them for Ray Train
    "dedup": ["datasketch>=2"],  # near duplicates of tfb2d prepare: 1 MB
    "jax": ["jax>=0.5"],
    "torch": ["torch>=2.6"],
    "test": [
        "cryptography>=42",
        "datasketch>=2",
        "flask-cors>=5",
        "hypothesis>=6.100",
        "jax>=0.5",
        "jsonschema>=4.20",
        "kubernetes-validate>=1.37",
        "milvus-lite>=2.4",
        "moto[s3]>=5",  # an S3-compatible server; with flask-cors, which it needs for that
        "openapi-spec-validator>=0.7",
        "playwright>=1.50",  # drives the system's Chromium; tests of the search page are skipped where there is none
        "promql-parser>=0.5",
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "pyyaml>=6",
        "ray[train]>=2.40",
    ],
    "lint": ["mypy>=1.11", "ruff>=0.6"],
}
EXTRAS["dev"] = sorted(
    {
        package
        for name in ("test", "lint", "bench", "server", "client", "edge", "search", "milvus")
        for package in EXTRAS[name]
    }
)

setup(
    name="tfb2d",
    version=re.search(r'__version__ = "(.+)"', (HERE / "tfb2d/__init__.py").read_text(encoding="utf-8")).group(1),
    description="Distil slow Transformer relevance models into n-gram students that score in microseconds on a CPU",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",  # KerasHub's last release for 3.10 cannot read the default teacher: BUILD.md
    packages=find_packages(include=["tfb2d", "tfb2d.*"]),
    package_data={
        "tfb2d": ["py.typed"],
        "tfb2d.students": ["*.json"],
        "tfb2d.report": ["*.html", "*.css"],
        "tfb2d.search": ["*.html", "*.js"],
        **{f"tfb2d.{name}": ["*.html"] for name in ("evaluation", "explain", "monitor", "sweep")},
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["tfb2d = tfb2d.cli:main"]},
)
