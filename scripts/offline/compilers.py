"""compilers.py: the compilers of GPUs, found on this machine or unpacked into a cache folder. Nothing is installed.

Debian's packages are unpacked, not installed (an installed Intel driver would show up as a platform); ptxas and
nvdisasm come from a CUDA toolkit or from PyPI."""
import glob
import os
import re
import shutil
import subprocess
import sys
import zipfile

# The clang that drivers of these days are made of, and one as old as drivers that are still about.
NEW, OLD = (22, 21, 20, 19, 18, 17), (15, 16)
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, **more)


class Compilers:
    """Each is a path or None; `missing` says what to do about those that are None."""

    def __init__(self, folder, download=True, say=print):
        self.folder, self.download, self.say = folder, download, say
        self.missing = {}
        os.makedirs(folder, exist_ok=True)
        self.ptxas = self.of_cuda("ptxas", "nvidia-cuda-nvcc")
        self.nvdisasm = self.of_cuda("nvdisasm", "nvidia-cuda-nvdisasm")
        self.clang = {"clang-new": self.of_clang("clang-new", NEW, []),
                      "clang-old": self.of_clang("clang-old", OLD, ["rocm-device-libs"])}
        self.ocloc = self.of_intel()
        self.versions = {}

    # ---- getting them

    def of_cuda(self, name, package):
        """From the path, a toolkit, or NVIDIA's wheel."""
        have = shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/local/cuda*/bin/{name}"))), None)
        if have:
            return have
        wheels = os.path.join(self.folder, "wheels")
        pattern = os.path.join(wheels, f"nvidia/*/bin/{name}")
        if not glob.glob(pattern) and self.download:
            self.say(f"getting {package} (PyPI) for {name}")
            got = run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, package])
            for wheel in glob.glob(os.path.join(wheels, "*.whl")):
                with zipfile.ZipFile(wheel) as z:
                    for member in z.namelist():
                        if re.search(r"/(bin/(ptxas|nvdisasm)|nvvm/bin/cicc)$", member):
                            os.chmod(z.extract(member, wheels), 0o755)
                os.remove(wheel)
            if got.returncode:
                self.say(f"  {got.stderr.strip().splitlines()[-1:] or ['no answer']}")
        found = sorted(glob.glob(pattern))
        if not found:
            self.missing[name] = f"{name}: install NVIDIA's CUDA toolkit, or `pip download {package}`"
        return found[-1] if found else None

    def unpack(self, place, packages):
        """Debian packages and what they need beyond what is installed, unpacked into folder/place."""
        root = os.path.join(self.folder, place)
        done = os.path.join(root, "unpacked")
        if os.path.exists(done):
            return root
        if not self.download or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            return None
        plan = run(["apt-get", "-s", "--no-install-recommends", "install", *packages])
        if plan.returncode:
            return None
        names = dict.fromkeys(packages + re.findall(r"^Inst (\S+)", plan.stdout, re.M))
        self.say(f"getting {' '.join(names)} (Debian) into {root}")
        files = os.path.join(root, "deb")
        os.makedirs(files, exist_ok=True)
        if run(["apt-get", "-q", "download", *names], cwd=files).returncode:
            return None
        for deb in glob.glob(os.path.join(files, "*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        shutil.rmtree(files)
        open(done, "w").close()
        return root

    def of_clang(self, what, versions, more):
        """(command, its libraries, libclc's folder, AMD's device libraries or None)."""
        for v in versions:
            root = self.unpack(f"{what}-{v}", [f"clang-{v}", f"libclang-common-{v}-dev", f"libclc-{v}", *more])
            for at in [root, "/"] if root else ["/"]:
                clang = os.path.join(at, f"usr/lib/llvm-{v}/bin/clang")
                clc = os.path.join(at, "usr/lib/clc")
                if os.path.exists(clang) and glob.glob(os.path.join(clc, "amdgcn*")) and (at != "/" or not root):
                    bitcode = os.path.join(at, LIBRARIES, "amdgcn/bitcode")
                    return clang, os.path.join(at, LIBRARIES), clc, bitcode if os.path.isdir(bitcode) else None
        self.missing[what] = (f"clang {versions[0]} (or {', '.join(map(str, versions[1:]))}) with libclc: on Debian "
                              f"`apt-get install clang-{versions[0]} libclc-{versions[0]} {' '.join(more)}`")
        return None

    def of_intel(self):
        """(ocloc, its libraries)."""
        if shutil.which("ocloc"):
            return shutil.which("ocloc"), ""
        for packages in (["intel-opencl-icd"], ["intel-ocloc"]):
            root = self.unpack("ocloc-" + packages[0], packages)
            if root and os.path.exists(os.path.join(root, "usr/bin/ocloc")):
                return os.path.join(root, "usr/bin/ocloc"), os.path.join(root, LIBRARIES)
        self.missing["ocloc"] = "ocloc: install Intel's OpenCL driver (Debian: intel-opencl-icd; newer: intel-ocloc)"
        return None

    # ---- what they are

    def has(self, target):
        if target.compiler == "ptxas":
            return self.ptxas is not None and any(self.clang.values())
        return self.ocloc is not None if target.compiler == "ocloc" else self.clang[target.compiler] is not None

    def why_not(self, target):
        if target.compiler == "ptxas" and self.ptxas:
            return self.missing.get("clang-old") or self.missing.get("clang-new")
        return self.missing.get(target.compiler, "")

    def newest_nvidia(self):
        """The last architecture that ptxas has."""
        text = run([self.ptxas, "--help"]).stdout if self.ptxas else ""
        found = [int(x) for x in re.findall(r"'sm_(\d+)'", text)]
        return f"sm_{max(found)}" if found else "sm_120"

    def version(self, target):
        """One line that changes with the compiler."""
        if target.compiler not in self.versions:
            if target.compiler == "ptxas":
                text = run([self.ptxas, "--version"]).stdout.strip().splitlines()[-1] + self.nvidia_clang()[0] + str(
                    self.nvdisasm is not None)
            elif target.compiler == "ocloc":
                text = self.ocloc[0] + str(os.path.getsize(self.ocloc[0]))
            else:
                clang, lib = self.clang[target.compiler][:2]
                text = run([clang, "--version"], env=with_libraries(lib)).stdout.splitlines()[0]
            self.versions[target.compiler] = text
        return self.versions[target.compiler]

    # ---- using them

    def nvidia_clang(self):
        return self.clang["clang-old"] or self.clang["clang-new"]

    def compile(self, target, source, options, out):
        """Builds a program; returns (file to read, text of the compiler). Raises Failed."""
        defines = [x for x in options.split() if x.startswith("-D")]
        if target.compiler == "ptxas":
            return self.compile_nvidia(target, source, defines, options, out)
        if target.compiler == "ocloc":
            return self.compile_intel(target, source, defines, out)
        return self.compile_amd(target, source, defines, out)

    @staticmethod
    def front(defines):
        return ["-x", "cl", "-cl-std=CL1.2", "-O3", "-w", "-S", "-Xclang", "-finclude-default-header", *defines]

    def compile_nvidia(self, target, source, defines, options, out):
        clang, lib, clc, _ = self.nvidia_clang()
        ptx, cubin = out + ".ptx", f"{out}.{target.chip}.cubin"
        if not os.path.exists(ptx):
            checked([clang, *self.front(defines), "-target", "nvptx64--nvidiacl", "-Xclang", "-target-cpu",
                     "-Xclang", "sm_75", *link(os.path.join(clc, "nvptx64--nvidiacl.bc")), "-o", ptx, source], lib)
        limit = re.search(r"-cl-nv-maxrregcount=(\d+)", options)
        text = checked([self.ptxas, "-v", f"-arch={target.chip}", "-o", cubin, ptx] +
                       ([f"-maxrregcount={limit[1]}"] if limit else []))
        sass = run([self.nvdisasm, "-c", cubin]).stdout if self.nvdisasm else ""
        return sass, text

    def compile_amd(self, target, source, defines, out):
        clang, lib, clc, bitcode = self.clang[target.compiler]
        to = f"{out}.{target.chip}.s"
        libraries = ["-nogpulib"]
        if not bitcode:
            whole = os.path.join(clc, "amdgcn-amd-amdhsa.bc")
            libraries += link(whole if os.path.exists(whole) else os.path.join(clc, f"{target.chip}-amdgcn--.bc"))
        elif os.path.exists(os.path.join(bitcode, f"oclc_isa_version_{target.chip[3:]}.bc")):
            libraries = [f"--rocm-device-lib-path={bitcode}"]
        else:  # AMD's library of 5.2.3 has no 1100: that of 1036 serves
            for b in ("opencl ocml ockl oclc_daz_opt_off oclc_unsafe_math_off oclc_finite_only_off "
                      "oclc_correctly_rounded_sqrt_off oclc_wavefrontsize64_off oclc_isa_version_1036 "
                      "oclc_abi_version_400").split():
                libraries += link(os.path.join(bitcode, b + ".bc"))
        text = checked([clang, *self.front(defines), "-target", "amdgcn-amd-amdhsa", f"-mcpu={target.chip}",
                        *libraries, "-o", to, source], lib)
        with open(to) as f:
            return f.read(), text

    def compile_intel(self, target, source, defines, out):
        ocloc, lib = self.ocloc
        to = f"{out}.{target.chip}.ocloc"
        text = checked([ocloc, "compile", "-q", "-file", source, "-device", target.chip, "-out_dir", to, "-options",
                        " ".join(["-cl-std=CL1.2", *defines]), "-internal_options", "-cl-intel-allow-zebin"], lib)
        found = glob.glob(os.path.join(to, "*.bin"))
        if not found:
            raise Failed(f"ocloc makes no binary: {text.strip()[-400:]}")
        with open(found[0], "rb") as f:
            return f.read(), text


class Failed(Exception):
    pass


def with_libraries(lib):
    old = os.environ.get("LD_LIBRARY_PATH")
    return dict(os.environ, LD_LIBRARY_PATH=f"{lib}:{old}" if old else lib) if lib else None


def link(bitcode):
    return ["-Xclang", "-mlink-builtin-bitcode", "-Xclang", bitcode]


def checked(command, lib=""):
    done = run(command, env=with_libraries(lib), timeout=900)
    if done.returncode:
        raise Failed((done.stderr.strip() or done.stdout.strip())[-600:])
    return done.stdout + done.stderr
