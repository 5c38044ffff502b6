from application import application


@application("make", "make -j2 builds a C program of four files with GCC 12 and runs it",
             packages=["make", "gcc-12", "libc6-dev"])
def check(make):
    assert make.output() == "sum 5050\nproduct 3628800\n"
