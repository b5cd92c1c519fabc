"""Installs configs/ as av_mae/configs; everything else about the package is in pyproject.toml."""

import setuptools

setuptools.setup(
    packages=[
        *setuptools.find_namespace_packages(include=["av_mae*"]),
        *(f"av_mae.configs.{name}" for name in setuptools.find_namespace_packages("configs")),
    ],
    package_dir={"av_mae.configs": "configs"},
)
