"""The optional extension module: kernels in C. Without a compiler the installation has those of numpy alone."""

import os
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Results must not depend on the machine: no contraction of products and sums, no reordering, no instructions of one
# processor (`VECTORISED` in arrays.h chooses vectors at run time, with the same numbers).
FLAGS = ["-std=c99", "-O3", "-funroll-loops", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
         "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi"]  # fmt: skip
CHECKED = ["-std=c99", "-O1", "-g", "-ffp-contract=off", "-Wno-psabi", "-fno-omit-frame-pointer", "-DPLAIN_BUILD",
           "-DCHECKED", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]  # fmt: skip
STABLE = not sysconfig.get_config_var("Py_GIL_DISABLED")  # one file for every Python from 3.11 on


class Build(build_ext):
    """The flags of the compiler at hand; those of unix are strange to others."""

    def build_extensions(self) -> None:
        """Set the flags, and build."""
        checked = bool(os.environ.get("SIMTRIAL_SANITIZE"))
        for extension in self.extensions:
            if self.compiler.compiler_type != "msvc":
                extension.extra_compile_args = CHECKED if checked else FLAGS
                extension.extra_link_args = ["-fsanitize=address,undefined"] if checked else []
        super().build_extensions()


core = Extension(
    "simtrial._core",
    sources=sorted(file.as_posix() for file in Path("simtrial/core").glob("*.c")),
    depends=sorted(file.as_posix() for file in Path("simtrial/core").glob("*.h")),
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if STABLE else [],
    py_limited_api=STABLE,
    optional=True,
)
pure = bool(os.environ.get("SIMTRIAL_PURE"))  # a wheel for every system
setup(
    ext_modules=[] if pure else [core],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if STABLE and not pure else {},
)
