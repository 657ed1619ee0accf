"""The wheel's tag: any Python 3, no ABI of Python's, but this platform, as there is a library in it.

$CAPSCL_WHEEL_PLATFORM names the platform (scripts/python-wheel: by the glibc that the library
needs).
"""

import os

from setuptools import setup
from setuptools.dist import Distribution
from wheel.bdist_wheel import bdist_wheel


class PlatformWheel(bdist_wheel):
    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", os.environ.get("CAPSCL_WHEEL_PLATFORM", platform)


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"bdist_wheel": PlatformWheel}, distclass=BinaryDistribution)
