"""Packaging of tfb2d: what is light or always needed is a requirement, what is heavy or optional an extra."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIRES = [
    "absl-py",
    "grpcio>=1.60",
    "grpcio-health-checking>=1.60",
    "jinja2>=3.1",
    "google-crc32c>=1.6",  # the checksums of request logs
    "keras>=3.10",
    "keras-hub>=0.25",
    "keras-nlp>=0.25",
    "matplotlib>=3.8",
    "ml-collections>=1.0",
    "numpy>=1.26",
    "prometheus-client>=0.20",
    "pyarrow>=17",
    "safetensors>=0.4",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "starlette>=0.40",
    "tensorboard>=2.19",
    "tensorflow>=2.19,<2.22",
    "tensorflow-model-optimization>=0.8",
    "tensorflow-serving-api>=2.19,<2.22",
    "tensorflow-text>=2.19,<2.22",
    "tf-keras>=2.19,<2.22",
    "tokenizers>=0.21",  # KerasHub needs it, too
    "tqdm>=4.66",
    "uvicorn>=0.30",
]
EXTRAS = {
    "bench": [  # what students are compared with: 130 MB installed
        "fasttext-numpy2>=0.10.4",
        "model2vec>=0.6",
        "onnx>=1.17",
        "onnxruntime>=1.20",
    ],
    "edge": ["ai-edge-litert>=1.2", "numpy>=1.26"],  # alone, without TensorFlow: docs/edge.md
    "jax": ["jax>=0.5"],
    "torch": ["torch>=2.6"],
    "test": [
        "cryptography>=42",
        "hypothesis>=6.100",
        "jax>=0.5",
        "jsonschema>=4.20",
        "kubernetes-validate>=1.37",
        "promql-parser>=0.5",
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pyyaml>=6",
    ],
    "lint": ["mypy>=1.11", "ruff>=0.6"],
}
EXTRAS["dev"] = EXTRAS["test"] + EXTRAS["lint"] + EXTRAS["bench"] + EXTRAS["edge"]  # the bench is tested too

setup(
    name="tfb2d",
    version="0.1.0",
    description="Distil slow Transformer relevance models into n-gram students that score in microseconds on a CPU",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["tfb2d", "tfb2d.*"]),
    package_data={
        "tfb2d": ["py.typed"],
        "tfb2d.students": ["*.json"],
        "tfb2d.report": ["*.html", "*.css"],
        **{f"tfb2d.{name}": ["*.html"] for name in ("evaluation", "explain", "monitor", "sweep")},
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
