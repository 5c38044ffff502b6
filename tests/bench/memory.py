"""./dev bench memory: the smallest memory with which programs work, and their throughput at twice that
beside 128 MiB."""
import os
import shutil
import subprocess

STEP = 256  # KiB
HIGHEST = 32 * 1024


def smallest(works):
    """The smallest multiple of STEP, in KiB, that works."""
    low, high = 0, HIGHEST // STEP
    while high - low > 1:
        middle = (low + high) // 2
        if works(middle * STEP):
            high = middle
        else:
            low = middle
    return high * STEP


def bench_memory(bench, runs, results):
    subprocess.run(["ninja", "-C", bench.BUILD, "examples"], check=True, stdout=subprocess.DEVNULL)
    examples = os.path.join(bench.ROOT, "examples")
    images = {}
    for name, words in (("hello", ["--profile", "tiny", f"{bench.SCRATCH}/hello"]),
                        ("DNS server", [f"{examples}/dns.aril"]),
                        ("web server", [f"{examples}/web.aril"])):
        images[name] = f"{bench.SCRATCH}/{name}.memory"
        subprocess.run([bench.ARIL, "build", "-o", images[name], *words], check=True)
    limits = {}
    with bench.namespace() as space:
        at = ["--net", f"tap:tap0,ip={bench.GUEST}/24"]

        def command(name, size):
            memory = ["--memory", f"{size}K"]
            if name == "nginx":
                return bench.aril_nginx(*at, *memory)
            return [bench.ARIL, "run", *(at if name != "hello" else ["--net", "none"]), *memory,
                    images[name]]

        def answers(name, limit):
            if name == "DNS server":
                words = ["dig", "+short", "+time=1", f"+tries={limit}", f"@{bench.GUEST}",
                         "www.example.test"]
                return "192.0.2.80" in subprocess.run(
                    ["ip", "netns", "exec", space, *words], stdout=subprocess.PIPE, text=True,
                    check=False).stdout
            words = ["curl", "-sf", "--retry", "100", "--retry-all-errors", "--retry-delay", "0",
                     "--retry-max-time", str(limit), "--connect-timeout", "0.1", "-m", str(limit),
                     "-o", "/dev/null", f"http://{bench.GUEST}/"]
            return subprocess.run(["ip", "netns", "exec", space, *words], check=False).returncode == 0

        def works(name, size):
            if name == "hello":
                done = subprocess.run(command(name, size), stdin=subprocess.DEVNULL, timeout=30,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
                return done.returncode == 0 and done.stdout == b"hello, world\n"
            inside = ["ip", "netns", "exec", space, *command(name, size)]
            with bench.running(inside, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL) as process:
                try:
                    process.wait(0.2)  # aril refuses what cannot be
                    return False
                except subprocess.TimeoutExpired:
                    # Served, and still there afterwards.
                    return answers(name, 3) and answers(name, 3) and process.poll() is None

        def rate(name, size):
            with bench.running(bench.inside(space, 0, command(name, size)), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL):
                if not answers(name, 10):
                    raise SystemExit(f"bench: {name} does not answer")
                if name != "DNS server":
                    return bench.load(space, ["wrk", "-t1", "-c10", "-d3s", f"http://{bench.GUEST}/"],
                                      r"Requests/sec:\s+([\d.]+)")
                with open(f"{bench.SCRATCH}/queries", "w", encoding="ascii") as file:
                    file.write("www.example.test A\nftp.example.test A\nnone.example.test A\n")
                return bench.load(space, ["dnsperf", "-s", bench.GUEST, "-d", f"{bench.SCRATCH}/queries",
                                          "-l", "3"], r"Queries per second:\s+([\d.]+)")

        print("\nsmallest memory that works (MiB)")
        for name in ("hello", "DNS server", "web server", "nginx"):
            limits[name] = smallest(lambda size: works(name, size))
            results[f"memory (MiB): {name}"] = value = limits[name] / 1024
            print(f"{name:38} {value:>14.2f}", flush=True)
        table = bench.Table("throughput with twice the smallest memory, of that with 128 MiB (percent; "
                            "higher is better)")
        for name in ("DNS server", "web server", "nginx"):
            if name == "DNS server" and not shutil.which("dnsperf"):
                continue
            for _ in range(runs):
                plenty = rate(name, 128 * 1024)
                table.add(name, "aril", 100 * rate(name, 2 * limits[name]) / plenty)
    table.report(results)
