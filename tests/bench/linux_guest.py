"""A Linux guest to compare with: Debian's cloud kernel, a minimal initramfs, the same program.

The kernel comes from Debian's package, unpacked below the build folder, not installed. The initramfs
holds busybox, the virtio modules, the program and its libraries; its init loads the modules, sets
the address and runs the program.
"""
import glob
import os
import shutil
import subprocess

PACKAGE = "linux-image-cloud-amd64"
MODULES = [
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "failover", "net_failover", "virtio_net",
]
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/shm /dev/pts
/bin/busybox mount -t tmpfs tmp /tmp
if [ -n "$aril_net" ]; then
  for module in {modules}; do /bin/busybox insmod /modules/$module.ko; done
  /bin/busybox ip addr add "$aril_net" dev eth0
  /bin/busybox ip link set eth0 up
fi
/bin/busybox ip link set lo up
{command}
/bin/busybox poweroff -f
"""


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def kernel(build):
    """Unpacks the kernel package once; the paths of vmlinuz and of its modules."""
    folder = os.path.join(build, "linux-guest")
    if not glob.glob(f"{folder}/boot/vmlinuz-*"):
        os.makedirs(folder, exist_ok=True)
        depends = run("apt-cache", "depends", PACKAGE)
        name = next(line.split()[1] for line in depends.splitlines()
                    if line.strip().startswith("Depends: linux-image"))
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        package, = glob.glob(f"{folder}/*.deb")
        run("dpkg-deb", "-x", package, folder)
        os.unlink(package)
    vmlinuz, = glob.glob(f"{folder}/boot/vmlinuz-*")
    modules, = glob.glob(f"{folder}/lib/modules/*")
    return vmlinuz, modules


def libraries(program):
    """The loader and libraries of a dynamic program, as ldd resolves them."""
    listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True).stdout
    return [word for line in listing.splitlines() for word in line.split() if word.startswith("/")]


def initramfs(build, name, command, files):
    """Makes the archive; `files` are host paths, or (host, guest) pairs, of files and folders."""
    _, modules = kernel(build)
    tree = os.path.join(build, "linux-guest", name)
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "sys", "dev", "tmp", "run", "etc", "var/log/nginx"):
        os.makedirs(f"{tree}/{folder}")
    shutil.copy("/bin/busybox", f"{tree}/bin/busybox")
    for module in MODULES:
        found = glob.glob(f"{modules}/kernel/**/{module}.ko", recursive=True)
        shutil.copy(found[0], f"{tree}/modules/")
    pairs = [item if isinstance(item, tuple) else (item, item) for item in files]
    for host, _ in list(pairs):
        if os.path.isfile(host):
            pairs += [(library, library) for library in libraries(host)]
    for host, guest in pairs:
        target = tree + guest
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(host):
            shutil.copytree(host, target, dirs_exist_ok=True)
        else:
            shutil.copy(host, target)
    with open(f"{tree}/init", "w", encoding="utf-8") as script:
        script.write(INIT.format(modules=" ".join(MODULES), command=command))
    os.chmod(f"{tree}/init", 0o755)
    archive = f"{tree}.cpio"
    with open(archive, "wb") as out:
        names = subprocess.run(["find", ".", "-print0"], cwd=tree, check=True,
                               stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc"], cwd=tree, input=names,
                       stdout=out, check=True)
    shutil.rmtree(tree)
    return archive


def qemu(build, archive, memory="256M", cpus=1, tap=None, address=None):
    """The QEMU command; the console is stdout. Same machine type and accelerator as for Aril."""
    vmlinuz, _ = kernel(build)
    command = [
        "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", memory,
        "-smp", str(cpus), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-kernel", vmlinuz, "-initrd", archive, "-append",
        "console=ttyS0 quiet panic=-1 tsc=reliable" + (f" aril_net={address}" if address else ""),
    ]
    if tap:
        command += ["-netdev", f"tap,id=n,ifname={tap},script=no,downscript=no",
                    "-device", "virtio-net-pci,netdev=n"]
    return command
